"""The parts of the relay that need no socket. What it does to whole calls is in test_call."""

import dataclasses
from typing import Any

import orjson
import pytest

from billing.rates import Rates, Usage
from faces.gateway.relay import Broken, PlainAnswer, Received, StreamAnswer
from faces.gateway.routing import Route, route_of
from tests.fakes.upstream import chunk, completion, delta, finish, usage, used
from tests.gateway.test_routing import ROW

ROUTE = dataclasses.replace(route_of(ROW), model="asked/for", rates=Rates(input=10**6, output=2 * 10**6))


def stream(*, wants_usage: bool = True, limit: int = 100, route: Route = ROUTE) -> StreamAnswer:
    received = Received(limit=limit, tokenizer=route.tokenizer)
    return StreamAnswer(route=route, wants_usage=wants_usage, received=received)


def fed(answer: StreamAnswer, *chunks: Any) -> list[dict[str, Any]]:
    """What the client gets of these chunks at once."""
    read = (answer.read(orjson.dumps(one)) for one in chunks)
    return [orjson.loads(event[6:]) for chunk in read if chunk is not None for event in answer.give(chunk)]


def rest(answer: StreamAnswer, said: Usage, cost: int) -> list[Any]:
    *events, done = answer.last(usage=said, cost_nanousd=cost)
    assert done == b"data: [DONE]\n\n"
    return [orjson.loads(event[6:]) for event in events]


class TestReceived:
    @pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
    def test_counts_a_token_per_four_bytes_rounded_up_once(self, size: int, tokens: int) -> None:
        received = Received(limit=100, tokenizer=None)
        received.add(["x"] * size)
        assert received.tokens() == tokens

    def test_counts_bytes_and_not_characters(self) -> None:
        received = Received(limit=100, tokenizer=None)
        received.add(["გა", "🎭", ""])
        assert received.tokens() == 3

    def test_counts_each_choice_by_itself_with_a_tokenizer(self) -> None:
        received = Received(limit=100, tokenizer="o200k")
        for letter in " information":
            received.add([letter], choice=0)
            received.add([letter], choice=1)
        assert received.tokens() == 2

    def test_counts_a_body_that_broke_off_only_if_nothing_was_read_of_it(self) -> None:
        received = Received(limit=100, tokenizer=None)
        received.add_raw(b"x" * 10)
        assert received.tokens() == 3
        received.add_raw(b"x" * 1000)
        assert received.tokens() == 3

    def test_reads_a_body_that_broke_off_inside_a_character(self) -> None:
        received = Received(limit=100, tokenizer="o200k")
        received.add_raw("გა".encode()[:-1])
        assert received.tokens() > 0


class TestPlainAnswer:
    def test_keeps_all_the_upstream_says_but_model_and_cost(self) -> None:
        answer = PlainAnswer(route=ROUTE, wants_usage=False, received=Received(limit=9, tokenizer=None))
        answer.feed(orjson.dumps(completion("Hi", usage=used(7, 4, cost=1), system_fingerprint="fp", other=[1])))
        body = orjson.loads(answer.render(usage=Usage(input=7, output=4), cost_nanousd=15))
        assert body == completion("Hi", usage=used(7, 4, cost=1.5e-8), system_fingerprint="fp", other=[1]) | {
            "model": "asked/for"
        }

    @pytest.mark.parametrize(
        "body", [b"", b"x", b"[]", b"{}", b'{"choices":null}', b'{"choices":[],"error":1}', b"NaN"]
    )
    def test_takes_nothing_else_for_an_answer(self, body: bytes) -> None:
        answer = PlainAnswer(route=ROUTE, wants_usage=False, received=Received(limit=9, tokenizer=None))
        with pytest.raises(Broken):
            answer.feed(body)


class TestStreamAnswer:
    def test_holds_back_the_usage_until_it_is_settled(self) -> None:
        answer = stream()
        assert fed(answer, delta("Hi"), finish(), usage(7, 4)) == [delta("Hi") | NAME, finish() | NAME]
        assert rest(answer, Usage(input=7, output=4), 15) == [chunk([], usage=used(7, 4, cost=1.5e-8)) | NAME]

    def test_holds_back_a_finish_that_brings_the_usage(self) -> None:
        answer = stream()
        assert fed(answer, finish(usage=used(7, 4))) == []
        assert rest(answer, Usage(input=7, output=4), 15) == [finish(usage=used(7, 4, cost=1.5e-8)) | NAME]

    def test_drops_a_usage_that_was_not_the_last(self) -> None:
        answer = stream()
        assert fed(answer, usage(7, 0), usage(7, 1), delta("Hi"), finish(), usage(7, 2), usage(7, 4)) == [
            delta("Hi") | NAME,
            finish() | NAME,
        ]
        assert [event["usage"]["completion_tokens"] for event in rest(answer, Usage(input=7, output=4), 15)] == [4]

    def test_shows_null_for_junk_and_our_count_at_the_end(self) -> None:
        answer = stream()
        (event, _) = fed(answer, delta("Hi", usage={"prompt_tokens": -7}), finish())
        assert event["usage"] is None
        (last,) = rest(answer, Usage(input=5, output=1), 7)
        assert last["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6, "cost": 7e-9}

    def test_leaves_no_usage_where_none_was_asked_for(self) -> None:
        answer = stream(wants_usage=False)
        events = fed(
            answer, delta("Hi", usage=None), finish(usage=used(7, 4)), usage(7, 4), chunk([], x=1, usage=used(7, 4))
        )
        assert events == [delta("Hi") | NAME, finish() | NAME, chunk([], x=1) | NAME]
        assert rest(answer, Usage(input=7, output=4), 15) == []

    def test_is_complete_when_every_choice_that_began_has_ended(self) -> None:
        answer = stream()
        assert not answer.is_complete
        fed(answer, delta("a"), delta("b", index=1), finish(index=1))
        assert not answer.is_complete
        fed(answer, finish(), delta("", index=1))
        assert answer.is_complete

    def test_finishes_only_the_choices_that_were_cut(self) -> None:
        answer = stream(limit=10)
        fed(answer, delta("a", index=1), finish(index=1), delta("b", index=2), *[delta("word ")] * 20)
        assert answer.is_cut
        (last, told) = rest(answer, Usage(input=5, output=10), 15)
        assert [(one["index"], one["finish_reason"]) for one in last["choices"]] == [(2, "length"), (0, "length")]
        assert (told["choices"], told["usage"]["completion_tokens"]) == ([], 10)

    def test_passes_members_nobody_knows(self) -> None:
        odd = chunk([{"index": 0, "delta": {"content": "Hi", "x": 1}, "logprobs": {"content": []}}], obfuscation="abc")
        assert fed(stream(), odd) == [odd | NAME]

    def test_counts_text_completions_of_old_servers(self) -> None:
        answer = stream()
        fed(answer, chunk([{"index": 0, "text": "Hello"}]))
        assert answer.received.tokens() == 2

    @pytest.mark.parametrize("part", [None, [], "x", {"content": None}, {"content": 5}, {"tool_calls": [None, {}, 5]}])
    def test_survives_deltas_that_are_odd(self, part: object) -> None:
        answer = stream()
        fed(answer, chunk([{"index": 0, "delta": part}]))
        assert answer.received.tokens() == 0


NAME = {"model": "asked/for"}
