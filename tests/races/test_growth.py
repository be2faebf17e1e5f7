"""Holds that grow while everything else happens to their keys, their account and their calls."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import pytest
from django.utils import timezone

from accounts.models import User
from apikeys import issuing
from apikeys.authentication import PaymentRequired
from apikeys.models import ApiKey
from billing import holds, reconcile
from billing.models import Hold
from billing.rates import Rates
from tests import service, world
from tests.fakes.upstream import DONE, Gate, Script, delta, finish, usage
from tests.races import crowd

pytestmark = pytest.mark.django_db(transaction=True)

STREAMS = 64
SLICE = 10
TOKEN = 1_000_000
"""Nano-USD per million: one nano-USD a token."""
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _ledger_adds_up(db: None) -> Iterator[None]:
    yield
    assert reconcile.differences() == []


def place(user: User, leaf: ApiKey | None = None) -> holds.Placed:
    request = world.request(user, leaf, rates=Rates(output=TOKEN), output_limit=SLICE, lowest_limit=1, grows=True)
    return holds.place(request)


def extend(placed: holds.Placed, slices: int = 2) -> str:
    return holds.extend(account_id=placed.account_id, hold_id=placed.hold_id, output_limit=slices * SLICE).reason


def settle(placed: holds.Placed, cost: int = SLICE) -> str:
    return holds.settle(account_id=placed.account_id, hold_id=placed.hold_id, cost_nanousd=cost).state


def reasons(outcomes: Sequence[Any]) -> Counter[str]:
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    return Counter(outcomes)


class TestExtend:
    def test_fits_exactly_as_often_as_the_cap_allows(self) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        key = world.key(user, budget=(STREAMS + 10) * SLICE)
        placed = [place(user, key) for _ in range(STREAMS)]
        assert reasons(crowd.run([partial(extend, one) for one in placed])) == {"": 10, "budget_held": STREAMS - 10}
        assert world.spent(key) == (0, (STREAMS + 10) * SLICE)

    def test_fits_exactly_under_a_parent_with_eight_children(self) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        parent = world.key(user, budget=(STREAMS + 10) * SLICE)
        children = [world.key(user, parent=parent) for _ in range(8)]
        placed = [place(user, children[i % 8]) for i in range(STREAMS)]
        assert reasons(crowd.run([partial(extend, one) for one in placed])) == {"": 10, "budget_held": STREAMS - 10}
        assert world.spent(parent) == (0, (STREAMS + 10) * SLICE)

    def test_fits_exactly_into_the_balance(self) -> None:
        user = world.account(credit=(STREAMS + 10) * SLICE)
        placed = [place(user, world.key(user)) for _ in range(STREAMS)]
        assert reasons(crowd.run([partial(extend, one) for one in placed])) == {"": 10, "balance_held": STREAMS - 10}
        assert world.money(user)[1] == (STREAMS + 10) * SLICE

    def test_of_one_hold_asked_by_all_at_once_raises_it_once(self) -> None:
        user = world.account(credit=100 * SLICE)
        one = place(user)
        assert reasons(crowd.run([partial(extend, one)] * STREAMS)) == {"": STREAMS}
        assert world.money(user) == (100 * SLICE, 2 * SLICE)

    def test_against_settle_leaves_nothing_held(self) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        key = world.key(user)
        placed = [place(user, key) for _ in range(STREAMS // 2)]
        actions = [partial(action, one) for one in placed for action in (extend, settle)]
        outcomes = reasons(crowd.run(actions))
        assert outcomes["settled"] == STREAMS // 2
        assert outcomes[""] + outcomes["not_pending"] == STREAMS // 2
        assert world.spent(key) == (STREAMS // 2 * SLICE, 0)

    def test_against_expire_gives_all_of_it_back(self) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        placed = [place(user) for _ in range(STREAMS - 4)]
        later = timezone.now() + timedelta(days=1)
        expire = partial(holds.expire_overdue, now=later)
        crowd.run([expire, expire, *[partial(extend, one) for one in placed], expire, expire])
        expire()
        assert world.money(user) == (100 * STREAMS * SLICE, 0)

    @pytest.mark.parametrize("what", ["freeze", "revoke"])
    def test_against_stopping_the_key_is_granted_all_the_same(self, what: str) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        parent = world.key(user)
        placed = [place(user, world.key(user, parent=parent)) for _ in range(STREAMS - 1)]

        def stop() -> str:
            if what == "freeze":
                issuing.freeze(account_id=user.id, key_id=parent.id)
            else:
                issuing.revoke(account_id=user.id, key_id=parent.id, now=timezone.now())
            return what

        outcomes = reasons(crowd.run([partial(extend, one) for one in placed] + [stop]))
        assert outcomes == {"": STREAMS - 1, what: 1}

    def test_against_a_lowered_cap_never_raises_past_it(self) -> None:
        user = world.account(credit=100 * STREAMS * SLICE)
        key = world.key(user, budget=3 * STREAMS * SLICE)
        placed = [place(user, key) for _ in range(STREAMS - 1)]
        cap = (STREAMS + 5) * SLICE

        def lower() -> str:
            ApiKey.objects.filter(id=key.id).update(budget_nanousd=cap)
            return "lowered"

        outcomes = reasons(crowd.run([*[partial(extend, one) for one in placed], lower]))
        held = world.spent(key)[1]
        assert held == (STREAMS - 1 + outcomes[""]) * SLICE
        crowd.run([partial(extend, one, 9) for one in placed])
        assert world.spent(key)[1] <= max(cap, held)

    def test_beside_everything_else(self) -> None:
        seed = random.randrange(2**32)
        print("seed", seed)
        chance = random.Random(seed)
        user = world.account(credit=100 * STREAMS * SLICE)
        parent = world.key(user, budget=2 * STREAMS * SLICE)
        children = [world.key(user, parent=parent) for _ in range(4)]
        placed = [place(user, chance.choice(children)) for _ in range(24)]
        later = timezone.now() + timedelta(days=1)

        def start() -> str:
            try:
                return "placed" if place(user, chance.choice(children)) else ""
            except PaymentRequired as refusal:
                return refusal.code

        def lower() -> str:
            ApiKey.objects.filter(id=children[0].id).update(budget_nanousd=SLICE)
            return "lowered"

        actions: list[Callable[[], object]] = [
            partial(action, one) for one in placed for action in (extend, partial(extend, slices=5), settle)
        ]
        actions += [start] * 10 + [lower, lambda: str(holds.expire_overdue(now=later))]
        chance.shuffle(actions)
        crowd.run(actions)
        spent, held = world.spent(parent)
        assert spent + held <= 2 * STREAMS * SLICE


WORDS = 200
"""Of five bytes each: 1000 tokens at most."""


class Streams:
    """64 callers of one model that grows by 64 tokens, over real sockets."""

    def __init__(self, faces: service.Running, upstream: Script) -> None:
        self.faces = faces
        self.upstream = upstream
        self.price = world.model(
            upstream.base_url,
            upstream={"on_hangup": "cancel"},
            visible_output=True,
            default_output_tokens=64,
            max_output_tokens=2000,
        )
        faces.forget_routes()

    def run(self, callers: Sequence[ApiKey]) -> Counter[str]:
        """How they ended: the finish reason, or why they were refused."""
        gate = Gate()
        words = [delta("word ")] * WORDS
        self.upstream.streams(gate, *words, finish(), usage(30, WORDS), DONE)
        tokens = [callers[i % len(callers)].text for i in range(STREAMS)]
        return Counter(asyncio.run(self._crowd(tokens, gate)))

    async def _crowd(self, tokens: Sequence[str], gate: Gate) -> list[str]:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            started = [await self._start(session, token) for token in tokens]
            gate.open()
            return await asyncio.gather(*[self._end(response) for response in started])

    async def _start(self, session: aiohttp.ClientSession, token: str) -> aiohttp.ClientResponse:
        messages = [{"role": "user", "content": "Go on"}]
        body = {"model": self.price.model, "stream": True, "max_tokens": 2000, "messages": messages}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return await session.post(f"{self.faces.url}/v1/chat/completions", data=json.dumps(body), headers=headers)

    async def _end(self, response: aiohttp.ClientResponse) -> str:
        if response.status != 200:
            return response.headers["X-Faces-Reason"]
        text = await response.text()
        assert text.endswith("data: [DONE]\n\n")
        chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        return str(
            next(choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"])
        )


@pytest.fixture
def streams(faces: service.Running, upstream: Script) -> Streams:
    return Streams(faces, upstream)


class TestStreams:
    def check(self, user: User, key: ApiKey, cap: int, ends: Counter[str]) -> None:
        rows = list(Hold.objects.filter(account_id=user.id))
        assert {row.status for row in rows} == {"settled"}
        assert sum(row.lost_nanousd for row in rows) == 0
        spent, held = world.spent(key)
        assert held == 0
        assert spent == sum(row.charged_nanousd for row in rows) <= cap
        cuts = Counter("length" if row.outcome.startswith("cut_budget") else "stop" for row in rows)
        assert Counter({end: ends[end] for end in ("length", "stop") if ends[end]}) == cuts

    def test_that_all_fit_are_all_answered_in_full(self, streams: Streams) -> None:
        user = world.account(credit=world.USD)
        key = world.key(user, budget=world.USD)
        assert streams.run([key]) == {"stop": STREAMS}
        self.check(user, key, world.USD, Counter(stop=STREAMS))

    def test_under_one_cap_that_is_too_small_for_all(self, streams: Streams) -> None:
        user = world.account(credit=world.USD)
        cap = STREAMS * 700_000
        key = world.key(user, budget=cap)
        ends = streams.run([key])
        assert ends.total() == STREAMS
        assert ends["length"] > 0
        self.check(user, key, cap, ends)

    def test_under_a_parent_with_eight_children(self, streams: Streams) -> None:
        user = world.account(credit=world.USD)
        cap = STREAMS * 700_000
        parent = world.key(user, budget=cap)
        children = [world.key(user, parent=parent, budget=cap // 4) for _ in range(8)]
        ends = streams.run(children)
        self.check(user, parent, cap, ends)
        assert all(spent <= cap // 4 and held == 0 for spent, held in map(world.spent, children))
