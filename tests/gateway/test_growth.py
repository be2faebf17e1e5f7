"""Streams whose hold grows: what is held when, who pays for what, and how a stream ends that cannot be paid on."""

import asyncio
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from apikeys.models import ApiKey
from billing import holds
from billing.models import CreditAccount, Hold
from faces.gateway.growth import Grower, Growth
from tests import world
from tests.fakes.upstream import DONE, Gate, chunk, delta, finish, plain, usage, used
from tests.gateway.bench import PROMPT_TOKENS, Bench, cost
from tests.gateway.test_call import BOUND, said, usd

pytestmark = pytest.mark.django_db(transaction=True)

SLICE = 64
WALL = 48
"""A slice less its margin, in tokens, which are counted as bytes where no tokenizer is named."""
LEAST = 4
"""The least that is asked for after refusals."""
WORD = "word "


@pytest.fixture
def growing(bench: Bench) -> Bench:
    bench.set_price(default_output_tokens=SLICE, visible_output=True)
    bench.set_upstream(on_hangup="cancel")
    return bench


def set_cap(bench: Bench, nanousd: int) -> None:
    ApiKey.objects.filter(id=bench.parent.id).update(budget_nanousd=nanousd)


class TestGrowth:
    def growth(self, **fields: int) -> Growth:
        return Growth(**{"choices": 1, "slice": 2048, "limit": 32_000, "held": 2048, **fields})

    def test_asks_ahead_of_its_wall(self) -> None:
        growth = self.growth()
        assert not growth.wants_more(2048 - 128 - 256 - 1)
        assert growth.wants_more(2048 - 128 - 256)
        assert not growth.is_past(2048 - 128)
        assert growth.is_past(2048 - 128 + 1)

    def test_counts_all_choices_together(self) -> None:
        growth = self.growth(choices=3)
        assert not growth.is_past(3 * (2048 - 128))
        assert growth.is_past(3 * (2048 - 128) + 1)

    def test_asks_for_a_slice_more_up_to_the_limit(self) -> None:
        assert self.growth().target(2000) == 4096
        assert self.growth(held=31_000).target(31_000) == 32_000

    def test_asks_for_as_many_slices_as_arrived_at_once(self) -> None:
        growth = self.growth()
        growth.grant(growth.target(20_000))
        assert not growth.is_past(20_000)
        assert growth.held < 20_000 + 2048 + 128 + 1

    def test_asks_for_less_after_a_refusal_and_for_more_after_a_grant(self) -> None:
        growth = self.growth()
        targets = []
        while not growth.is_least_refused:
            targets.append(growth.target(1700) - 2048)
            growth.refuse("budget_exhausted", 1700)
        assert targets == [2048, 1024, 512, 256, 128]
        growth.grant(2048 + 128)
        assert (growth.target(1700) - growth.held, growth.is_least_refused) == (256, False)

    def test_has_no_wall_at_its_limit(self) -> None:
        growth = self.growth(held=32_000)
        assert not growth.wants_more(10**9)
        assert not growth.is_past(10**9)

    def test_asks_again_half_way_after_a_refusal(self) -> None:
        growth = self.growth()
        growth.refuse("budget_held", 1700)
        assert not growth.wants_more(1809)
        assert growth.wants_more(1810)

    @pytest.mark.parametrize("slice_", [1, 2, 3, 5, 8])
    def test_works_with_the_smallest_slices(self, slice_: int) -> None:
        growth = self.growth(slice=slice_, held=slice_, limit=100)
        for arrived in range(1, 101):
            if growth.wants_more(arrived):
                growth.grant(growth.target(arrived))
            assert not growth.is_past(arrived)
        assert growth.held == 100


class TestGrower:
    async def test_gives_up_where_asking_fails_in_an_unforeseen_way(self) -> None:
        asked = []

        async def extend(output_limit: int) -> holds.Extended:
            asked.append(output_limit)
            raise ValueError("a fault of ours")

        grower = Grower(Growth(choices=1, slice=2048, limit=32_000, held=2048), extend, model="m")
        async with asyncio.timeout(5):
            assert not await grower.covers(3000)
        assert grower.growth.refusal == "database_away"
        assert len(asked) == 1
        await grower.aclose()


