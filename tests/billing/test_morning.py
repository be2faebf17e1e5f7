"""The operator's front page: figures an accountant can add up by hand, day boundaries in UTC, and nothing hidden."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from uuid_utils.compat import uuid7

from accounts.models import User
from billing import holds, jobs, ledger, ledger_checks, morning, totals, upstream_health
from billing.models import (
    CreditAccount,
    HourTotal,
    LedgerCheck,
    Party,
    Price,
    TopUp,
    TopUpStatus,
    TransferCode,
    Upstream,
)
from billing.totals import Sums
from tests import world

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 14, 20, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_check_of_others(db: None) -> None:
    """Tests that commit may leave one, dated later than `NOW`."""
    LedgerCheck.objects.all().delete()


def call(
    user: User,
    at: datetime,
    *,
    charged: int,
    cost: int | None = None,
    held: int | None = None,
    took: timedelta = timedelta(seconds=1),
    outcome: str = "ok",
    **fields: Any,
) -> None:
    """A call that was settled at this moment."""
    request = world.request(user, rates=world.flat(charged if held is None else held), **fields)
    placed = holds.place(request, now=at - took)
    statement = holds.settle_statement(
        account_id=user.id,
        hold_id=placed.hold_id,
        cost_nanousd=charged,
        upstream_cost_nanousd=cost,
        outcome=outcome,
        now=at,
    )
    with connection.cursor() as cursor:
        cursor.execute(*statement)


def failed(user: User, at: datetime, *, outcome: str, upstream: str) -> None:
    placed = holds.place(world.request(user, upstream=upstream), now=at - timedelta(milliseconds=50))
    holds.release(account_id=user.id, hold_id=placed.hold_id, outcome=outcome, now=at)


def pay(user: User, at: datetime, amount: int, *, code: TransferCode = TransferCode.TOPUP) -> None:
    party = Party.ADJUSTMENT if code == TransferCode.ADJUSTMENT else Party.CARD
    ledger.post(
        account_id=user.id, amount_nanousd=amount, counterparty=party, code=code, reference=f"{code}:{uuid7()}", now=at
    )


def rich() -> User:
    """An account whose credit came long before."""
    user = world.account()
    pay(user, NOW - timedelta(days=40), 1000 * world.USD)
    return user


class TestMoneyStrip:
    def test_counts_today_from_midnight_utc_and_yesterday_to_the_same_time(self) -> None:
        user = rich()
        call(user, MIDNIGHT - timedelta(microseconds=1), charged=7)
        call(user, MIDNIGHT, charged=100)
        call(user, NOW - timedelta(microseconds=1), charged=23)
        call(user, NOW, charged=5000)
        call(user, MIDNIGHT - DAY, charged=11)
        call(user, NOW - DAY - timedelta(microseconds=1), charged=13)
        call(user, NOW - DAY, charged=17)
        found = morning.figures(now=NOW)
        assert (found.today.sums.calls, found.today.sums.charged_nanousd) == (2, 123)
        assert (found.yesterday.sums.calls, found.yesterday.sums.charged_nanousd) == (2, 24)
        by_day = {column.day: column.total for column in found.chart.columns}
        assert (by_day[MIDNIGHT.date()].cost_nanousd, by_day[MIDNIGHT.date()].calls) == (123, 2)
        before = by_day[(MIDNIGHT - DAY).date()]
        assert (before.cost_nanousd, before.calls) == (11 + 13 + 17 + 7, 4)
        assert len(found.chart.columns) == 30

    def test_says_of_how_many_calls_the_cost_is_known_and_makes_no_margin_of_the_others(self) -> None:
        user = rich()
        call(user, NOW - HOUR, charged=1000, cost=950)
        call(user, NOW - HOUR, charged=500, cost=None)
        call(user, NOW - HOUR, charged=10, cost=0)
        sums = morning.figures(now=NOW).today.sums
        assert (sums.known_calls, sums.used_calls) == (2, 3)
        assert (sums.charged_nanousd, sums.known_charged_nanousd, sums.cost_nanousd) == (1510, 1010, 950)
        assert sums.margin_nanousd == 60

    @pytest.mark.parametrize(
        ("charged", "cost", "percent"),
        [(386_410_000_000, 368_020_000_000, "4.75"), (100, 100, "0.00"), (100, 103, "−3.00"), (3, 1, "66.66")],
    )
    def test_gives_the_margin_in_percent_rounded_down(self, charged: int, cost: int, percent: str) -> None:
        sums = Sums(known_calls=1, known_charged_nanousd=charged, cost_nanousd=cost)
        assert morning.Money(morning.Paid(), sums).margin_percent == percent

    def test_gives_no_percent_of_nothing(self) -> None:
        assert morning.Money(morning.Paid(), Sums(known_calls=1, cost_nanousd=5)).margin_percent == ""

    def test_counts_top_ups_and_refunds_but_neither_charges_nor_corrections(self) -> None:
        user = rich()
        pay(user, MIDNIGHT, 25 * world.USD)
        pay(user, NOW - HOUR, 50 * world.USD)
        pay(user, NOW - HOUR, -10 * world.USD, code=TransferCode.REFUND)
        pay(user, NOW - HOUR, 3 * world.USD, code=TransferCode.ADJUSTMENT)
        pay(user, NOW - DAY - HOUR, 40 * world.USD)
        pay(user, NOW - DAY + HOUR, 80 * world.USD)
        call(user, NOW - HOUR, charged=world.USD)
        found = morning.figures(now=NOW)
        assert found.today.paid == morning.Paid(2, 75 * world.USD, 1, 10 * world.USD)
        assert found.yesterday.paid == morning.Paid(1, 40 * world.USD, 0, 0)

    def test_books_a_late_settlement_on_the_day_it_came(self) -> None:
        user = rich()
        request = world.request(user, rates=world.flat(900))
        placed = holds.place(request, now=NOW - DAY - 2 * HOUR)
        assert holds.expire_overdue(now=NOW - DAY - HOUR) == [placed.hold_id]
        statement = holds.settle_statement(
            account_id=user.id, hold_id=placed.hold_id, cost_nanousd=800, upstream_cost_nanousd=700, now=NOW - HOUR
        )
        with connection.cursor() as cursor:
            cursor.execute(*statement)
        found = morning.figures(now=NOW)
        assert found.yesterday.sums == Sums()
        assert found.today.sums == Sums(late_calls=1, known_calls=1, cost_nanousd=700, lost_calls=1, lost_nanousd=800)
        assert found.today.sums.margin_nanousd == -700
        assert found.looks.late == morning.Tally(1, 800)
        assert found.looks.expired == morning.Tally(0, 0)

    def test_counts_what_a_settlement_could_not_charge_as_lost(self) -> None:
        user = world.account()
        pay(user, NOW - 2 * HOUR, 1000)
        call(user, NOW - HOUR, charged=1300, held=1000, cost=1200)
        sums = morning.figures(now=NOW).today.sums
        assert (sums.charged_nanousd, sums.lost_nanousd, sums.lost_calls, sums.margin_nanousd) == (1000, 300, 1, -200)


class TestTotals:
    def read(self) -> totals.Totals:
        """Without the days on which nothing happened: only stored hours name them."""
        found = totals.read(now=NOW, days=30)
        days = {day: sums for day, sums in found.per_day.items() if sums != Sums()}
        return totals.Totals(found.today, found.yesterday, days)

    def test_are_the_same_from_the_calls_and_from_the_stored_hours(self) -> None:
        user = rich()
        for i in range(60):
            at = NOW - timedelta(minutes=47 * i)
            call(user, at, charged=1000 + i, cost=None if i % 3 == 0 else 900 + i, held=1000 + i - i % 2)
        live = self.read()
        assert totals.fill(now=NOW) > 30 * 24
        assert HourTotal.objects.order_by("-hour").first().hour == NOW.replace(hour=13, minute=0)
        assert self.read() == live
        assert totals.added(live.per_day.values()).calls == 59

    def test_store_each_finished_hour_once_and_go_on_where_they_ended(self) -> None:
        user = rich()
        call(user, NOW, charged=10)
        totals.fill(now=NOW)
        assert totals.fill(now=NOW) == 0
        assert totals.fill(now=NOW + HOUR) == 1
        assert totals.fill(now=NOW + 3 * HOUR) == 2
        sums = HourTotal.objects.filter(calls__gt=0)
        assert [(row.hour, row.charged_nanousd) for row in sums] == [(NOW.replace(minute=0), 10)]

    def test_look_again_at_the_calls_once_forgotten(self) -> None:
        user = rich()
        totals.fill(now=NOW)
        call(user, NOW - 5 * HOUR, charged=10)
        assert totals.read(now=NOW, days=30).today.charged_nanousd == 0
        totals.forget()
        assert totals.read(now=NOW, days=30).today.charged_nanousd == 10


@pytest.mark.django_db(transaction=True)
class TestFill:
    def test_waits_for_a_transaction_that_may_still_date_a_call_in_the_hour(self) -> None:
        """A settlement that began before the hour was over, as a second connection that is in a transaction."""
        other = connection.copy()
        try:
            totals.forget()
            with other.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT now()")
                began = cursor.fetchone()[0]
            later = began + 3 * HOUR
            with connection.cursor() as cursor:
                cursor.execute(totals.FINISHED_SQL, [later])
                assert cursor.fetchone()[0] == began.replace(minute=0, second=0, microsecond=0)
        finally:
            other.close()


class TestUpstreams:
    def busy(self, name: str = "main", **fields: Any) -> Upstream:
        return Upstream.objects.create(name=name, base_url="http://127.0.0.1:9/v1", **fields)

    def health(self, name: str = "main") -> upstream_health.Health:
        return next(found for found in morning.figures(now=NOW).upstreams if found.name == name)

    def test_show_the_last_hour_and_how_long_calls_took(self) -> None:
        user = rich()
        self.busy()
        for ms in (100, 200, 300, 400, 5000):
            call(user, NOW - timedelta(minutes=5), charged=10, cost=8, took=timedelta(milliseconds=ms), upstream="main")
        call(user, NOW - HOUR - timedelta(seconds=1), charged=10, cost=8, upstream="main")
        call(user, NOW - timedelta(minutes=5), charged=10, cost=8, upstream="gone")
        recent = self.health().recent
        assert (recent.calls, recent.failed, recent.p50_ms, recent.p99_ms) == (5, 0, 300, 5000)
        assert (recent.known_calls, recent.cost_nanousd) == (5, 40)

    @pytest.mark.parametrize("outcome", list(upstream_health.WORDS))
    def test_fail_by_their_last_calls_and_say_what_their_callers_get(self, outcome: str) -> None:
        user = rich()
        self.busy()
        for i in range(9):
            call(user, NOW - timedelta(minutes=30, seconds=i), charged=1, upstream="main")
        for i in range(3):
            failed(user, NOW - timedelta(minutes=28 - i), outcome=outcome, upstream="main")
        found = morning.figures(now=NOW)
        assert [(note.about, note.title) for note in found.notes] == [
            ("upstream", "Upstream “main” fails: 3 of its last 12 calls.")
        ]
        assert found.notes[0].text == f"Since 13:52. {upstream_health.WORDS[outcome]}"

    def test_do_not_fail_by_a_few_of_many_nor_by_what_clients_do(self) -> None:
        user = rich()
        self.busy()
        for i in range(10):
            call(user, NOW - timedelta(minutes=30, seconds=i), charged=1, upstream="main")
        for i in range(3):
            failed(user, NOW - timedelta(minutes=i + 1), outcome="upstream_failed", upstream="main")
        for i in range(20):
            call(user, NOW - timedelta(minutes=20, seconds=i), charged=1, upstream="main", outcome="hung_up")
        assert self.health().recent.failed == 3
        assert morning.figures(now=NOW).notes == []

    def test_fail_because_of_a_missing_api_key_in_one_note(self) -> None:
        self.busy(api_key_env="FACES_TEST_NO_SUCH_KEY")
        user = rich()
        for i in range(3):
            failed(user, NOW - timedelta(minutes=3 - i), outcome="upstream_unreachable", upstream="main")
        notes = morning.figures(now=NOW).notes
        assert [(note.about, note.text) for note in notes] == [
            (
                "upstream",
                "Since 14:17: the environment variable FACES_TEST_NO_SUCH_KEY is not set. "
                "Its callers get 502 and are not charged.",
            )
        ]

    def test_without_their_api_key_are_named_unless_disabled(self) -> None:
        self.busy(api_key_env="FACES_TEST_NO_SUCH_KEY")
        self.busy("off", api_key_env="FACES_TEST_NO_SUCH_KEY", is_enabled=False)
        notes = morning.figures(now=NOW).notes
        assert [(note.about, note.name) for note in notes] == [("secret", "main")]
        assert "the environment variable FACES_TEST_NO_SUCH_KEY is not set" in notes[0].text


class TestLooks:
    def test_find_overdue_and_expired_holds_with_what_they_held(self) -> None:
        user = rich()
        for price in (100, 200):
            holds.place(world.request(user, rates=world.flat(price)), now=NOW - HOUR)
        holds.expire_overdue(now=NOW - HOUR + timedelta(minutes=13))
        holds.place(world.request(user, rates=world.flat(40)), now=NOW - HOUR)
        holds.place(world.request(user, rates=world.flat(5)), now=NOW)
        looks = morning.figures(now=NOW).looks
        assert looks.expired == morning.Tally(2, 300)
        assert looks.overdue == morning.Tally(1, 40)
        assert looks.overdue_since == NOW - HOUR + timedelta(seconds=720)

    def test_find_top_ups_that_wait_too_long(self) -> None:
        user = world.account()
        for age, status in ((11, "pending"), (9, "pending"), (30, "failed")):
            TopUp.objects.create(
                account=user,
                amount_nanousd=25 * world.USD,
                method=Party.CARD,
                status=TopUpStatus(status),
                created_at=NOW - timedelta(minutes=age),
            )
        assert morning.figures(now=NOW).looks.pending_topups == morning.Tally(1, 25 * world.USD)

    def test_find_whom_the_loss_limits_stopped(self, settings: Any) -> None:
        settings.FACES_LOSS_LIMIT_ACCOUNT = settings.FACES_LOSS_LIMIT_MODEL = 1
        by_hand = world.account(is_frozen=True, frozen_reason="Asked for it")
        assert by_hand.is_frozen
        price = world.model("http://127.0.0.1:9/v1", name="lossy")
        user = world.account()
        pay(user, NOW - HOUR, 1000)
        call(user, NOW - HOUR, charged=2 * world.USD, held=1000, model=price.model)
        found = morning.figures(now=NOW)
        assert (found.looks.frozen_accounts, found.looks.suspended_models) == (1, 1)
        assert found.accounts.frozen == 2
        assert [(note.about, note.name) for note in found.notes] == [("model", "lossy")]


class TestAccounts:
    def test_are_counted_new_active_and_frozen(self) -> None:
        before = morning.figures(now=NOW).accounts
        user = rich()
        call(user, NOW - HOUR, charged=10)
        User.objects.filter(id=rich().id).update(created_at=MIDNIGHT - timedelta(seconds=1))
        User.objects.filter(id=user.id).update(created_at=MIDNIGHT)
        found = morning.figures(now=NOW).accounts
        assert (found.total - before.total, found.new - before.new, found.active - before.active) == (2, 1, 1)


class TestNotes:
    def test_of_the_ledger_comes_first_and_past_two_the_rest_is_counted(self) -> None:
        LedgerCheck.objects.create(
            checked_at=NOW - timedelta(hours=3), duration_seconds=1, difference_count=2, findings="one\ntwo"
        )
        Upstream.objects.create(name="main", base_url="http://127.0.0.1:9/v1", api_key_env="FACES_TEST_NO_SUCH_KEY")
        Price.objects.create(
            model="a/b", upstream_id="main", input_price_nanousd=1, output_price_nanousd=1, suspended_at=NOW
        )
        found = morning.figures(now=NOW)
        assert [note.about for note in found.notes] == ["ledger", "model"]
        assert [note.about for note in found.more_notes] == ["secret", "worker"]
        assert found.notes[0].title == "The ledger does not add up: 2 differences."
        assert "First: one." in found.notes[0].text

    @pytest.mark.parametrize(("age", "is_noted"), [(119, False), (121, True)])
    def test_miss_a_worker_when_the_last_check_is_old(self, age: int, is_noted: bool) -> None:
        LedgerCheck.objects.create(
            checked_at=NOW - timedelta(minutes=age), duration_seconds=1, difference_count=0, findings=""
        )
        found = morning.figures(now=NOW)
        assert [note.about for note in found.notes] == (["worker"] if is_noted else [])
        assert found.is_check_old == is_noted

    def test_miss_a_worker_when_nobody_ends_overdue_holds(self) -> None:
        holds.place(world.request(rich(), rates=world.flat(40)), now=NOW - HOUR)
        assert [note.about for note in morning.figures(now=NOW).notes] == ["worker"]


class TestFigures:
    def test_of_an_empty_installation_are_zero_and_ask_for_the_first_steps(self) -> None:
        found = morning.figures(now=NOW)
        assert found.today == morning.Money(morning.Paid(), Sums())
        assert not found.is_ready
        assert found.check is None

    def test_take_a_fixed_number_of_queries(self, django_assert_num_queries: Any) -> None:
        user = rich()
        for i in range(20):
            call(user, NOW - timedelta(hours=i), charged=10, upstream="main")
        with django_assert_num_queries(16):
            morning.figures(now=NOW)


@pytest.mark.django_db(transaction=True)
class TestLedgerChecks:
    def test_store_that_the_books_add_up(self) -> None:
        call(rich(), NOW, charged=10)
        check = ledger_checks.run(now=NOW)
        assert (check.checked_at, check.difference_count, check.findings) == (NOW, 0, "")
        assert ledger_checks.latest() == check
        check.delete()

    def test_name_the_account_whose_balance_is_one_nano_dollar_off(self) -> None:
        user = rich()
        with connection.cursor() as cursor:
            change = "UPDATE billing_creditaccount SET balance_nanousd = balance_nanousd + %s WHERE account_id = %s"
            cursor.execute(change, [1, user.id])
            check = ledger_checks.run(now=NOW)
            cursor.execute(change, [-1, user.id])
        assert check.difference_count == 1
        assert check.findings == (
            f"balance is not the sum of its transfers: account {user.id}, row {user.id}, "
            "expected 1000.00 USD, found 1000.000000001 USD"
        )
        check.delete()


def operator(*roles: str, **fields: Any) -> Client:
    """A browser of somebody who operates, in these groups."""
    user = User.objects.create_user(username=f"operator-{uuid7()}", is_staff=True, **fields)
    user.groups.set(Group.objects.filter(name__in=roles))
    browser = Client()
    browser.force_login(user)
    return browser


class TestPage:
    def test_shows_the_figures_to_whoever_may_view_transfers(self) -> None:
        user, now = rich(), timezone.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        pay(user, midnight, 1275 * world.USD)
        call(user, midnight, charged=386_410_000_001, cost=368_020_000_000)
        call(user, midnight, charged=1)
        Upstream.objects.create(name="fast-eu", base_url="http://127.0.0.1:9/v1")
        page = operator("support").get("/admin/")
        text = page.content.decode()
        assert "$1,275.00" in text
        assert '<data class="money" value="386.410000002">$386.42</data>' in text
        assert "known for 1 of 2 calls" in text
        assert '<data class="money" value="18.390000001">$18.39</data>' in text
        assert "4.75% of those calls" in text
        assert "Ledger not checked yet" in text
        assert "fast-eu" in text
        assert "style=" not in text
        assert "Check now" not in text

    def test_shows_a_loss_as_one(self) -> None:
        call(rich(), timezone.now().replace(hour=0, minute=0, second=0, microsecond=0), charged=100, cost=50_000_099)
        page = operator("support").get("/admin/").content.decode()
        assert '<data class="money" value="-0.049999999">−$0.050000</data>' in page
        assert "at the prices on the calls" in page

    def test_shows_nobody_else_a_figure(self) -> None:
        user = rich()
        pay(user, timezone.now(), 1275 * world.USD)
        page = operator().get("/admin/")
        assert page.status_code == 200
        assert "The figures are not shown to you" in page.content.decode()
        assert "1,275" not in page.content.decode()

    def test_tells_a_new_installation_what_to_do_first(self) -> None:
        assert not CreditAccount.objects.exists()
        page = operator(is_superuser=True).get("/admin/").content.decode()
        assert "manage.py upstream main" in page
        assert "manage.py price" in page
        assert "Money in" not in page

    def test_checks_the_ledger_for_who_may_correct_it(self) -> None:
        browser = operator("finance")
        assert "Check now" in browser.get("/admin/").content.decode()
        for _ in range(2):
            assert browser.post("/admin/", {"check": "ledger"}).status_code == 302
        waiting = ProcrastinateJob.objects.filter(task_name="billing.jobs.check_ledger", status="todo")
        assert waiting.count() == 1

    def test_checks_nothing_for_who_only_looks(self) -> None:
        assert operator("support").post("/admin/", {"check": "ledger"}).status_code == 403
        assert not ProcrastinateJob.objects.filter(task_name="billing.jobs.check_ledger").exists()

    def test_checks_nothing_for_another_site(self) -> None:
        browser = operator("finance")
        forged = Client(enforce_csrf_checks=True)
        forged.cookies = browser.cookies
        assert forged.post("/admin/", {"check": "ledger"}).status_code == 403

    def test_names_what_is_wrong_and_links_to_it(self) -> None:
        check = LedgerCheck.objects.create(
            checked_at=timezone.now(), duration_seconds=1, difference_count=1, findings="<b>balance"
        )
        Upstream.objects.create(name="main", base_url="http://127.0.0.1:9/v1", api_key_env="FACES_TEST_NO_SUCH_KEY")
        Price.objects.create(
            model="a/b_c", upstream_id="main", input_price_nanousd=1, output_price_nanousd=1, suspended_at=NOW
        )
        rich()
        browser = operator(is_superuser=True)
        page = browser.get("/admin/").content.decode()
        assert "The ledger does not add up: 1 difference." in page
        assert "&lt;b&gt;balance" in page
        assert "1 more note" in page
        links = {
            href for href in re.findall(r'href="(/admin/[^"]+)"', page) if str(check.pk) in href or "price" in href
        }
        assert len(links) >= 3
        for link in re.findall(r'href="(/admin/[^"]*)"', page):
            assert browser.get(link.replace("&amp;", "&")).status_code == 200, link


class TestJobs:
    def test_check_the_ledger_every_hour_and_fill_totals_every_ten_minutes(self) -> None:
        periods = {task.task.name: task.cron for task in app.periodic_registry.periodic_tasks.values()}
        assert periods["billing.jobs.check_ledger"] == "5 * * * *"
        assert periods["billing.jobs.fill_totals"] == "*/10 * * * *"

    def test_forget_old_checks_but_not_what_they_found(self) -> None:
        now = timezone.now()
        for age, count in ((1, 0), (61, 0), (400, 3)):
            LedgerCheck.objects.create(
                checked_at=now - timedelta(days=age), duration_seconds=1, difference_count=count, findings=""
            )
        jobs.prune(timestamp=0)
        assert sorted(LedgerCheck.objects.values_list("difference_count", flat=True)) == [0, 3]
