"""What was used and what it cost, summed by key, model or UTC day."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate

from billing.charts import Cell
from billing.days import Days
from billing.models import Hold, HoldStatus

GROUPS: Final[dict[str, Any]] = {
    "api_key_id": F("key_id"),
    "llm_model": F("model"),
    "date": TruncDate("resolved_at"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Settled calls of one group. `group_key` is a key's id, a model's name or a day; empty for calls made with a JWT."""

    group_key: str
    request_count: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int


def rows(*, account_id: UUID, group_by: str, days: Days, **filters: Any) -> list[Row]:
    """Usage of an account over these days, by the moment each call was settled. Days in order, others dearest first.
    `filters` narrow the calls, as in `model=` or `key_id=`."""
    sums = settled(account_id, days).filter(**filters).annotate(group=GROUPS[group_by]).values("group")
    found = [
        Row(
            group_key="" if row["group"] is None else str(row["group"]),
            request_count=row["calls"],
            input_tokens=row["inputs"],
            output_tokens=row["outputs"],
            cost_nanousd=row["cost"],
        )
        for row in sums.annotate(
            calls=Count("*"), inputs=Sum("input_tokens"), outputs=Sum("output_tokens"), cost=Sum("charged_nanousd")
        )
    ]
    order: Callable[[Row], Any] = (
        (lambda row: row.group_key) if group_by == "date" else (lambda row: (-row.cost_nanousd, row.group_key))
    )
    return sorted(found, key=order)


def totals(found: list[Row]) -> Row:
    return Row(
        group_key="",
        request_count=sum(row.request_count for row in found),
        input_tokens=sum(row.input_tokens for row in found),
        output_tokens=sum(row.output_tokens for row in found),
        cost_nanousd=sum(row.cost_nanousd for row in found),
    )


def settled(account_id: UUID, days: Days) -> QuerySet[Hold]:
    """The calls of an account that were settled in these days. The index `hold_usage` has all that is summed of them, so that
    a month of a busy account is read without its rows."""
    return Hold.objects.filter(
        account_id=account_id, status=HoldStatus.SETTLED, resolved_at__gte=days.start, resolved_at__lt=days.end
    )


def per_day(*, account_id: UUID, days: Days, by: str | None = None, **filters: Any) -> dict[str, dict[date, Cell]]:
    """Spend and calls of each day for a chart, in one series (`""`) or one for each value of a group. `filters` narrow the
    calls, as in `model=` or `key_id=`."""
    grouped = settled(account_id, days).filter(**filters).annotate(day=TruncDate("resolved_at"))
    fields = ["day"] if by is None else ["day", "group"]
    if by is not None:
        grouped = grouped.annotate(group=GROUPS[by])
    series: dict[str, dict[date, Cell]] = {}
    for row in grouped.values(*fields).annotate(calls=Count("*"), cost=Sum("charged_nanousd")):
        name = str(row["group"] or "") if by is not None else ""
        series.setdefault(name, {})[row["day"]] = Cell(row["cost"], row["calls"])
    return series
