"""What is said of an upstream after one real request: whether it is reached, what it has, and never its key."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from billing import upstream_probe
from billing.models import Price, Upstream
from billing.upstream_probe import Probe

SECRET = "sk-secret-of-the-operator"


class Recorder:
    """A small HTTP server that answers every request alike and keeps what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str | None]] = []


@contextmanager
def serving(status: int, body: bytes, **headers: str) -> Iterator[Recorder]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            recorder.asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder = Recorder(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join(10)


def listing(*names: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}).encode()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Probe]:
    """Probe an upstream at an address with the secret in its environment, selling these models."""
    monkeypatch.setenv("PROBED_KEY", SECRET)

    def probe(url: str, *sold: str, **fields: Any) -> Probe:
        upstream = Upstream(name="u", base_url=url, **{"api_key_env": "PROBED_KEY", **fields})
        result = upstream_probe.probe(upstream, sold=[Price(model=name, upstream=upstream) for name in sold])
        assert SECRET not in repr(result)
        return result

    return probe


class TestProbe:
    def test_names_status_time_and_models_and_sends_the_key(self, ask: Callable[..., Probe]) -> None:
        with serving(200, listing("gpt", "small")) as upstream:
            result = ask(upstream.url, "gpt")
        assert (result.is_good, result.status, result.models) == (True, 200, ("gpt", "small"))
        assert result.milliseconds is not None
        assert f"answered 200 in {result.milliseconds} ms and names 2 models, all 1 that are sold" in result.sentence
        assert upstream.asked == [("/v1/models", f"Bearer {SECRET}")]

    def test_names_the_sold_models_that_are_missing_by_their_name_there(self, ask: Callable[..., Probe]) -> None:
        with serving(200, listing("gpt-4o")) as upstream:
            row = Upstream(name="u", base_url=upstream.url)
            sold = [
                Price(model="mine", upstream_model="gpt-4o", upstream=row),
                Price(model="gpt-5", upstream_model="gpt-5-0807", upstream=row),
            ]
            result = upstream_probe.probe(row, sold=sold)
        assert (result.is_good, result.missing) == (False, ("gpt-5-0807",))
        assert "Not among them: gpt-5-0807" in result.sentence
        assert upstream.asked == [("/v1/models", None)]

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (401, "refuses the API key"),
            (403, "refuses the API key"),
            (404, "ends in /v1"),
            (429, "fewer"),
            (500, "own"),
        ],
    )
    def test_says_what_to_do_about_a_refusal(self, ask: Callable[..., Probe], status: int, words: str) -> None:
        with serving(status, f'{{"error": "wrong key {SECRET}"}}'.encode()) as upstream:
            result = ask(upstream.url)
        assert (result.is_good, result.status) == (False, status)
        assert words in result.sentence

    def test_follows_no_redirect_with_the_key(self, ask: Callable[..., Probe]) -> None:
        with serving(200, listing("gpt")) as other, serving(302, b"", Location=f"{other.url}/models") as upstream:
            result = ask(upstream.url, "gpt")
        assert (result.is_good, result.status, other.asked) == (False, 302, [])
        assert "write the address it names" in result.sentence

    @pytest.mark.parametrize(
        "body", [b"", b"hello", b"[]", b'{"data": {}}', b"[" * 100_000, b'{"data": [' + b" " * 1024 * 1024 + b"]}"]
    )
    def test_says_so_when_it_is_no_list_of_models(self, ask: Callable[..., Probe], body: bytes) -> None:
        with serving(200, body) as upstream:
            result = ask(upstream.url, "gpt")
        assert (result.is_good, result.status, result.models) == (False, 200, None)
        assert "not with a list of models" in result.sentence

    def test_leaves_out_names_that_are_none_or_carry_the_key(self, ask: Callable[..., Probe]) -> None:
        body = json.dumps({"data": [{"id": f"x {SECRET}"}, {"id": 5}, "gpt", {"id": "a\nb"}, {"id": "gpt"}]}).encode()
        with serving(200, body) as upstream:
            assert ask(upstream.url, "gpt").models == ("gpt",)

    def test_says_when_nothing_listens(self, ask: Callable[..., Probe]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        result = ask(f"http://127.0.0.1:{port}/v1")
        assert (result.is_good, result.status) == (False, None)
        assert "connection was refused" in result.sentence

    def test_says_when_the_connection_breaks(self, ask: Callable[..., Probe]) -> None:
        with serving(200, b"{}", **{"Content-Length": "100"}) as upstream:
            result = ask(upstream.url)
        assert (result.is_good, result.status) == (False, None)
        assert "broke before an answer was complete" in result.sentence

    def test_gives_up_in_time(self, ask: Callable[..., Probe], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upstream_probe, "SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            result = ask(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        assert (result.is_good, result.status) == (False, None)
        assert "No answer within" in result.sentence

    def test_sends_nothing_without_the_key_that_it_needs(self, ask: Callable[..., Probe], tmp_path: Path) -> None:
        with serving(200, listing("gpt")) as upstream:
            missing = ask(upstream.url, api_key_env="NOT_SET_ANYWHERE")
            (tmp_path / "key").write_text("ключ")
            (tmp_path / "bytes").write_bytes(b"\xff\x00")
            no_text = ask(upstream.url, api_key_env="", api_key_file=str(tmp_path / "bytes"))
            strange = ask(upstream.url, api_key_env="", api_key_file=str(tmp_path / "key"))
        assert "NOT_SET_ANYWHERE is not set" in missing.sentence
        assert "no header can carry" in strange.sentence
        assert "is not text" in no_text.sentence
        assert (missing.is_good, strange.is_good, upstream.asked) == (False, False, [])

    def test_knows_the_built_in_echo(self, ask: Callable[..., Probe]) -> None:
        result = ask("echo:", "echo", api_key_env="")
        assert (result.is_good, result.status) == (True, None)
        assert "nothing is sent anywhere" in result.sentence
