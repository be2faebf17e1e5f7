"""The service ends in the middle of calls: killed, or asked to stop."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import holds, reconcile
from faces.gateway.database import conninfo
from tests import world
from tests.fakes.upstream import DONE, Gate, delta, finish, usage
from tests.gateway.bench import CREDIT, PROMPT_TOKENS, Bench, cost
from tests.gateway.client import Stream

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A service of its own on the test database, which may be killed. Has what `Bench` asks of a running service."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = ["-m", "uvicorn", "faces.asgi:application", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--timeout-graceful-shutdown", "1"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": conninfo()},
        )

    def wait_until_up(self) -> None:
        for _ in range(400):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
            finally:
                connection.close()
        raise AssertionError("the service did not start")

    def forget_routes(self) -> None:
        """It has read none yet, or will within two seconds."""

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@pytest.fixture
def process(transactional_db: None) -> Iterator[Process]:
    started = Process()
    try:
        started.wait_until_up()
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def is_lost(stream: Stream) -> bool:
    """Whether the stream ends without the end of one."""
    try:
        return "[DONE]" not in stream.events()
    except (http.client.IncompleteRead, ConnectionError):
        return True


class TestKilled:
    def test_charges_nothing_until_the_hold_expires_and_shows_what_may_be_lost(
        self, process: Process, bench: Bench
    ) -> None:
        mine = Bench(process, bench.upstream)
        mine.upstream.streams(delta("Hello"), Gate(), finish(), usage(7, 4), DONE)
        stream = mine.stream()
        stream.event()
        process.end(signal.SIGKILL)
        assert is_lost(stream)
        stream.close()
        assert mine.upstream.next().saw_hangup()

        hold = mine.hold()
        assert (hold.status, world.money(mine.user)) == ("pending", (CREDIT, hold.amount_nanousd))
        assert (hold.expires_at - hold.placed_at).total_seconds() > mine.price.upstream.timeout_seconds
        mine.expire()
        hold = mine.hold()
        assert (hold.status, hold.outcome, hold.amount_nanousd) == ("expired", "expired", cost(295, 100))
        assert (world.money(mine.user), world.spent(mine.key)) == ((CREDIT, 0), (0, 0))

        late = [holds.settle(account_id=mine.user.id, hold_id=hold.id, cost_nanousd=cost(7, 4)) for _ in range(2)]
        assert [(one.state, one.charged_nanousd, one.lost_nanousd) for one in late] == [
            ("late", 0, cost(7, 4)),
            ("already", 0, cost(7, 4)),
        ]
        assert mine.hold().lost_nanousd == cost(7, 4)
        assert (world.money(mine.user), world.charges(mine.user)) == ((CREDIT, 0), [])

    def test_while_its_hold_grew_gives_all_of_it_back_when_that_expires(self, process: Process, bench: Bench) -> None:
        mine = Bench(process, bench.upstream)
        mine.set_price(default_output_tokens=64, visible_output=True)
        mine.set_upstream(on_hangup="cancel")
        mine.upstream.streams(*[delta("word ")] * 9, Gate())
        stream = mine.stream(max_tokens=1000)
        mine.wait_until_held(cost(295, 128))
        process.end(signal.SIGKILL)
        assert is_lost(stream)
        stream.close()
        assert world.spent(mine.key) == world.spent(mine.parent) == (0, cost(295, 128))
        assert reconcile.differences() == []
        mine.expire()
        assert (world.money(mine.user), world.spent(mine.key)) == ((CREDIT, 0), (0, 0))
        extended = holds.extend(account_id=mine.user.id, hold_id=mine.hold().id, output_limit=500)
        assert (extended.reason, world.money(mine.user)) == ("not_pending", (CREDIT, 0))
        assert reconcile.differences() == []


class TestStopped:
    def test_settles_what_still_runs(self, process: Process, bench: Bench) -> None:
        mine = Bench(process, bench.upstream)
        mine.upstream.streams(delta("Hello there!!"), Gate())
        stream = mine.stream()
        stream.event()
        process.end(signal.SIGTERM)
        stream.close()
        mine.check_charged(PROMPT_TOKENS, 4, outcome="interrupted", is_counted=True)
