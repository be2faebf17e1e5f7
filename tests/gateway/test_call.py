"""An admitted call to its end, whatever the upstream and the client do: what is charged, and what the client sees."""

import select
from decimal import Decimal

import pytest
from django.db import connection, transaction
from orjson import dumps

from billing.models import CreditAccount, Price, Upstream
from tests import world
from tests.fakes.upstream import (
    DONE,
    Answer,
    Cut,
    Gate,
    Pause,
    Reset,
    chunk,
    completion,
    delta,
    finish,
    plain,
    raw,
    usage,
    used,
)
from tests.gateway import client
from tests.gateway.bench import CREDIT, INPUT, OUTPUT, PROMPT_TOKENS, Bench, cost

pytestmark = pytest.mark.django_db(transaction=True)

BOUND = 19 + 4 + 256 + 16
"""The most the prompt can be: the bytes of text and role, and what a template may put around a call and a message."""
HELD = cost(BOUND, 100)
JUNK = [
    used(-1, 4),
    used(7, -4),
    used("7", "4"),
    used(7.0, 4.0),
    used(True, True),
    used(10**18, 4),
    used(7, 10**9 + 1),
    used(None, 4),
    {"prompt_tokens": 7},
    {"completion_tokens": 4},
    {},
    [7, 4],
    "7",
    7,
    None,
]


def usd(nanousd: int) -> float:
    return nanousd / 10**9


def said(events: list[object]) -> str:
    """The text of a stream."""
    return "".join(
        choice["delta"].get("content") or "" for event in events if event != "[DONE]" for choice in event["choices"]
    )


