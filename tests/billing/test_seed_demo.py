"""What is seeded is believable to a person and exact to an accountant; a model, key or account of it opens no door."""

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F, Max, Min, Sum
from django.utils import timezone

from accounts import addresses
from accounts.models import User, Wallet
from apikeys.models import ApiKey, KeyDirectory
from billing import balances, holds, overview, reconcile, statements
from billing.models import CreditAccount, Hold, HourTotal, Price, TopUp, Transfer, Upstream
from billing.rates import Rates, Usage
from billing.seeding_people import MODELS, draw
from tests import world
from tests.billing.test_commands import refused, run

pytestmark = pytest.mark.django_db

ADDRESS = "0x" + "ab" * 20
SEED = "7"


def seed(*options: str) -> str:
    return run("seed_demo", "--seed", SEED, *options)


def differences() -> list[Any]:
    """What `check_ledger` finds, in the transaction of the test."""
    found: list[Any] = []
    with connection.cursor() as cursor:
        for check in reconcile.CHECKS.values():
            cursor.execute(check)
            found += cursor.fetchall()
    return found


@pytest.fixture
def seeded() -> str:
    return seed("--calls", "3000", "--accounts", "9")


@pytest.fixture
def mine() -> User:
    user = world.account()
    Wallet.objects.create(account=user, address=ADDRESS)
    return user


def busiest() -> Any:
    return Hold.objects.values("account_id").annotate(calls=Count("id")).order_by("-calls")[0]["account_id"]


class TestSeedDemo:
    def test_leaves_books_that_add_up(self, seeded: str) -> None:
        assert differences() == []
        assert "Seed 7" in seeded

    def test_makes_as_many_calls_as_asked_beside_those_running(self, seeded: str) -> None:
        assert Hold.objects.exclude(status="pending").count() == 3000
        assert Hold.objects.filter(status="pending").exists()
        assert User.objects.count() == Wallet.objects.count() == 9

    def test_charges_what_the_rates_on_each_call_say(self, seeded: str) -> None:
        for hold in Hold.objects.filter(status="settled"):
            rates = Rates(
                input=hold.input_price_nanousd,
                output=hold.output_price_nanousd,
                cached_input=hold.cached_input_price_nanousd,
                cache_write=hold.cache_write_price_nanousd,
            )
            usage = Usage(
                input=hold.input_tokens,
                cached_input=hold.cached_input_tokens,
                cache_write=hold.cache_write_tokens,
                output=hold.output_tokens,
            )
            assert hold.charged_nanousd + hold.lost_nanousd == rates.cost(usage)
            assert hold.charged_nanousd <= hold.amount_nanousd

    def test_keeps_ids_times_and_balances_in_one_order(self, seeded: str) -> None:
        for account_id in CreditAccount.objects.values_list("account_id", flat=True):
            balance, last = 0, None
            for entry in reversed(statements.entries(account_id, statements.transfers(account_id).order_by("-id"))):
                balance += entry.amount_nanousd
                assert entry.transfer.balance_after_nanousd == balance >= 0
                assert last is None or entry.transfer.created_at >= last
                last = entry.transfer.created_at
            assert balance == balances.read(account_id).balance_nanousd

    def test_has_every_way_a_call_can_end(self, seeded: str) -> None:
        ends = Counter(Hold.objects.values_list("status", "outcome"))
        assert {end for _, end in ends} >= {
            "ok", "cut", "hung_up", "upstream_failed", "upstream_unreachable", "upstream_refused", "expired", "",
        }  # fmt: skip
        assert {status for status, _ in ends} == {"settled", "released", "expired", "pending"}
        assert ends["settled", "ok"] > 0.8 * 3000
        assert Hold.objects.filter(lost_nanousd__gt=0).exists()
        assert Hold.objects.filter(is_counted=True).exists()
        assert Hold.objects.filter(key_id=None).exists()

    def test_knows_what_most_calls_cost_the_operator_and_earns_on_them(self, seeded: str) -> None:
        settled = Hold.objects.filter(status="settled")
        known = settled.filter(upstream_cost_nanousd__isnull=False)
        assert 0.8 < known.count() / settled.count() < 1
        sums = known.aggregate(cost=Sum("upstream_cost_nanousd"), paid=Sum("charged_nanousd"))
        assert 1.03 < sums["paid"] / sums["cost"] < 1.06

    def test_has_keys_in_every_state(self, seeded: str) -> None:
        keys = ApiKey.objects.all()
        assert keys.filter(budget_nanousd__gt=0, spent_nanousd=F("budget_nanousd")).exists()
        assert keys.filter(is_frozen=True).exists()
        assert keys.filter(revoked_at__isnull=False).exists()
        assert keys.filter(ancestor_ids__len=2).exists()
        assert keys.exclude(allowlist=[]).exists()
        assert keys.filter(held_nanousd__gt=0).exists()

    def test_never_passes_the_cap_of_a_key(self, seeded: str) -> None:
        for key in ApiKey.objects.filter(budget_nanousd__isnull=False):
            assert key.spent_nanousd + key.held_nanousd <= key.budget_nanousd

    def test_has_money_moved_in_every_way(self, seeded: str) -> None:
        assert set(Transfer.objects.values_list("code", flat=True)) == {"charge", "topup", "refund", "adjustment"}
        assert set(TopUp.objects.values_list("status", flat=True)) == {"succeeded", "pending", "failed"}
        assert not Transfer.objects.filter(code="adjustment", reason="").exists()
        assert CreditAccount.objects.filter(balance_nanousd=0).exists()
        assert User.objects.filter(is_frozen=True).exclude(frozen_reason="").exists()

    def test_has_days_and_nights(self) -> None:
        until = timezone.now()
        (person,) = draw(rng=Random(3), accounts=1, calls=20_000, days=28, until=until)
        by_day: Counter[int] = Counter()
        by_hour: Counter[int] = Counter()
        for key in person.keys:
            for hour, count in key.hours.items():
                by_day[hour.weekday()] += count
                by_hour[hour.hour] += count
        assert by_day[5] + by_day[6] < 0.25 * by_day.total()
        assert max(by_hour.values()) > 5 * min(by_hour.values())

    def test_spreads_over_the_days_asked_and_ends_now(self) -> None:
        seed("--calls", "500", "--accounts", "3", "--days", "3")
        span = Hold.objects.aggregate(first=Min("placed_at"), last=Max("placed_at"))
        assert timedelta(days=2) < timezone.now() - span["first"] < timedelta(days=3, minutes=1)
        assert timezone.now() - span["last"] < timedelta(minutes=5)
        assert not Hold.objects.filter(resolved_at__gt=timezone.now()).exists()

    def test_opens_no_door(self, seeded: str) -> None:
        assert not Price.objects.exists()
        assert not Upstream.objects.exists()
        assert not any(user.has_usable_password() or user.is_staff for user in User.objects.all())
        assert KeyDirectory.objects.count() == ApiKey.objects.count()
        for address in Wallet.objects.values_list("address", flat=True):
            assert addresses.parse(addresses.checksum(addresses.parse(address))) == address

    def test_draws_the_same_again_and_adds(self, seeded: str) -> None:
        assert seed("--calls", "3000", "--accounts", "9") != seeded
        assert (User.objects.count(), Hold.objects.exclude(status="pending").count()) == (18, 6000)
        by_account = Hold.objects.filter(status="settled").values("account_id").annotate(calls=Count("id"))
        assert all(count % 2 == 0 for count in Counter(row["calls"] for row in by_account).values())
        assert differences() == []

    def test_leaves_right_sums_of_the_hours_it_writes_into(self) -> None:
        hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
        sums = {field.name: 0 for field in HourTotal._meta.fields if field.name != "hour"}
        HourTotal.objects.create(hour=hour, **sums)
        seed("--calls", "300", "--accounts", "1")
        until = HourTotal.objects.order_by("-hour")[0].hour + timedelta(hours=1)
        ended = Hold.objects.filter(status="settled", resolved_at__lt=until)
        assert HourTotal.objects.aggregate(calls=Sum("calls"))["calls"] == ended.count() > 0

    def test_takes_calls_beside_it(self, seeded: str) -> None:
        """An account of it is like any other to the ledger."""
        account = User.objects.get(id=busiest())
        placed = holds.place(world.request(account, rates=world.flat(world.USD)))
        holds.settle(account_id=account.id, hold_id=placed.hold_id, cost_nanousd=world.USD)
        assert differences() == []

    def test_refuses_production_without_a_word(self, settings: Any) -> None:
        settings.DEVELOPMENT = False
        code, message = refused("seed_demo", "--calls", "10")
        assert (code, "--yes-in-production" in message, User.objects.count()) == (1, True, 0)
        run("seed_demo", "--calls", "10", "--accounts", "1", "--yes-in-production")
        assert User.objects.count() == 1

    @pytest.mark.parametrize(
        "options", [["--calls", "-1"], ["--calls", "many"], ["--days", "0"], ["--accounts", "0"], ["--address", "0x12"]]
    )
    def test_refuses_wrong_usage(self, options: list[str]) -> None:
        refused("seed_demo", *options)
        assert not User.objects.exists()