class TestStart:
    def test_holds_the_prompt_and_a_slice_of_every_choice(self, growing: Bench) -> None:
        growing.upstream.streams(delta("Hi"), finish(), finish(index=1), usage(7, 1), DONE)
        stream = growing.stream(max_tokens=1000, n=2)
        stream.events()
        assert growing.hold().amount_nanousd == cost(BOUND, 2 * SLICE)
        assert stream.headers["x-faces-output-limit"] == "1000"
        assert stream.headers["x-faces-held"] == f"{cost(BOUND, 2 * SLICE) / 10**9:.9f}".rstrip("0")
        assert growing.upstream.next().body["max_tokens"] == 1000
        growing.check_charged(7, 1)

    def test_holds_no_more_than_the_limit(self, growing: Bench) -> None:
        growing.upstream.streams(delta("Hi"), finish(), usage(7, 1), DONE)
        growing.events(max_tokens=10)
        assert growing.hold().amount_nanousd == cost(BOUND, 10)

    @pytest.mark.parametrize("change", [{"visible_output": False}, {"on_hangup": "drain"}])
    def test_holds_the_full_limit_where_growing_is_not_safe(self, growing: Bench, change: dict[str, Any]) -> None:
        (growing.set_upstream if "on_hangup" in change else growing.set_price)(**change)
        growing.upstream.streams(delta("Hi"), finish(), usage(7, 1), DONE)
        growing.events(max_tokens=1000)
        assert growing.hold().amount_nanousd == cost(BOUND, 1000)

    def test_holds_the_full_limit_of_a_plain_call(self, growing: Bench) -> None:
        growing.upstream.answers(plain(usage=used(7, 1)))
        growing.chat(max_tokens=1000)
        assert growing.hold().amount_nanousd == cost(BOUND, 1000)

    def test_holds_the_full_limit_for_who_wants_nothing_lowered(self, growing: Bench) -> None:
        set_cap(growing, cost(BOUND, 1000) - 1)
        reply = growing.chat(max_tokens=1000, stream=True, headers={"X-Faces-Lower": "no"})
        assert (reply.status, reply.headers["x-faces-reason"]) == (402, "budget_exhausted")
        set_cap(growing, cost(BOUND, 1000))
        growing.upstream.streams(*[delta("x" * 100)] * 8, finish(), usage(7, 200), DONE)
        reply = growing.chat(max_tokens=1000, stream=True, headers={"X-Faces-Lower": "no"})
        assert reply.body.count(b"x" * 100) == 8
        assert growing.hold().amount_nanousd == cost(BOUND, 1000)

    def test_is_lowered_for_good_where_less_than_a_slice_is_left(self, growing: Bench) -> None:
        growing.set_price(default_output_tokens=500)
        set_cap(growing, cost(BOUND, 300))
        growing.upstream.streams(*[delta("x" * 100)] * 8, finish(), usage(7, 200), DONE)
        stream = growing.stream(max_tokens=1000)
        assert said(stream.events()) == "x" * 800
        assert stream.headers["x-faces-output-limit"] == "300"
        assert growing.upstream.next().body["max_tokens"] == 300


class TestExtension:
    @pytest.mark.parametrize("member", ["content", "refusal", "reasoning_content"])
    def test_comes_before_it_is_needed(self, growing: Bench, member: str) -> None:
        gate = Gate()
        word = chunk([{"index": 0, "delta": {member: WORD}, "finish_reason": None}])
        growing.upstream.streams(*[word] * 9, gate, *[word] * 18, finish(), usage(7, 40), DONE)
        stream = growing.stream(max_tokens=1000)
        for _ in range(9):
            stream.event()
        growing.wait_until_held(cost(BOUND, 2 * SLICE))
        gate.open()
        stream.events()
        growing.check_charged(7, 40)
        assert growing.hold().output_limit_tokens == 3 * SLICE

    def test_counts_tool_arguments(self, growing: Bench) -> None:
        call = {"index": 0, "function": {"name": "find", "arguments": "x" * 60}}
        part = chunk([{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}])
        growing.upstream.streams(part, part, finish("tool_calls"), usage(7, 40), DONE)
        growing.events(max_tokens=1000)
        assert growing.hold().output_limit_tokens == 3 * SLICE
        growing.check_charged(7, 40)

    def test_counts_deltas_that_show_nothing(self, growing: Bench) -> None:
        growing.upstream.streams(*[delta("")] * 50, finish(), usage(7, 50), DONE)
        growing.events(max_tokens=1000)
        assert growing.hold().output_limit_tokens == 2 * SLICE

    def test_counts_what_the_upstream_says_if_that_is_more(self, growing: Bench) -> None:
        growing.upstream.streams(delta("a", usage=used(7, 100)), delta("b", usage=used(7, 101)), finish(), DONE)
        growing.events(max_tokens=1000)
        assert growing.hold().output_limit_tokens == 2 * SLICE
        growing.check_charged(7, 101)

    def test_counts_by_the_models_tokenizer_where_the_operator_named_it(self, growing: Bench) -> None:
        growing.set_price(prompt_bound="o200k")
        growing.upstream.streams(*[delta(" information")] * 15, finish(), usage(7, 15), DONE)
        growing.events(max_tokens=1000)
        assert growing.hold().output_limit_tokens == SLICE
        growing.check_charged(7, 15)

    def test_stops_at_the_limit_and_then_leaves_the_call_alone(self, growing: Bench) -> None:
        growing.upstream.streams(*[delta("internationalis")] * 100, finish("length"), usage(7, 100), DONE)
        events = growing.events(max_tokens=100)
        assert said(events) == "internationalis" * 100
        assert growing.hold().amount_nanousd == cost(BOUND, 100)
        growing.check_charged(7, 100)

    @pytest.mark.parametrize("who", ["key", "parent", "account", "revoked"])
    def test_is_granted_to_a_call_whose_key_or_account_was_stopped_meanwhile(self, growing: Bench, who: str) -> None:
        gate = Gate()
        growing.upstream.streams(delta("Hi"), gate, *[delta(WORD)] * 30, finish(), usage(7, 30), DONE)
        stream = growing.stream(max_tokens=1000)
        stream.event()
        if who == "account":
            User.objects.filter(id=growing.user.id).update(is_frozen=True)
        elif who == "revoked":
            ApiKey.objects.filter(id=growing.key.id).update(revoked_at=timezone.now())
        else:
            ApiKey.objects.filter(id=getattr(growing, who).id).update(is_frozen=True)
        gate.open()
        assert said(stream.events()) == WORD * 30
        growing.check_charged(7, 30)