class TestPlain:
    def test_is_charged_what_the_upstream_says(self, bench: Bench) -> None:
        bench.upstream.answers(plain("Forty-two", usage=used(7, 4, prompt_tokens_details={"cached_tokens": 2})))
        reply = bench.chat()
        charged = bench.check_charged(7, 4)
        assert reply.status == 200
        body = reply.json()
        assert (body["model"], body["choices"][0]["message"]["content"]) == (bench.model, "Forty-two")
        assert body["usage"] == used(7, 4, prompt_tokens_details={"cached_tokens": 2}, cost=usd(charged))
        assert reply.headers["x-faces-output-limit"] == "100"
        assert reply.headers["content-type"] == "application/json"
        assert bench.hold().amount_nanousd == HELD

    def test_prices_cached_and_written_prompt_tokens_by_themselves(self, bench: Bench) -> None:
        bench.set_price(cached_input_price_nanousd=10**8, cache_write_price_nanousd=3 * 10**9, request_price_nanousd=5)
        details = {"cached_tokens": 2, "cache_write_tokens": 1}
        bench.upstream.answers(plain(usage=used(7, 4, prompt_tokens_details=details)))
        bench.chat()
        weighted = 4 * INPUT + 2 * 10**8 + 1 * 3 * 10**9 + 4 * OUTPUT
        bench.check_money(-(-weighted // 10**6) + 5)
        assert (bench.hold().cached_input_tokens, bench.hold().cache_write_tokens) == (2, 1)

    def test_keeps_what_it_cost_the_operator_where_that_is_known(self, bench: Bench) -> None:
        bench.set_price(input_cost_nanousd=10**9, output_cost_nanousd=3 * 10**9, request_cost_nanousd=7)
        bench.upstream.answers(plain(usage=used(7, 4)))
        bench.chat()
        bench.check_charged(7, 4)
        assert bench.hold().upstream_cost_nanousd == 7_000 + 12_000 + 7

    def test_keeps_no_cost_where_nobody_said_it(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(7, 4)))
        bench.chat()
        assert bench.hold().upstream_cost_nanousd is None

    def test_replaces_a_cost_the_upstream_sent(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(7, 4, cost=99.5)))
        assert bench.chat().json()["usage"]["cost"] == usd(bench.check_charged(7, 4))

    def test_takes_zero_for_a_number(self, bench: Bench) -> None:
        bench.upstream.answers(plain("Hello", usage=used(0, 0)))
        assert bench.chat().json()["usage"] == used(0, 0, cost=0)
        bench.check_charged(0, 0)

    @pytest.mark.parametrize("junk", JUNK)
    def test_counts_where_usage_is_missing_or_junk(self, bench: Bench, junk: object) -> None:
        bench.upstream.answers(plain("Hello there!!", usage=junk))
        reply = bench.chat()
        charged = bench.check_charged(PROMPT_TOKENS, 4, is_counted=True)
        assert reply.json()["usage"] == {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": 4,
            "total_tokens": PROMPT_TOKENS + 4,
            "cost": usd(charged),
        }

    def test_counts_by_the_models_tokenizer_where_the_operator_named_it(self, bench: Bench) -> None:
        bench.set_price(prompt_bound="o200k")
        bench.upstream.answers(plain("Hello there!!"))
        bench.chat()
        bench.check_charged(5, 3, is_counted=True)

    def test_counts_hidden_tool_calls_reasoning_and_refusals_as_output(self, bench: Bench) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": "x"}'}}
        message = {"role": "assistant", "reasoning_content": "Hm, so", "refusal": "No", "tool_calls": [call]}
        body = completion("") | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        bench.upstream.answers(raw(dumps(body)))
        bench.chat()
        bench.check_charged(PROMPT_TOKENS, -(-(6 + 2 + 4 + 10) // 4), is_counted=True)

    def test_counts_no_more_output_than_the_limit(self, bench: Bench) -> None:
        bench.upstream.answers(plain("x" * 4000))
        bench.chat()
        bench.check_charged(PROMPT_TOKENS, 100, is_counted=True)

    def test_charges_usage_above_the_hold_as_far_as_money_is_free(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(BOUND, 100_000)))
        assert bench.chat().status == 200
        assert cost(BOUND, 100_000) > HELD
        bench.check_charged(BOUND, 100_000)

    def test_loses_what_neither_balance_nor_cap_allows_and_shows_it(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(BOUND, 500)))
        full = cost(BOUND, 500)
        for limits in ({"credit": HELD + 1000}, {"budget": HELD + 1000}):
            poor = Bench(bench.service, bench.upstream, **limits)
            reply = poor.chat()
            assert reply.json()["usage"]["cost"] == usd(HELD + 1000)
            poor.check_money(HELD + 1000, lost=full - HELD - 1000)

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>busy</html>",
            b"",
            b"[]",
            b"null",
            b'{"choices": [}',
            b'{"error": {"message": "overloaded"}}',
            b'{"choices": []}',
            b'{"choices": "none"}',
            b'{"choices": [{"index": [], "message": {}}]}',
            b"\xff\xfe",
        ],
    )
    def test_that_is_no_answer_costs_the_prompt_and_what_arrived(self, bench: Bench, body: bytes) -> None:
        bench.upstream.answers(raw(body))
        reply = bench.chat()
        assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")
        assert "overloaded" not in reply.body.decode()
        bench.check_charged(PROMPT_TOKENS, -(-len(body) // 4), outcome="upstream_failed", is_counted=True)
        assert len(bench.upstream.exchanges) == 1

    @pytest.mark.parametrize(("step", "status"), [(Cut(), 502), (Reset(), 502), (Gate(), 504)])
    @pytest.mark.parametrize("length", [None, 4000])
    def test_that_breaks_off_costs_the_prompt_and_what_arrived(
        self, bench: Bench, step: Cut | Reset | Gate, status: int, length: int | None
    ) -> None:
        bench.set_upstream(timeout_seconds=1)
        body = dumps(completion("x" * 200))[:150]
        bench.upstream.answers(Answer([body, Pause(), step], length=length))
        reply = bench.chat()
        assert (reply.status, reply.headers["x-should-retry"]) == (status, "false")
        outcome = "upstream_timeout" if status == 504 else "upstream_failed"
        bench.check_charged(PROMPT_TOKENS, 38, outcome=outcome, is_counted=True)

    def test_that_breaks_off_is_counted_by_the_models_tokenizer(self, bench: Bench) -> None:
        bench.set_price(prompt_bound="o200k")
        bench.upstream.answers(Answer([b"Hello there!!", Pause(), Cut()], length=4000))
        bench.chat()
        bench.check_charged(5, 3, outcome="upstream_failed", is_counted=True)

    def test_of_any_size_that_is_too_large_is_a_failure(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("faces.gateway.call.MAX_ANSWER_BYTES", 100_000)
        bench.upstream.answers(Answer([b"x" * 60_000, b"x" * 60_000, Gate()]))
        assert bench.chat().status == 502
        bench.check_charged(PROMPT_TOKENS, 100, outcome="upstream_failed", is_counted=True)
        assert bench.upstream.next().saw_hangup()

    def test_passes_several_choices(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(7, 250)))
        bench.chat(n=3)
        assert bench.hold().amount_nanousd == cost(BOUND, 300)
        bench.check_charged(7, 250)
        assert bench.upstream.exchanges[0].body["n"] == 3


class TestStream:
    def test_is_charged_what_the_upstream_says(self, bench: Bench) -> None:
        bench.upstream.streams(delta("Forty-"), delta("two"), finish(), usage(7, 4), DONE)
        stream = bench.stream()
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["x-faces-output-limit"] == "100"
        events = stream.events()
        charged = bench.check_charged(7, 4)
        assert events == [
            delta("Forty-", model=bench.model),
            delta("two", model=bench.model),
            finish(model=bench.model),
            chunk([], model=bench.model, usage=used(7, 4, cost=usd(charged))),
            "[DONE]",
        ]

    @pytest.mark.parametrize("options", [None, {"include_usage": False}, {}])
    def test_gives_no_usage_unless_it_was_asked_for(self, bench: Bench, options: dict[str, bool] | None) -> None:
        more = {"citations": ["https://a.example"]}
        with_more = chunk([], usage=used(7, 4), **more)
        bench.upstream.streams(delta("Hi", usage=used(7, 1)), finish(usage=used(7, 3)), with_more, usage(7, 4), DONE)
        assert bench.events(stream_options=options) == [
            delta("Hi", model=bench.model),
            finish(model=bench.model),
            chunk([], model=bench.model, **more),
            "[DONE]",
        ]
        bench.check_charged(7, 4)

    def test_replaces_a_cost_the_upstream_sent(self, bench: Bench) -> None:
        bench.upstream.streams(finish(), usage(7, 4, cost=99.5, cost_details={"x": 1}), DONE)
        events = bench.events()
        assert events[-2]["usage"] == used(7, 4, cost=usd(bench.check_charged(7, 4)), cost_details={"x": 1})

    def test_takes_the_usage_that_was_said_last(self, bench: Bench) -> None:
        steps = [delta("Forty-", usage=used(7, 2)), delta("two", usage=used(7, 3)), finish(usage=used(7, 4)), DONE]
        bench.upstream.streams(*steps)
        events = bench.events()
        charged = bench.check_charged(7, 4)
        costs = [usd(cost(7, 2)), usd(cost(7, 3)), usd(charged)]
        assert [event["usage"]["cost"] for event in events[:-1]] == costs
        assert events[-2]["choices"][0]["finish_reason"] == "stop"

    def test_takes_usage_that_was_said_early_and_shows_it_at_the_end(self, bench: Bench) -> None:
        bench.upstream.streams(usage(7, 4), delta("Forty-two"), finish(), DONE)
        events = bench.events()
        charged = bench.check_charged(7, 4)
        assert [event["choices"] for event in events[:-1]][-1] == []
        assert [event["usage"] for event in events[:-1] if event.get("usage")] == [used(7, 4, cost=usd(charged))]

    def test_takes_usage_after_the_finish_on_a_chunk_with_a_choice(self, bench: Bench) -> None:
        bench.upstream.streams(delta("Hi"), finish(), delta("", usage=used(7, 4)), DONE)
        events = bench.events()
        assert events[-2]["usage"]["cost"] == usd(bench.check_charged(7, 4))

    @pytest.mark.parametrize("zeros", [used(0, 0), None])
    def test_takes_the_last_usage_after_zeros_and_nulls(self, bench: Bench, zeros: object) -> None:
        bench.upstream.streams(delta("Hi", usage=zeros), finish(usage=zeros), usage(7, 4), DONE)
        events = bench.events()
        charged = bench.check_charged(7, 4)
        assert events[-2] == chunk([], model=bench.model, usage=used(7, 4, cost=usd(charged)))

    def test_takes_zero_for_a_number(self, bench: Bench) -> None:
        bench.upstream.streams(delta("Hi"), finish(), usage(0, 0), DONE)
        assert bench.events()[-2]["usage"] == used(0, 0, cost=0)
        bench.check_charged(0, 0)

    @pytest.mark.parametrize("junk", JUNK)
    def test_counts_where_usage_is_missing_or_junk(self, bench: Bench, junk: object) -> None:
        bench.upstream.streams(delta("Hello "), delta("there!!"), finish(), chunk([], usage=junk), DONE)
        events = bench.events()
        charged = bench.check_charged(PROMPT_TOKENS, 4, is_counted=True)
        shown = [event["usage"] for event in events[:-1] if event.get("usage")]
        assert shown == [
            {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 4, "total_tokens": 9, "cost": usd(charged)}
        ]
        assert events[-2]["usage"] == shown[0]

    def test_counts_by_the_models_tokenizer_where_the_operator_named_it(self, bench: Bench) -> None:
        bench.set_price(prompt_bound="o200k")
        bench.upstream.streams(*[delta(letter) for letter in "Hello there!!"], finish(), DONE)
        bench.events()
        bench.check_charged(5, 3, is_counted=True)

    def test_needs_no_done_where_there_is_a_finish(self, bench: Bench) -> None:
        bench.upstream.streams(delta("Hi"), finish(), usage(7, 4))
        assert bench.events()[-1] == "[DONE]"
        bench.check_charged(7, 4)

    def test_passes_several_choices(self, bench: Bench) -> None:
        bench.upstream.streams(delta("a"), delta("b", index=1), finish(), finish(index=1), usage(7, 2), DONE)
        assert said(bench.events(n=2)) == "ab"
        bench.check_charged(7, 2)

    def test_is_a_plain_refusal_if_refused(self, bench: Bench) -> None:
        bench.upstream.answers(raw(b'{"error": {"message": "no such thing"}}', status=404))
        reply = bench.chat(stream=True)
        assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
        bench.check_free(outcome="upstream_refused")


class TestBrokenStream:
    def check(self, bench: Bench, events: list[object], outcome: str = "upstream_failed") -> None:
        """One error event at the end, no `[DONE]`; the prompt and 13 bytes of output charged."""
        assert said(events[:-1]) == "Hello there!!"
        error = events[-1]["error"]
        assert (error["code"], error["type"]) == (outcome, "server_error")
        assert set(error) == {"message", "type", "code", "param"}
        bench.check_charged(PROMPT_TOKENS, 4, outcome=outcome, is_counted=True)
        assert len(bench.upstream.exchanges) == 1

    @pytest.mark.parametrize(
        "ending",
        [
            [],
            [DONE],
            [Pause(), Reset()],
            [Pause(), Cut()],
            [{"error": {"message": "overloaded", "code": 529}}],
            [b'event: error\ndata: {"error": "overloaded"}\n\n'],
            [b"data: {not json\n\n"],
            [b"data: [1, 2]\n\n"],
            [b'data: {"choices": 5}\n\n'],
            [b'data: {"choices": [5]}\n\n'],
            [b'data: {"choices": [{"index": {}}]}\n\n'],
            [b'data: {"choices": [{"ind'],
            [b"data: " + b"x" * 70_000],
            [b"data: xxxxxxxxxxxxxxxxx\n" * 4000],
            [finish(index=1), DONE],
        ],
    )
    def test_costs_the_prompt_and_what_arrived(
        self, bench: Bench, ending: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("faces.gateway.sse.MAX_EVENT_BYTES", 65_536)
        bench.upstream.streams(delta("Hello "), delta("there!!"), *ending)
        events = bench.events()
        self.check(bench, [event for event in events if event.get("error") or said([event])])

    def test_of_time_costs_the_prompt_and_what_arrived(self, bench: Bench) -> None:
        bench.set_upstream(timeout_seconds=1)
        bench.upstream.streams(delta("Hello "), delta("there!!"), Gate())
        self.check(bench, bench.events(), "upstream_timeout")
        assert bench.upstream.next().saw_hangup()

    @pytest.mark.parametrize(("prompt", "output"), [(0, 0), (7, 2), (7, 300)])
    def test_never_costs_less_than_was_said_or_arrived(self, bench: Bench, prompt: int, output: int) -> None:
        bench.upstream.streams(delta("Hello there!!", usage=used(prompt, output)), Pause(), Reset())
        bench.events()
        tokens = max(prompt, PROMPT_TOKENS), max(output, 4)
        bench.check_charged(*tokens, outcome="upstream_failed", is_counted=tokens != (prompt, output))

    def test_that_is_no_stream_costs_the_prompt(self, bench: Bench) -> None:
        bench.upstream.answers(plain("a plain answer"))
        (event,) = bench.events()
        assert event["error"]["code"] == "upstream_failed"
        bench.check_charged(PROMPT_TOKENS, 0, outcome="upstream_failed", is_counted=True)


class TestCut:
    """An upstream that does not stop at the limit is stopped; one that does is left alone."""

    @pytest.mark.parametrize("wants_usage", [True, False])
    def test_when_more_arrived_than_the_hold_pays_for(self, bench: Bench, wants_usage: bool) -> None:
        bench.upstream.streams(*[delta("word ")] * 30, Gate())
        events = bench.events(max_tokens=10, stream_options={"include_usage": wants_usage})
        charged = bench.check_charged(PROMPT_TOKENS, 10, outcome="cut", is_counted=True)
        assert charged <= bench.hold().amount_nanousd
        assert said(events) == "word " * 10
        assert events.pop() == "[DONE]"
        if wants_usage:
            assert events.pop()["usage"] == {
                "prompt_tokens": 5,
                "completion_tokens": 10,
                "total_tokens": 15,
                "cost": usd(charged),
            }
        last = events.pop()
        assert (last["choices"], last["model"], last["id"]) == (
            [{"index": 0, "delta": {}, "finish_reason": "length"}],
            bench.model,
            "chatcmpl-7",
        )
        assert "usage" not in last
        assert bench.upstream.next().saw_hangup()

    def test_by_the_models_tokenizer_with_room_for_a_half_token(self, bench: Bench) -> None:
        bench.set_price(prompt_bound="o200k")
        bench.upstream.streams(*[delta(" word")] * 15, Gate())
        assert said(bench.events(max_tokens=10)) == " word" * 14
        bench.check_charged(5, 10, outcome="cut", is_counted=True)

    def test_by_size_alone_where_deltas_tell_nothing(self, bench: Bench) -> None:
        bench.upstream.streams(delta("x" * 160), delta("x"), Gate())
        assert said(bench.events(max_tokens=10)) == "x" * 160
        bench.check_charged(PROMPT_TOKENS, 10, outcome="cut", is_counted=True)

    def test_counts_all_choices_together(self, bench: Bench) -> None:
        bench.upstream.streams(*[delta("word ", index=i % 2) for i in range(30)], Gate())
        events = bench.events(max_tokens=10, n=2)
        assert said(events) == "word " * 20
        assert [choice["index"] for choice in events[-3]["choices"]] == [0, 1]
        bench.check_charged(PROMPT_TOKENS, 20, outcome="cut", is_counted=True)

    @pytest.mark.parametrize(
        "deltas",
        [
            list("an answer of ten tokens, letter by letter, by choice"),
            ["internationalis"] * 10,
            ["ab"] * 19,
            list("一个回答，一个字一个字地来，十五个记号"),
        ],
    )
    def test_leaves_alone_an_upstream_that_keeps_to_the_limit(self, bench: Bench, deltas: list[str]) -> None:
        bench.upstream.streams(*map(delta, deltas), finish("length"), usage(7, 10), DONE)
        events = bench.events(max_tokens=10)
        assert said(events) == "".join(deltas)
        bench.check_charged(7, 10)

    def test_leaves_alone_interleaved_choices_of_a_named_tokenizer(self, bench: Bench) -> None:
        bench.set_price(prompt_bound="o200k")
        deltas = [delta(letter, index=index) for letter in " information" * 5 for index in (0, 1)]
        bench.upstream.streams(*deltas, finish(), finish(index=1), usage(7, 10), DONE)
        bench.events(max_tokens=5, n=2)
        bench.check_charged(7, 10)

    def test_stops_reading_for_a_client_that_has_gone(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.streams(delta("word "), gate, *[delta("word ")] * 30, Gate())
        stream = bench.stream(max_tokens=10)
        stream.event()
        bench.leave(stream)
        gate.open()
        bench.wait_until_idle()
        bench.check_charged(PROMPT_TOKENS, 10, outcome="cut", is_counted=True)
        assert bench.upstream.next().saw_hangup()


class TestHangUp:
    def test_in_a_stream_is_read_on_to_the_usage(self, bench: Bench) -> None:
        """Hidden reasoning is billed by the upstream and never shown: only its usage knows."""
        gate = Gate()
        bench.upstream.streams(delta("Hello"), gate, delta(" there"), finish(), usage(7, 90), DONE)
        stream = bench.stream()
        assert said([stream.event()]) == "Hello"
        bench.leave(stream)
        assert bench.hold().status == "pending"
        gate.open()
        bench.wait_until_idle()
        bench.check_charged(7, 90, outcome="hung_up")
        assert not bench.upstream.next().saw_hangup()

    @pytest.mark.parametrize("leave", ["leave", "reset"])
    def test_before_a_plain_answer_is_read_on_to_the_usage(self, bench: Bench, leave: str) -> None:
        gate = Gate()
        bench.upstream.answers(plain(usage=used(7, 90)).but(before=[gate]))
        connection = bench.send()
        bench.upstream.next()
        getattr(bench, leave)(connection)
        assert bench.hold().status == "pending"
        gate.open()
        bench.wait_until_idle()
        bench.check_charged(7, 90, outcome="hung_up")

    def test_is_read_on_no_longer_than_the_deadline(self, bench: Bench) -> None:
        bench.set_upstream(timeout_seconds=1)
        bench.upstream.streams(delta("Hello there!!"), Gate())
        stream = bench.stream()
        stream.event()
        bench.hang_up(stream)
        bench.check_charged(PROMPT_TOKENS, 4, outcome="upstream_timeout", is_counted=True)
        assert bench.upstream.next().saw_hangup()

    def test_in_a_stream_cancels_an_upstream_that_stops_charging(self, bench: Bench) -> None:
        bench.set_upstream(on_hangup="cancel")
        bench.upstream.streams(delta("Hello "), delta("there!!"), Gate())
        stream = bench.stream()
        stream.event(), stream.event()
        bench.hang_up(stream)
        assert bench.upstream.next().saw_hangup()
        bench.check_charged(PROMPT_TOKENS, 4, outcome="hung_up", is_counted=True)

    @pytest.mark.parametrize("steps", [[], [dumps(completion("x" * 200))[:150], Pause()]])
    def test_before_a_plain_answer_cancels_an_upstream_that_stops_charging(
        self, bench: Bench, steps: list[bytes]
    ) -> None:
        bench.set_upstream(on_hangup="cancel")
        arrived = Gate()
        bench.upstream.answers(Answer([*steps, arrived.opened(), Gate()], length=4000))
        connection = bench.send()
        exchange = bench.upstream.next()
        arrived.wait()
        bench.hang_up(connection)
        assert exchange.saw_hangup()
        bench.check_charged(PROMPT_TOKENS, 38 if steps else 0, outcome="hung_up", is_counted=True)

    @pytest.mark.parametrize("on_hangup", ["drain", "cancel"])
    def test_after_everything_arrived_changes_nothing(self, bench: Bench, on_hangup: str) -> None:
        bench.set_upstream(on_hangup=on_hangup)
        bench.upstream.answers(plain(usage=used(7, 4)))
        assert bench.chat().status == 200
        bench.check_charged(7, 4)

    def test_with_a_failure_after_it_costs_the_prompt_and_what_arrived(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.streams(delta("Hello"), gate, delta(" there!!"), Pause(), Reset())
        stream = bench.stream()
        stream.event()
        bench.leave(stream)
        gate.open()
        bench.wait_until_idle()
        bench.check_charged(PROMPT_TOKENS, 4, outcome="upstream_failed", is_counted=True)

    @pytest.mark.parametrize("on_hangup", ["drain", "cancel"])
    def test_is_what_a_client_does_that_stops_reading(
        self, bench: Bench, on_hangup: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("faces.gateway.call.STALL_SECONDS", 0.2)
        rich = Bench(bench.service, bench.upstream, credit=500 * world.USD)
        rich.set_upstream(on_hangup=on_hangup)
        rich.set_price(max_output_tokens=10**7)
        bench.upstream.streams(*[delta("x" * 60_000)] * 400, finish(), usage(7, 90), DONE)
        connection = rich.send(stream=True, max_tokens=10**7)
        bench.upstream.next().saw_hangup()
        bench.wait_until_idle()
        connection.close()
        if on_hangup == "drain":
            rich.check_charged(7, 90, outcome="hung_up")
        else:
            hold = rich.hold()
            assert 0 < hold.output_tokens < 400 * 15_000
            rich.check_charged(PROMPT_TOKENS, hold.output_tokens, outcome="hung_up", is_counted=True)

    def test_while_still_sending_its_request_holds_nothing_and_is_no_error(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        connection = bench.send_half()
        bench.hang_up(connection)
        assert world.money(bench.user) == (CREDIT, 0)
        assert bench.upstream.exchanges == []
        assert caplog.records == []


class TestOperatorMeanwhile:
    def test_a_changed_price_leaves_the_running_call_at_the_price_of_its_hold(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.streams(delta("Hi"), gate, finish(), usage(7, 4), DONE)
        stream = bench.stream()
        stream.event()
        bench.set_price(input_price_nanousd=10**12, output_price_nanousd=10**12)
        gate.open()
        assert stream.events()[-1] == "[DONE]"
        bench.check_charged(7, 4)

    def test_a_removed_model_and_upstream_leave_the_running_call_alone(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.answers(plain(usage=used(7, 4)).but(before=[gate]))
        connection = bench.send()
        bench.upstream.next()
        Price.objects.filter(model=bench.model).delete()
        Upstream.objects.filter(name=bench.price.upstream_id).delete()
        bench.service.forget_routes()
        assert bench.chat().status == 404
        gate.open()
        assert bench.reply_to(connection).json()["model"] == bench.model
        bench.check_charged(7, 4)


class TestOutputLimit:
    def test_is_lowered_to_what_the_free_money_buys(self, bench: Bench) -> None:
        poor = Bench(bench.service, bench.upstream, credit=cost(BOUND, 300))
        bench.upstream.answers(plain(usage=used(7, 4)))
        reply = poor.chat(max_tokens=5000)
        assert (reply.status, reply.headers["x-faces-output-limit"]) == (200, "300")
        assert bench.upstream.exchanges[0].body["max_tokens"] == 300
        poor.check_charged(7, 4)

    def test_is_not_lowered_for_a_client_that_prefers_a_refusal(self, bench: Bench) -> None:
        poor = Bench(bench.service, bench.upstream, credit=cost(BOUND, 300))
        reply = poor.chat(max_tokens=5000, headers={"x_faces_lower": "no"})
        assert (reply.status, reply.headers["x-faces-reason"]) == (402, "balance_exhausted")
        assert world.money(poor.user) == (cost(BOUND, 300), 0)
        assert bench.upstream.exchanges == []

    def test_is_the_models_own_at_most_and_its_default_if_none_is_asked(self, bench: Bench) -> None:
        bench.set_price(max_output_tokens=60, default_output_tokens=40)
        for asked, given in ((100, 60), (None, 40)):
            one = Bench(bench.service, bench.upstream)
            one.set_price(max_output_tokens=60, default_output_tokens=40)
            assert one.chat(max_tokens=asked).headers["x-faces-output-limit"] == str(given)
            assert one.hold().amount_nanousd == cost(BOUND, given)


class TestSettlement:
    """It is committed before the client has the end of its answer. The proof: while the account's row is locked, settling
    waits, and so does the end."""

    def check_waits(self, bench: Bench, sock: object) -> None:
        """Asserts, with the account locked, that the settlement waits for it and nothing is there for the client to read."""
        with connection.cursor() as cursor:
            for _ in range(1000):
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    """SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                       AND query LIKE '%%faces_hold_settle%%' AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"""
                )
                if cursor.fetchone() != (0,):
                    break
                cursor.execute("SELECT pg_sleep(0.005)")
            else:
                raise AssertionError("nothing was ever settled")
        assert select.select([sock], [], [], 0.05)[0] == []

    def test_comes_before_any_byte_of_a_plain_answer(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.answers(plain(usage=used(7, 4)).but(before=[gate]))
        sent = bench.send()
        bench.upstream.next()
        with transaction.atomic():
            CreditAccount.objects.select_for_update().get(account=bench.user)
            gate.open()
            self.check_waits(bench, sent.sock)
        assert bench.reply_to(sent).status == 200
        bench.check_charged(7, 4)

    @pytest.mark.parametrize("wants_usage", [True, False])
    def test_comes_before_the_usage_and_the_end_of_a_stream(self, bench: Bench, wants_usage: bool) -> None:
        gate = Gate()
        bench.upstream.streams(delta("Hi"), gate, delta("!"), finish(), usage(7, 4), DONE)
        stream = bench.stream(stream_options={"include_usage": wants_usage})
        stream.event()
        with transaction.atomic():
            CreditAccount.objects.select_for_update().get(account=bench.user)
            gate.open()
            assert said([stream.event()]) == "!"
            assert stream.event()["choices"][0]["finish_reason"] == "stop"
            self.check_waits(bench, stream.socket)
        usages = [chunk([], model=bench.model, usage=used(7, 4, cost=usd(cost(7, 4))))] if wants_usage else []
        assert stream.events() == [*usages, "[DONE]"]
        bench.check_charged(7, 4)

    def test_comes_before_the_error_of_a_broken_stream(self, bench: Bench) -> None:
        gate = Gate()
        bench.upstream.streams(delta("Hi"), gate, Reset())
        stream = bench.stream()
        stream.event()
        with transaction.atomic():
            CreditAccount.objects.select_for_update().get(account=bench.user)
            gate.open()
            self.check_waits(bench, stream.socket)
        assert "error" in stream.event()

    def test_goes_on_when_the_client_leaves_in_the_middle_of_it(self, bench: Bench) -> None:
        bench.set_upstream(on_hangup="cancel")
        bench.upstream.streams(delta("Hi"), finish(), usage(7, 4), DONE)
        with transaction.atomic():
            stream = None
            gate = Gate()
            bench.upstream.streams(delta("Hi"), gate, finish(), usage(7, 4), DONE)
            stream = bench.stream()
            stream.event()
            CreditAccount.objects.select_for_update().get(account=bench.user)
            gate.open()
            stream.event()
            self.check_waits(bench, stream.socket)
            bench.leave(stream)
        bench.wait_until_idle()
        bench.check_charged(7, 4)


class TestLossLimits:
    def lose(self, bench: Bench) -> None:
        bench.upstream.answers(plain(usage=used(BOUND, 500)))
        assert bench.chat().status == 200
        bench.check_money(HELD, lost=cost(BOUND, 500) - HELD)

    def test_of_an_account_freezes_it(self, bench: Bench, settings: object) -> None:
        poor = Bench(bench.service, bench.upstream, credit=HELD)
        settings.FACES_LOSS_LIMIT_ACCOUNT = Decimal("0.000001")
        self.lose(poor)
        reply = poor.chat()
        assert (reply.status, reply.headers["x-faces-reason"]) == (402, "account_frozen")
        assert len(bench.upstream.exchanges) == 1

    def test_of_a_model_answers_503_to_everybody(self, bench: Bench, settings: object) -> None:
        poor = Bench(bench.service, bench.upstream, credit=HELD)
        settings.FACES_LOSS_LIMIT_MODEL = Decimal("0.000001")
        self.lose(poor)
        poor.service.forget_routes()
        reply = client.ask(
            poor.service.url, "POST", client.CHAT, world.key(world.account(credit=CREDIT)).text, poor.request()
        )
        assert (reply.status, reply.json()["error"]["code"]) == (503, "model_suspended")
        assert poor.model in reply.json()["detail"]
        assert bench.chat().status == 200, "other models go on"