class TestAddress:
    def test_fills_the_account_of_a_wallet(self, mine: User) -> None:
        seed("--calls", "800", "--address", ADDRESS)
        assert User.objects.count() == 1
        seen = overview.read(mine.id, balances.read(mine.id), today=timezone.now().date())
        assert seen.has_calls
        assert seen.has_keys
        assert seen.running > 0
        assert differences() == []

    def test_lets_history_lie_before_what_the_account_did_and_keeps_its_balance(self, mine: User) -> None:
        paid = world.USD * 7
        with_credit = world.account(credit=paid)
        Wallet.objects.filter(account=mine).update(account=with_credit)
        before = Transfer.objects.get(account_id=with_credit.id)
        seed("--calls", "400", "--address", ADDRESS)
        assert world.money(with_credit) == (paid, 0)
        newest = Transfer.objects.filter(account_id=with_credit.id).order_by("-id")[:2]
        assert newest[0].id == before.id
        assert newest[1].balance_after_nanousd == 0
        assert differences() == []
        seed("--calls", "100", "--address", ADDRESS)
        assert world.money(with_credit) == (paid, 0)
        assert differences() == []

    def test_refuses_a_wallet_that_never_signed_in(self) -> None:
        code, message = refused("seed_demo", "--address", ADDRESS)
        assert (code, "sign in once" in message, Hold.objects.count()) == (1, True, 0)


class TestModels:
    def test_cost_less_than_they_are_sold_for_or_are_the_operators_own(self) -> None:
        assert len({model.name for model in MODELS}) == len(MODELS)
        assert [model.name for model in MODELS if not model.has_cost] == ["smollm2-135m-instruct", "echo"]
