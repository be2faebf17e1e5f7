"""What the statement leaves out, what it keeps in, and that no row is lost between two pages."""

from datetime import UTC, date, datetime, timedelta

import pytest

from accounts.models import User
from apikeys.models import ApiKey
from billing import holds, statements, usage
from billing.days import Days
from billing.rates import Usage
from tests import world

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def charge(user: User, key: ApiKey | None, cost: int, *, at: datetime = NOON) -> None:
    placed = holds.place(world.request(user, key, rates=world.flat(cost)), now=at)
    holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=cost, usage=Usage(input=1, output=1), now=at)


def amounts(entries: list[statements.Entry]) -> list[int]:
    return [entry.amount_nanousd for entry in entries]


@pytest.fixture
def user() -> User:
    return world.account(credit=world.USD)


class TestTransfers:
    @pytest.mark.parametrize("few", [0, 1, 1000])
    def test_are_those_of_one_keys_own_calls(self, user: User, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statements, "FEW", few)
        parent = world.key(user)
        child = world.key(user, parent=parent)
        charge(user, parent, 1)
        charge(user, child, 20)
        charge(user, None, 300)
        for key, cost in ((parent, 1), (child, 20)):
            rows = statements.transfers(user.id, key_id=key.id)
            assert amounts(statements.entries(user.id, rows)) == [-cost]

    def test_are_none_for_another_accounts_key(self, user: User) -> None:
        other = world.account(credit=world.USD)
        key = world.key(other)
        charge(other, key, 5)
        assert not statements.transfers(user.id, key_id=key.id).exists()


class TestAllEntries:
    def test_gives_every_row_once_across_chunks_while_new_ones_arrive(self, user: User) -> None:
        for cost in range(1, 8):
            charge(user, None, cost)
        found = []
        for entry in statements.all_entries(user.id, statements.transfers(user.id), chunk=2):
            found.append(entry)
            charge(user, None, 100)
        assert amounts(found) == [-7, -6, -5, -4, -3, -2, -1, world.USD]

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
    def test_ends_at_the_last_row_whatever_the_chunk(self, count: int) -> None:
        user = world.account(credit=count + 1)
        for _ in range(count):
            charge(user, None, 1)
        assert len(list(statements.all_entries(user.id, statements.transfers(user.id), chunk=2))) == count + 1


class TestUsageAndStatement:
    def test_say_the_same_to_the_nano_on_every_day(self, user: User) -> None:
        keys = [world.key(user), world.key(user), None]
        for day, cost in enumerate((1, 333_333_333, 25_000, 7, 199_999_999)):
            charge(user, keys[day % 3], cost, at=NOON + timedelta(days=day % 2))
        for first, last in ((24, 24), (25, 25), (24, 25), (26, 26)):
            span = Days(date(2026, 11, first), date(2026, 11, last))
            charged = -sum(
                amounts(statements.entries(user.id, statements.transfers(user.id, days=span, code="charge")))
            )
            for group_by in usage.GROUPS:
                rows = usage.rows(account_id=user.id, group_by=group_by, days=span)
                assert usage.totals(rows).cost_nanousd == charged
