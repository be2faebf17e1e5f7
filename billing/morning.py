"""What an operator asks in the morning: does the ledger add up, what came in, what went out, what needs a look?"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum

from accounts.models import User
from billing import charts, ledger_checks, totals, upstream_health
from billing.charts import Cell, Chart
from billing.days import Days
from billing.models import CreditAccount, Hold, HoldStatus, LedgerCheck, Price, TopUp, TopUpStatus
from billing.totals import Sums, Totals
from billing.upstream_health import Health
from faces.lib.money import parse_usd, usd_text

CHART_DAYS: Final = 30
MOST_NOTES: Final = 2
CHECK_AGE: Final = timedelta(hours=2)
"""The worker checks the ledger every hour: without a check for this long, there is no worker, or it fails."""
OVERDUE_AGE: Final = timedelta(minutes=10)
"""The worker ends overdue holds every minute."""
PENDING_AGE: Final = timedelta(minutes=10)
LOSS_FREEZE: Final = "Losses passed the daily limit of an account"
"""The reason that `faces_enforce_loss_limits` writes on an account."""

PAID_SQL: Final = """
SELECT created_at >= %(today)s AS is_today, count(*) FILTER (WHERE code = 'topup'),
    coalesce(sum(amount_nanousd) FILTER (WHERE code = 'topup'), 0)::bigint, count(*) FILTER (WHERE code = 'refund'),
    coalesce(sum(amount_nanousd) FILTER (WHERE code = 'refund'), 0)::bigint
FROM billing_transfer
WHERE code <> 'charge' AND code IN ('topup', 'refund') AND (
    (created_at >= %(today)s AND created_at < %(now)s) OR (created_at >= %(yesterday)s AND created_at < %(same_time)s))
GROUP BY 1
"""
ACTIVE_SQL: Final = """
SELECT count(*) FROM billing_creditaccount c WHERE EXISTS (
    SELECT FROM billing_hold h WHERE h.account_id = c.account_id AND h.status = 'settled' AND h.resolved_at >= %s OFFSET 0)
"""
"""One probe of an index for each account with credit, instead of reading every call of the day."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that cannot wait. `about` says what (`ledger`, `upstream`, `model`, `secret`, `worker`), `name` which one."""

    about: str
    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Paid:
    """Top-ups and refunds as the ledger has them."""

    topups: int = 0
    topups_nanousd: int = 0
    refunds: int = 0
    refunds_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class Money:
    """One column of the money strip: since 00:00 UTC up to a time of day."""

    paid: Paid
    sums: Sums

    @property
    def margin_percent(self) -> str:
        """Of what customers paid for the calls whose cost is known, two decimals rounded down; empty if they paid nothing."""
        paid = self.sums.known_charged_nanousd
        if paid == 0:
            return ""
        hundredths = self.sums.margin_nanousd * 10_000 // paid
        sign = "−" if hundredths < 0 else ""
        return f"{sign}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"


@dataclass(frozen=True, slots=True)
class Tally:
    count: int
    nanousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What needs a look. `expired` and `late` are today's: a hold that ended without a settlement is possibly lost, a
    settlement that came after that is lost."""

    overdue: Tally
    overdue_since: datetime | None
    expired: Tally
    late: Tally
    pending_topups: Tally
    frozen_accounts: int
    suspended_models: int

    @property
    def count(self) -> int:
        tallies = (self.overdue, self.expired, self.late, self.pending_topups)
        return sum(tally.count for tally in tallies) + self.frozen_accounts + self.suspended_models


@dataclass(frozen=True, slots=True)
class Accounts:
    total: int
    new: int
    active: int
    frozen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything on the page. `notes` are the worst, `more_notes` the others."""

    now: datetime
    notes: list[Note]
    more_notes: list[Note]
    check: LedgerCheck | None
    today: Money
    yesterday: Money
    chart: Chart
    looks: Looks
    upstreams: list[Health]
    accounts: Accounts
    account_loss_limit_nanousd: int
    model_loss_limit_nanousd: int
    has_prices: bool
    has_calls: bool
    has_credit: bool

    @property
    def is_ready(self) -> bool:
        """Whether there is an upstream and a price, and somebody called."""
        return bool(self.upstreams) and self.has_prices and self.has_calls

    @property
    def is_used(self) -> bool:
        """Whether there is anything to count."""
        return self.has_calls or self.has_credit

    @property
    def is_check_old(self) -> bool:
        return self.check is not None and _is_old(self.check, self.now)


def figures(*, now: datetime) -> Figures:
    """The figures of the morning page, in a fixed number of queries; none reads more than the calls of an hour or two, except
    while the worker has not stored the totals yet."""
    today = now.astimezone(UTC).date()
    midnight = datetime.combine(today, time.min, UTC)
    sums = totals.read(now=now, days=CHART_DAYS)
    paid_today, paid_yesterday = _paid(midnight, now)
    prices = list(Price.objects.order_by("model").values_list("model", "suspended_at"))
    suspended = [model for model, suspended_at in prices if suspended_at is not None]
    accounts, frozen_by_loss = _accounts(midnight)
    looks = _looks(midnight, now, frozen_accounts=frozen_by_loss, suspended_models=len(suspended))
    upstreams = upstream_health.read(now=now)
    check = ledger_checks.latest()
    notes = [
        *_ledger_notes(check),
        *_upstream_notes(upstreams),
        *_model_notes(suspended),
        *_secret_notes(upstreams),
        *_worker_notes(check, looks, now),
    ]
    return Figures(
        now=now,
        notes=notes[:MOST_NOTES],
        more_notes=notes[MOST_NOTES:],
        check=check,
        today=Money(paid_today, sums.today),
        yesterday=Money(paid_yesterday, sums.yesterday),
        chart=_chart(sums, Days(today - timedelta(days=CHART_DAYS - 1), today)),
        looks=looks,
        upstreams=upstreams,
        accounts=accounts,
        account_loss_limit_nanousd=parse_usd(settings.FACES_LOSS_LIMIT_ACCOUNT),
        model_loss_limit_nanousd=parse_usd(settings.FACES_LOSS_LIMIT_MODEL),
        has_prices=bool(prices),
        has_calls=Hold.objects.exists(),
        has_credit=CreditAccount.objects.exists(),
    )


