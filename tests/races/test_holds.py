"""Holds under contention. Every test ends with the ledger recomputed from its rows."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from apikeys.authentication import PaymentRequired
from apikeys.models import ApiKey
from billing import holds
from billing.models import Transfer
from tests import world
from tests.races import crowd

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = 1_000
CALLERS = 64
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _ledger_adds_up(db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT c.account_id FROM billing_creditaccount c WHERE
               balance_nanousd <> (SELECT coalesce(sum(CASE WHEN credit = 'customer' THEN amount_nanousd ELSE -amount_nanousd END), 0)
                                   FROM billing_transfer t WHERE t.account_id = c.account_id)
               OR held_nanousd <> (SELECT coalesce(sum(amount_nanousd), 0) FROM billing_hold h
                                   WHERE h.account_id = c.account_id AND status = 'pending')"""
        )
        assert cursor.fetchall() == []
        cursor.execute(
            """SELECT k.id FROM apikeys_apikey k WHERE
               spent_nanousd <> (SELECT coalesce(sum(charged_nanousd), 0) FROM billing_hold h
                                 WHERE h.account_id = k.account_id AND k.id = ANY (h.key_ids))
               OR held_nanousd <> (SELECT coalesce(sum(amount_nanousd), 0) FROM billing_hold h
                                   WHERE h.account_id = k.account_id AND k.id = ANY (h.key_ids) AND status = 'pending')"""
        )
        assert cursor.fetchall() == []


def place(user: User, leaf: ApiKey | None) -> holds.Placed:
    return holds.place(world.request(user, leaf, rates=world.flat(PRICE)))


def tally(outcomes: list[Any]) -> Counter[str]:
    return Counter(
        outcome.code if isinstance(outcome, PaymentRequired) else type(outcome).__name__ for outcome in outcomes
    )


def settle(user: User, placed: holds.Placed, cost: int = PRICE) -> holds.Settled:
    return holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=cost)


class TestExactlyTenFit:
    def test_on_one_key(self) -> None:
        user = world.account(credit=1000 * PRICE)
        key = world.key(user, budget=10 * PRICE)
        outcomes = crowd.run([partial(place, user, key)] * CALLERS)
        assert tally(outcomes) == {"Placed": 10, "budget_held": CALLERS - 10}
        assert world.spent(key) == (0, 10 * PRICE)

    def test_on_a_parent_with_eight_children(self) -> None:
        user = world.account(credit=1000 * PRICE)
        parent = world.key(user, budget=10 * PRICE)
        children = [world.key(user, parent=parent) for _ in range(8)]
        outcomes = crowd.run([partial(place, user, children[i % 8]) for i in range(CALLERS)])
        assert tally(outcomes) == {"Placed": 10, "budget_held": CALLERS - 10}
        assert world.spent(parent) == (0, 10 * PRICE)

    def test_on_an_account_with_eight_keys(self) -> None:
        user = world.account(credit=10 * PRICE)
        keys = [world.key(user) for _ in range(8)]
        outcomes = crowd.run([partial(place, user, keys[i % 8]) for i in range(CALLERS)])
        assert tally(outcomes) == {"Placed": 10, "balance_held": CALLERS - 10}
        assert world.money(user) == (10 * PRICE, 10 * PRICE)


