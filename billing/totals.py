"""What all calls of an hour came to. Finished hours are kept, so that no page sums a month of calls.

The worker stores an hour when no settlement dated in it can still come: a settlement dates itself by the database's clock
(`resolved_at`, or `late_at` when its hold had ended before) and commits in the same transaction, so once every transaction
that began before the end of an hour is over, the hour is whole and its rows never change. That is asked of the database, not
guessed by a delay; an hour not stored yet, for whatever reason, is summed from the calls themselves. Either way the sums are
exact. Who writes calls into the past by hand, as a seeding command does, calls `forget`.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db import connection, transaction

from billing.models import HourTotal

HOUR: Final = timedelta(hours=1)
REACH: Final = timedelta(days=32)
"""How far back the worker begins where nothing is stored yet: further than any page looks."""

SUMS_SQL: Final = """
SELECT date_trunc('hour', at, 'UTC') AS hour, count(*) FILTER (WHERE NOT is_late) AS calls,
    coalesce(sum(charged_nanousd), 0)::bigint AS charged_nanousd, count(*) FILTER (WHERE is_late) AS late_calls,
    count(upstream_cost_nanousd) AS known_calls,
    coalesce(sum(charged_nanousd) FILTER (WHERE upstream_cost_nanousd IS NOT NULL), 0)::bigint AS known_charged_nanousd,
    coalesce(sum(upstream_cost_nanousd), 0)::bigint AS cost_nanousd, count(*) FILTER (WHERE lost_nanousd > 0) AS lost_calls,
    coalesce(sum(lost_nanousd), 0)::bigint AS lost_nanousd
FROM (
    SELECT resolved_at AS at, false AS is_late, charged_nanousd, upstream_cost_nanousd, lost_nanousd FROM billing_hold
    WHERE status = 'settled' AND resolved_at >= %(since)s AND resolved_at < %(until)s
    UNION ALL
    SELECT late_at, true, charged_nanousd, upstream_cost_nanousd, lost_nanousd FROM billing_hold
    WHERE late_at >= %(since)s AND late_at < %(until)s) calls
GROUP BY 1
"""
FINISHED_SQL: Final = """
SELECT date_trunc('hour', least(%s, clock_timestamp(), min(
    CASE WHEN state IS NULL THEN clock_timestamp() - interval '1 day' ELSE xact_start END)), 'UTC')
FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
"""
"""PostgreSQL does not say whether the connection of another role is in a transaction, unless ours is in `pg_read_all_stats`:
its state is null, and it is taken for one that has been for a day. Processes of the server itself have no role."""
FILL_SQL: Final = f"""
INSERT INTO billing_hourtotal (hour, calls, charged_nanousd, late_calls, known_calls, known_charged_nanousd, cost_nanousd,
    lost_calls, lost_nanousd)
SELECT hour, coalesce(calls, 0), coalesce(charged_nanousd, 0), coalesce(late_calls, 0), coalesce(known_calls, 0),
    coalesce(known_charged_nanousd, 0), coalesce(cost_nanousd, 0), coalesce(lost_calls, 0), coalesce(lost_nanousd, 0)
FROM generate_series(%(since)s, %(until)s - interval '1 hour', interval '1 hour') hour LEFT JOIN ({SUMS_SQL}) s USING (hour)
ON CONFLICT (hour) DO NOTHING
"""  # noqa: S608 - both parts are ours


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over calls, in nano-USD. `calls` were settled; `late_calls` ended without a charge before their settlement came, and
    their cost is lost. What the operator pays is known for `known_calls` of both: they cost `cost_nanousd` and their customers
    paid `known_charged_nanousd`."""

    calls: int = 0
    charged_nanousd: int = 0
    late_calls: int = 0
    known_calls: int = 0
    known_charged_nanousd: int = 0
    cost_nanousd: int = 0
    lost_calls: int = 0
    lost_nanousd: int = 0

    @property
    def used_calls(self) -> int:
        """The calls that an upstream may bill."""
        return self.calls + self.late_calls

    @property
    def margin_nanousd(self) -> int:
        """What is left of the charges of those calls whose cost is known; negative if they cost more."""
        return self.known_charged_nanousd - self.cost_nanousd


@dataclass(frozen=True, slots=True)
class Totals:
    """`today` is since 00:00 UTC, `yesterday` from 00:00 to the same time of the day before."""

    today: Sums
    yesterday: Sums
    per_day: dict[date, Sums]


def read(*, now: datetime, days: int) -> Totals:
    """The sums of the last `days` UTC days, today the last of them, up to `now`. Three queries."""
    midnight = datetime.combine(now.astimezone(UTC).date(), time.min, UTC)
    since = midnight - timedelta(days=max(days - 1, 1))
    hours = _stored(since, now)
    through = max(hours) + HOUR if since in hours else since
    hours = {**hours, **_live(through, now)}
    same_time = now - timedelta(days=1)
    part_of = same_time.replace(minute=0, second=0, microsecond=0)
    part = _live(part_of, same_time).values()
    per_day: dict[date, list[Sums]] = {}
    for hour, sums in hours.items():
        per_day.setdefault(hour.date(), []).append(sums)
    before = [sums for hour, sums in hours.items() if midnight - timedelta(days=1) <= hour < part_of]
    by_day = {day: added(found) for day, found in per_day.items()}
    return Totals(by_day.get(midnight.date(), Sums()), added([*before, *part]), by_day)


def added(sums: Iterable[Sums]) -> Sums:
    """All of these as one."""
    return Sums(*(sum(column) for column in zip(*map(astuple, sums), strict=True)))


def fill(*, now: datetime) -> int:
    """Store the hours that are finished and not stored yet; how many there were. Safe beside another that fills."""
    with connection.cursor() as cursor:
        cursor.execute(FINISHED_SQL, [now])
        until = cursor.fetchone()[0]
        last = HourTotal.objects.order_by("-hour").values_list("hour", flat=True).first()
        first = datetime.combine((now - REACH).astimezone(UTC).date(), time.min, UTC)
        since = first if last is None else last + HOUR
        if since >= until:
            return 0
        cursor.execute(FILL_SQL, {"since": since, "until": until})
        return int(cursor.rowcount)


def forget() -> None:
    """Forget what is stored: for who wrote calls into the past. The worker stores it anew. Locks the table, so that nobody
    stores sums that were read before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE billing_hourtotal IN EXCLUSIVE MODE")
        HourTotal.objects.all().delete()


def _stored(since: datetime, until: datetime) -> dict[datetime, Sums]:
    rows = HourTotal.objects.filter(hour__gte=since, hour__lte=until - HOUR)
    return {row[0]: Sums(*row[1:]) for row in rows.values_list("hour", *Sums.__slots__)}


def _live(since: datetime, until: datetime) -> dict[datetime, Sums]:
    with connection.cursor() as cursor:
        cursor.execute(SUMS_SQL, {"since": since, "until": until})
        return {hour: Sums(*sums) for hour, *sums in cursor.fetchall()}