def _chart(sums: Totals, days: Days) -> Chart:
    spend = {day: Cell(found.charged_nanousd, found.calls) for day, found in sums.per_day.items()}
    return charts.chart(days=days, series={"Spend": spend})


def _paid(midnight: datetime, now: datetime) -> tuple[Paid, Paid]:
    """Of today, and of yesterday up to the same time."""
    day = timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(PAID_SQL, {"today": midnight, "now": now, "yesterday": midnight - day, "same_time": now - day})
        found = {is_today: Paid(*sums) for is_today, *sums in cursor.fetchall()}
    return found.get(True, Paid()), found.get(False, Paid())


def _accounts(midnight: datetime) -> tuple[Accounts, int]:
    """The accounts that are not closed, and how many of them a loss limit froze."""
    frozen = Q(is_frozen=True)
    counts = User.objects.filter(closed_at=None).aggregate(
        total=Count("id"),
        new=Count("id", filter=Q(created_at__gte=midnight)),
        frozen=Count("id", filter=frozen),
        by_loss=Count("id", filter=frozen & Q(frozen_reason=LOSS_FREEZE)),
    )
    with connection.cursor() as cursor:
        cursor.execute(ACTIVE_SQL, [midnight])
        active = cursor.fetchone()[0]
    return Accounts(counts["total"], counts["new"], active, counts["frozen"]), counts["by_loss"]


def _looks(midnight: datetime, now: datetime, *, frozen_accounts: int, suspended_models: int) -> Looks:
    overdue = Hold.objects.filter(status=HoldStatus.PENDING, expires_at__lte=now)
    expired = Hold.objects.filter(status=HoldStatus.EXPIRED, resolved_at__gte=midnight, late_at=None)
    pending = TopUp.objects.filter(status=TopUpStatus.PENDING, created_at__lt=now - PENDING_AGE)
    first = overdue.order_by("expires_at").values_list("expires_at", flat=True).first()
    return Looks(
        overdue=Tally(0, 0) if first is None else _tally(overdue, "amount_nanousd"),
        overdue_since=first,
        expired=_tally(expired, "amount_nanousd"),
        late=_tally(Hold.objects.filter(late_at__gte=midnight), "lost_nanousd"),
        pending_topups=_tally(pending, "amount_nanousd"),
        frozen_accounts=frozen_accounts,
        suspended_models=suspended_models,
    )


def _tally(rows: "QuerySet[Hold] | QuerySet[TopUp]", amount: str) -> Tally:
    found = rows.aggregate(count=Count("id"), nanousd=Sum(amount))
    return Tally(found["count"], int(found["nanousd"] or 0))


def _ledger_notes(check: LedgerCheck | None) -> list[Note]:
    if check is None or check.difference_count == 0:
        return []
    count = check.difference_count
    title = f"The ledger does not add up: {count:,} difference{'' if count == 1 else 's'}."
    first, _, _ = check.findings.partition("\n")
    text = f"Found at {check.checked_at:%H:%M} UTC. First: {first}."
    return [Note("ledger", str(check.pk), title, text)]


def _upstream_notes(upstreams: list[Health]) -> list[Note]:
    return [
        Note(
            "upstream",
            upstream.name,
            f"Upstream “{upstream.name}” fails: {upstream.recent.last_failed} of its last {upstream.recent.last} calls.",
            f"Since {upstream.recent.failed_since:%H:%M}{_because(upstream)}. {upstream.words}",
        )
        for upstream in upstreams
        if upstream.is_failing
    ]


def _model_notes(suspended: list[str]) -> list[Note]:
    limit = usd_text(parse_usd(settings.FACES_LOSS_LIMIT_MODEL))
    text = f"It lost more than ${limit} in a day. Its callers get 503 until you serve it again on its price."
    return [Note("model", model, f"Model “{model}” is suspended.", text) for model in suspended]


def _secret_notes(upstreams: list[Health]) -> list[Note]:
    return [
        Note(
            "secret",
            upstream.name,
            f"Upstream “{upstream.name}” has no API key.",
            f"Here, {upstream.problem}. Its callers get 502 and are not charged.",
        )
        for upstream in upstreams
        if upstream.problem and not upstream.is_failing
    ]


def _because(upstream: Health) -> str:
    return f": {upstream.problem}" if upstream.problem else ""


def _worker_notes(check: LedgerCheck | None, looks: Looks, now: datetime) -> list[Note]:
    is_late = check is not None and _is_old(check, now)
    is_stuck = looks.overdue_since is not None and looks.overdue_since < now - OVERDUE_AGE
    if not (is_late or is_stuck):
        return []
    seen = (
        "Nothing was checked yet"
        if check is None
        else f"The ledger was last checked {check.checked_at:%d %b, %H:%M} UTC"
    )
    text = f"{seen}. Holds past their deadline keep their customers' credit until one runs: start `manage.py worker`."
    return [Note("worker", "", "No worker seems to run.", text)]


def _is_old(check: LedgerCheck, now: datetime) -> bool:
    return check.checked_at < now - CHECK_AGE
