"""Streams that try to be given more than their growing hold pays for. Each was possible once."""

import json
import socket
import time
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from apikeys.models import ApiKey
from billing.models import CreditAccount
from faces.gateway.call import BEHIND_SECONDS
from tests import world
from tests.fakes.upstream import DONE, Gate, chunk, delta, finish, usage, used
from tests.gateway.bench import Bench, cost
from tests.gateway.client import ask
from tests.gateway.test_call import BOUND, said

pytestmark = pytest.mark.django_db(transaction=True)

SLICE = 64
WALL = 48
WORD = "word "


@pytest.fixture
def growing(bench: Bench) -> Bench:
    """A cap that pays for one slice and no more."""
    bench.set_price(default_output_tokens=SLICE, visible_output=True)
    bench.set_upstream(on_hangup="cancel")
    ApiKey.objects.filter(id=bench.parent.id).update(budget_nanousd=cost(BOUND, SLICE))
    return bench


def open_cap(bench: Bench) -> None:
    ApiKey.objects.filter(id=bench.parent.id).update(budget_nanousd=None)


def part(index: int = 0, reason: str | None = None, **members: Any) -> dict[str, Any]:
    return chunk([{"index": index, "finish_reason": reason, **members}])


class TestFinish:
    def test_on_every_event_does_not_open_the_wall(self, growing: Bench) -> None:
        words = [part(delta={"content": WORD}, reason="stop")] * 100
        growing.upstream.streams(*words, usage(7, 100), DONE)
        events = growing.events(max_tokens=1000)
        assert said(events) == WORD * (WALL // 5)
        assert growing.hold().lost_nanousd == 0

    def test_of_all_that_began_is_not_the_end_while_choices_are_still_to_come(self, growing: Bench) -> None:
        ApiKey.objects.filter(id=growing.parent.id).update(budget_nanousd=cost(BOUND, 2 * SLICE))
        first = part(delta={"content": "x" * 90}, reason="stop")
        late = delta("y" * 100, index=1)
        growing.upstream.streams(first, late, Gate())
        events = growing.events(max_tokens=1000, n=2)
        assert "y" not in str([event["choices"] for event in events[:-1]])
        assert growing.hold().outcome == "cut_budget_exhausted"

    @pytest.mark.parametrize(
        "rest",
        [
            [usage(7, 15)],
            [part(delta={"role": "assistant", "content": ""}, reason=None) | {"usage": used(7, 15)}],
            [finish(), usage(7, 15)],
        ],
    )
    def test_past_the_wall_lets_what_shows_nothing_follow(self, growing: Bench, rest: list[Any]) -> None:
        growing.upstream.streams(part(delta={"content": "x" * 60}, reason="stop"), *rest, DONE)
        assert said(growing.events(max_tokens=1000)) == "x" * 60
        growing.check_charged(7, 15)


class TestCounting:
    @pytest.mark.parametrize(
        "members",
        [
            {"delta": {"reasoning_details": [{"type": "reasoning.text", "text": "x" * 60, "index": 0}]}},
            {"delta": {"reasoning_details": [{"type": "reasoning.summary", "summary": "x" * 60}]}},
            {"delta": {"thinking": "x" * 60}},
            {"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {"a": "x" * 60}}}]}},
            {"delta": {"role": "assistant"}, "text": "x" * 60},
            {"message": {"content": "x" * 60}},
        ],
        ids=lambda members: "-".join([*members, *members.get("delta", [])]),
    )
    def test_finds_output_wherever_it_stands(self, growing: Bench, members: dict[str, Any]) -> None:
        growing.upstream.streams(*[part(**members)] * 5, Gate())
        events = growing.events(max_tokens=1000)
        assert "x" * 60 not in str(events)
        assert growing.hold().outcome == "cut_budget_exhausted"
        assert growing.hold().output_tokens > 0

    def test_counts_a_thought_that_is_said_twice_once(self, growing: Bench) -> None:
        thought = {"reasoning": "x" * 30, "reasoning_details": [{"type": "reasoning.text", "text": "x" * 30}]}
        growing.upstream.streams(part(delta=thought), finish(), usage(7, 15), DONE)
        assert growing.events(max_tokens=1000)[-1] == "[DONE]"
        growing.check_charged(7, 15)

    def test_pays_for_what_a_template_writes_around_each_of_many_small_tool_calls(self, growing: Bench) -> None:
        open_cap(growing)
        calls = [
            part(delta={"tool_calls": [{"index": i, "id": f"{i}", "function": {"name": "f", "arguments": "{}"}}]})
            for i in range(50)
        ]
        growing.upstream.streams(*calls, finish("tool_calls"), usage(7, 50 * 20), DONE)
        growing.events(max_tokens=5000)
        assert growing.hold().amount_nanousd >= growing.check_charged(7, 50 * 20)

    def test_takes_a_call_whose_name_is_repeated_on_every_event_for_one(self, growing: Bench) -> None:
        open_cap(growing)
        call = {"index": 0, "id": "1", "function": {"name": "", "arguments": "1"}}
        named = call | {"function": {"name": "f", "arguments": "1"}}
        growing.upstream.streams(*[part(delta={"tool_calls": [named]})] * 8, finish("tool_calls"), usage(7, 9), DONE)
        growing.events(max_tokens=5000)
        assert growing.hold().output_limit_tokens <= 2 * SLICE


class TestPassedFields:
    @pytest.mark.parametrize(("field", "value"), [("include_reasoning", False), ("reasoning", {"exclude": True})])
    def test_that_may_hide_output_hold_the_full_limit(self, growing: Bench, field: str, value: Any) -> None:
        open_cap(growing)
        growing.set_upstream(pass_fields=["include_reasoning", "reasoning"])
        growing.upstream.streams(delta("Hi"), finish(), usage(7, 900), DONE)
        growing.events(max_tokens=1000, **{field: value})
        assert growing.hold().output_limit_tokens == 1000
        assert growing.hold().lost_nanousd == 0

    def test_that_only_sample_may_grow(self, growing: Bench) -> None:
        open_cap(growing)
        growing.set_upstream(pass_fields=["top_k"])
        growing.upstream.streams(delta("Hi"), finish(), usage(7, 1), DONE)
        growing.events(max_tokens=1000, top_k=40)
        assert growing.hold().output_limit_tokens == SLICE


class TestHangup:
    def test_of_a_client_that_took_nothing_pays_for_what_was_made_meanwhile(self, growing: Bench) -> None:
        """It waits in the buffers of sockets: here megabytes of it, at a provider all of a long answer."""
        open_cap(growing)
        growing.set_price(prompt_bound="o200k")
        made = 1000
        written = Gate()
        block = b"".join(b"data: %s\n\n" % json.dumps(delta(" word", padding="." * 2000)).encode() for _ in range(10))
        growing.upstream.streams(*[block] * (made // 10), written.opened(), Gate())
        stream = growing.stream(max_tokens=made)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        written.wait()
        time.sleep(2 * BEHIND_SECONDS)  # the client's own idleness is what is tested
        growing.hang_up(stream)
        assert growing.hold().outcome == "hung_up"
        assert growing.hold().output_tokens == made


class TestConnections:
    def test_are_left_for_others_while_many_streams_of_a_locked_account_ask(self, growing: Bench) -> None:
        gate = Gate()
        growing.upstream.streams(gate, *[delta(WORD)] * 8, Gate())
        open_cap(growing)
        streams = [growing.stream(max_tokens=1000) for _ in range(settings.FACES_GATEWAY_CONNECTIONS + 2)]
        other = world.key(world.account(credit=world.USD))
        with transaction.atomic():
            CreditAccount.objects.select_for_update().get(account_id=growing.user.id)
            gate.open()
            for stream in streams:
                assert said([stream.event() for _ in range(8)]) == WORD * 8
            assert ask(growing.service.url, "GET", "/v1/models", other.text).status == 200