class TestCut:
    @pytest.mark.parametrize("wants_usage", [True, False])
    def test_where_the_cap_allows_no_more(self, growing: Bench, wants_usage: bool) -> None:
        set_cap(growing, cost(BOUND, 2 * SLICE) - 1)
        growing.upstream.streams(*[delta(WORD)] * 30, Gate())
        events = growing.events(max_tokens=1000, stream_options={"include_usage": wants_usage})
        words = (WALL + SLICE - LEAST) // 5
        assert said(events) == WORD * words
        charged = growing.check_charged(
            PROMPT_TOKENS, -(-(words + 1) * 5 // 4), outcome="cut_budget_exhausted", is_counted=True
        )
        assert charged <= growing.hold().amount_nanousd == cost(BOUND, 2 * SLICE - LEAST)
        assert events.pop() == "[DONE]"
        if wants_usage:
            assert events.pop()["usage"]["cost"] == usd(charged)
        last = events.pop()
        assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
        assert "usage" not in last
        assert growing.upstream.next().saw_hangup()

    def test_where_no_credit_is_left(self, growing: Bench) -> None:
        holds.place(world.request(growing.user, rates=world.flat(growing.credit - cost(BOUND, SLICE))))
        growing.upstream.streams(*[delta(WORD)] * 30, Gate())
        events = growing.events(max_tokens=1000)
        assert said(events) == WORD * (WALL // 5)
        assert Hold.objects.get(account_id=growing.user.id, model=growing.model).outcome == "cut_balance_held"

    def test_counts_as_far_as_extensions_were_granted(self, growing: Bench) -> None:
        set_cap(growing, cost(BOUND, 3 * SLICE))
        growing.upstream.streams(*[delta(WORD)] * 60, Gate())
        events = growing.events(max_tokens=1000)
        assert said(events) == WORD * ((WALL + 2 * SLICE) // 5)
        assert growing.hold().amount_nanousd == cost(BOUND, 3 * SLICE)

    def test_is_not_for_an_answer_that_ends_there(self, growing: Bench) -> None:
        set_cap(growing, cost(BOUND, SLICE))
        whole = chunk([{"index": 0, "delta": {"content": "x" * 60}, "finish_reason": "stop"}])
        growing.upstream.streams(whole, usage(7, 15), DONE)
        events = growing.events(max_tokens=1000)
        assert said(events) == "x" * 60
        growing.check_charged(7, 15)

    def test_ends_every_choice_that_is_open(self, growing: Bench) -> None:
        set_cap(growing, cost(BOUND, 2 * SLICE))
        words = [delta(WORD, index=i % 2) for i in range(60)]
        growing.upstream.streams(delta("a", index=2), finish(index=2), *words, Gate())
        events = growing.events(max_tokens=1000, n=2)
        assert [choice["index"] for choice in events[-3]["choices"]] == [0, 1]

    def test_goes_on_when_money_came_back_before_the_wall(self, growing: Bench) -> None:
        set_cap(growing, cost(BOUND, 2 * SLICE) + 1)
        other = holds.place(world.request(growing.user, growing.parent, rates=world.flat(cost(0, SLICE))))
        gate = Gate()
        growing.upstream.streams(*[delta(WORD)] * 7, gate, *[delta(WORD)] * 8, finish(), usage(7, 15), DONE)
        stream = growing.stream(max_tokens=1000)
        for _ in range(7):
            stream.event()
        holds.release(account_id=growing.user.id, hold_id=other.hold_id, outcome="ok")
        gate.open()
        assert said(stream.events()) == WORD * 8

    def test_comes_if_the_database_does_not_answer_at_the_wall(self, growing: Bench) -> None:
        gate = Gate()
        growing.upstream.streams(delta("Hi"), gate, *[delta(WORD)] * 30, Gate())
        stream = growing.stream(max_tokens=1000)
        stream.event()
        with transaction.atomic():
            CreditAccount.objects.select_for_update().get(account_id=growing.user.id)
            gate.open()
            assert growing.upstream.next().saw_hangup()
        assert said(stream.events()) == WORD * 9
        assert growing.hold().outcome == "cut_database_away"
        growing.check_money(growing.hold().charged_nanousd)
