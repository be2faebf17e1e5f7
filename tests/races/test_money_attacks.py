"""Money where two things happen at once, made to happen at once."""

import contextlib
import random
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User
from apikeys import issuing
from apikeys.authentication import PaymentRequired
from apikeys.models import ApiKey
from billing import holds, prices, reconcile, topups
from billing.models import Price
from tests import world
from tests.races import crowd

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 30


def beside(action: Callable[[], object]) -> threading.Thread:
    """Start an action on a connection of its own; it has ended, or waits for a lock, when this returns."""
    pids: list[int] = []

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.append(cursor.fetchone()[0])
            action()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ANY (%s)", [pids])
            if cursor.fetchone() != (0,):
                break
    return thread


class TestLossLimitOfAModel:
    def test_counts_losses_of_two_accounts_that_settle_at_the_same_moment(self) -> None:
        price = world.model("http://127.0.0.1:1/v1", name=f"model-{uuid7()}")

        def lose(user: User) -> holds.Settled:
            placed = holds.place(world.request(user, rates=world.flat(1), model=price.model))
            return holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=3 * world.USD)

        first, second = world.account(credit=1), world.account(credit=1)
        with transaction.atomic():
            assert lose(first).lost_nanousd == 3 * world.USD - 1
            other = beside(lambda: lose(second))
        other.join(PATIENCE_SECONDS)
        assert Price.objects.get(model=price.model).suspended_at is not None


class TestEverythingAtOnce:
    def test_never_waits_in_a_circle_and_adds_up(self) -> None:
        """Two accounts and one model, all that locks money, keys, accounts and prices, in any order."""
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        price = world.model("http://127.0.0.1:1/v1", name=f"model-{uuid7()}")
        users = [world.account(credit=10**6) for _ in range(2)]
        roots = {user: world.key(user) for user in users}

        def lose(user: User, leaf: ApiKey) -> None:
            placed = holds.place(world.request(user, leaf, rates=world.flat(1), model=price.model))
            extended = holds.extend(account_id=user.id, hold_id=placed.hold_id, output_limit=1)
            assert extended.amount_nanousd == 1
            holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=4 * world.USD)

        def expire(user: User, leaf: ApiKey) -> None:
            holds.place(world.request(user, leaf, rates=world.flat(1), life=timedelta(0)))
            holds.expire_overdue()

        def top_up(user: User, leaf: ApiKey) -> None:
            order = topups.Order(amount_nanousd=world.USD, payment_ref=str(uuid7()), address=None)
            with transaction.atomic():
                topups.record(account_id=user.id, key_id=leaf.id, recorded_by=user.id, order=order, now=timezone.now())

        def change(user: User, leaf: ApiKey) -> None:
            child, _ = issuing.issue(account_id=user.id, parent_id=leaf.id, name="child")
            issuing.change(account_id=user.id, key_id=roots[user].id, changes={"budget_nanousd": dice.randrange(10**9)})
            issuing.revoke(account_id=user.id, key_id=child.id, now=timezone.now())

        def look(user: User, leaf: ApiKey) -> None:
            prices.save(model=price.model, changes={"input_price_nanousd": dice.randrange(9)})
            User.objects.filter(id=user.id).update(is_frozen=False)

        def action() -> None:
            user = dice.choice(users)
            leaf = world.key(user, parent=roots[user])
            for _ in range(6):
                with contextlib.suppress(PaymentRequired):
                    dice.choice([lose, lose, expire, top_up, change, look])(user, leaf)

        outcomes = crowd.run([action] * 24)
        assert [outcome for outcome in outcomes if outcome is not None] == []
        ours = {user.id for user in users}
        assert [found for found in reconcile.differences() if found.account_id in ours] == []
