"""What a signed-in person sees first: how much is left, for how long, and is anything stopped?"""

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from django.db.models import F

from apikeys.models import ApiKey
from billing import calls, charts, usage
from billing.balances import Balance
from billing.charts import Cell, Chart
from billing.days import Days
from billing.models import TopUp, TopUpStatus

WEEK = 7
CLOSEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    chart: Chart
    today: Cell
    month: Cell
    daily_average_nanousd: int
    days_left: int | None
    last_topup: TopUp | None
    recent: list[calls.Call]
    running: int
    closest: list[ApiKey]
    stopped: list[ApiKey]
    has_keys: bool
    has_calls: bool

    @property
    def steps_left(self) -> int:
        """Of a key, credit and a first call, how many are still to come."""
        return [self.has_keys, self.last_topup is not None, self.has_calls].count(False)

    @property
    def is_new(self) -> bool:
        return self.steps_left > 0


def read(account_id: UUID, balance: Balance, *, today: date) -> Overview:
    """Everything on the page, in a fixed number of queries."""
    span = Days(min(today - timedelta(days=29), today.replace(day=1)), today)
    series = usage.per_day(account_id=account_id, days=span).get("", {})
    week = [series.get(today - timedelta(days=i), Cell(0, 0)) for i in range(1, WEEK + 1)]
    average = sum(cell.cost_nanousd for cell in week) // WEEK
    month = [cell for day, cell in series.items() if (day.year, day.month) == (today.year, today.month)]
    live = ApiKey.objects.filter(account_id=account_id, revoked_at__isnull=True)
    capped = live.filter(budget_nanousd__gt=0).annotate(share=F("spent_nanousd") * 1000 / F("budget_nanousd"))
    recent = calls.recent(account_id)
    shown = Days(today - timedelta(days=29), today)
    return Overview(
        chart=charts.chart(days=shown, series={"Spend": series}),
        today=series.get(today, Cell(0, 0)),
        month=charts.total(month),
        daily_average_nanousd=average,
        days_left=balance.available_nanousd // average if average else None,
        last_topup=TopUp.objects.filter(account_id=account_id, status=TopUpStatus.SUCCEEDED).order_by("-id").first(),
        recent=recent,
        running=calls.running_count(account_id),
        closest=list(capped.order_by("-share", "id")[:CLOSEST]),
        stopped=list(
            live.filter(budget_nanousd__gt=0, spent_nanousd__gte=F("budget_nanousd"), is_frozen=False).order_by("-id")[
                :10
            ]
        ),
        has_keys=live.exists(),
        has_calls=bool(recent),
    )