class TestSettleAgainst:
    def test_settle_charges_once(self) -> None:
        user = world.account(credit=1000 * PRICE)
        placed = place(user, world.key(user))
        outcomes = crowd.run([partial(settle, user, placed)] * 20)
        assert Counter(outcome.state for outcome in outcomes) == {"settled": 1, "already": 19}
        assert world.charges(user) == [PRICE]

    def test_expire_resolves_once(self) -> None:
        for _ in range(10):
            user = world.account(credit=1000 * PRICE)
            placed = holds.place(
                world.request(user, world.key(user), rates=world.flat(PRICE)), now=NOW - timedelta(days=1)
            )
            expire = partial(holds.expire_overdue, now=NOW, most=10_000)
            outcomes = crowd.run([partial(settle, user, placed), expire, partial(settle, user, placed), expire])
            states = Counter(outcome.state for outcome in outcomes if isinstance(outcome, holds.Settled))
            row = world.hold(placed.hold_id)
            if row.status == "settled":
                assert states == {"settled": 1, "already": 1}
                assert (world.charges(user), row.lost_nanousd) == ([PRICE], 0)
            else:
                assert states == {"late": 1, "already": 1}
                assert (world.charges(user), row.lost_nanousd) == ([], PRICE)

    def test_settle_leaves_a_statement_in_the_order_of_the_ledger(self) -> None:
        user = world.account(credit=1000 * PRICE)
        placed = [place(user, None) for _ in range(CALLERS)]
        crowd.run([partial(settle, user, one, PRICE + i) for i, one in enumerate(placed)])
        balance = 1000 * PRICE
        for row in Transfer.objects.filter(account_id=user.id, code="charge").order_by("id"):
            balance -= row.amount_nanousd
            assert row.balance_after_nanousd == balance
        times = Transfer.objects.filter(account_id=user.id).order_by("id").values_list("created_at", flat=True)
        assert list(times) == sorted(times)


class TestControlAgainstRunningCalls:
    def test_freeze_stops_new_calls_and_lets_running_ones_finish(self) -> None:
        user = world.account(credit=1000 * PRICE)
        key = world.key(user)

        def call() -> holds.Settled:
            return settle(user, place(user, key))

        def freeze() -> int:
            return ApiKey.objects.filter(id=key.id).update(is_frozen=True)

        outcomes = crowd.run([call] * 30 + [freeze] + [call] * 30)
        states = tally(outcomes)
        assert states["Settled"] + states["key_frozen"] == 60
        assert len(world.charges(user)) == states["Settled"]
        assert tally(crowd.run([call] * 5)) == {"key_frozen": 5}

    def test_revoke_and_a_lowered_cap_never_let_a_call_past_them(self) -> None:
        user = world.account(credit=1000 * PRICE)
        parent = world.key(user, budget=40 * PRICE)
        child = world.key(user, parent=parent)

        def call() -> holds.Settled:
            return settle(user, place(user, child))

        def lower() -> int:
            return ApiKey.objects.filter(id=parent.id).update(budget_nanousd=10 * PRICE)

        def revoke() -> int:
            return ApiKey.objects.filter(id=child.id).update(revoked_at=NOW)

        outcomes = crowd.run([call] * 20 + [lower] + [call] * 20 + [revoke] + [call] * 20)
        states = tally(outcomes)
        assert states["Settled"] + states["Unauthorized"] + states["budget_exhausted"] + states["budget_held"] == 60
        assert sum(world.charges(user)) == states["Settled"] * PRICE
        assert tally(crowd.run([call] * 3)) == {"Unauthorized": 3}

    def test_a_random_mix_adds_up(self) -> None:
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        users = [world.account(credit=200 * PRICE) for _ in range(3)]
        trees = []
        for user in users:
            root = world.key(user, budget=100 * PRICE)
            trees.append([root, *[world.key(user, parent=root, budget=30 * PRICE) for _ in range(3)]])

        def life(index: int, cost: int, ending: str) -> str:
            user, key = users[index % 3], trees[index % 3][index % 4]
            try:
                placed = place(user, key)
            except PaymentRequired as refusal:
                return refusal.code
            if ending == "release":
                holds.release(account_id=user.id, hold_id=placed.hold_id, outcome="test")
            elif ending == "leave":
                return "left"
            else:
                settle(user, placed, cost)
            return ending

        endings = ["settle", "settle", "settle", "release", "leave"]
        actions = [partial(life, i, dice.randrange(3 * PRICE), dice.choice(endings)) for i in range(CALLERS)]
        outcomes = crowd.run(actions)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        for tree in trees:
            for key in tree:
                spent, held = world.spent(key)
                assert spent + held <= (key.budget_nanousd or 0)
