"""How each upstream did in the last hour, by the holds of its calls."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from billing import upstream_secrets
from billing.models import Upstream

SPAN: Final = timedelta(hours=1)
LAST: Final = 40
FEWEST_FAILURES: Final = 3
FAILING_SHARE: Final = 4
"""An upstream fails when at least three of its last calls did, and at least one in four."""

WORDS: Final = {
    "upstream_unreachable": "Its callers get 502 and are not charged.",
    "upstream_failed": "Its callers get 502 and pay for the prompt and what arrived.",
    "upstream_timeout": "Its callers get 504 and pay for the prompt and what arrived.",
    "upstream_refused": "It refuses, and its callers are not charged: look at its API key, its limits and the names of its models.",
}
"""How a call can end that its upstream failed, and what that means for its caller. A 400 that the caller's own request earned is
a refusal too: the hold does not tell them apart."""

HEALTH_SQL: Final = """
WITH sums AS (
    SELECT upstream, count(*) AS calls, count(*) FILTER (WHERE outcome = ANY (%(failures)s)) AS failed,
        percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY date_part('epoch', resolved_at - placed_at)) AS seconds,
        count(upstream_cost_nanousd) AS known_calls, coalesce(sum(upstream_cost_nanousd), 0)::bigint AS cost
    FROM billing_hold
    WHERE resolved_at >= %(since)s AND resolved_at < %(until)s AND status IN ('settled', 'released') AND upstream <> ''
    GROUP BY upstream)
SELECT sums.*, newest.* FROM sums, LATERAL (
    SELECT count(*), count(*) FILTER (WHERE is_failed), min(resolved_at) FILTER (WHERE is_failed),
        mode() WITHIN GROUP (ORDER BY outcome) FILTER (WHERE is_failed)
    FROM (
        SELECT resolved_at, outcome, outcome = ANY (%(failures)s) AS is_failed FROM billing_hold
        WHERE resolved_at >= %(since)s AND resolved_at < %(until)s AND status IN ('settled', 'released')
            AND upstream = sums.upstream
        ORDER BY resolved_at DESC LIMIT %(last)s) last) newest
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """The calls of an upstream that ended in the last hour. `p50_ms` and `p99_ms` are from the hold to its settlement; of the
    newest `last` calls `last_failed` failed, the first of them at `failed_since` and most of them by `failure`."""

    calls: int = 0
    failed: int = 0
    p50_ms: int | None = None
    p99_ms: int | None = None
    known_calls: int = 0
    cost_nanousd: int = 0
    last: int = 0
    last_failed: int = 0
    failed_since: datetime | None = None
    failure: str = ""

    @property
    def is_failing(self) -> bool:
        return self.last_failed >= FEWEST_FAILURES and self.last_failed * FAILING_SHARE >= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`problem` is what is wrong with where its API key is kept, or empty."""

    name: str
    is_enabled: bool
    problem: str
    recent: Recent

    @property
    def is_failing(self) -> bool:
        return self.is_enabled and self.recent.is_failing

    @property
    def words(self) -> str:
        return WORDS.get(self.recent.failure, "")


def read(*, now: datetime) -> list[Health]:
    """All upstreams by name, in two queries. Their API keys are looked for as this process sees them."""
    recent = _recent(now)
    return [
        Health(
            name=upstream.name,
            is_enabled=upstream.is_enabled,
            problem=_problem(upstream) if upstream.is_enabled else "",
            recent=recent.get(upstream.name, Recent()),
        )
        for upstream in Upstream.objects.order_by("name")
    ]


def _recent(now: datetime) -> dict[str, Recent]:
    with connection.cursor() as cursor:
        cursor.execute(HEALTH_SQL, {"since": now - SPAN, "until": now, "last": LAST, "failures": list(WORDS)})
        return {
            name: Recent(
                calls=calls,
                failed=failed,
                p50_ms=round(p50 * 1000),
                p99_ms=round(p99 * 1000),
                known_calls=known,
                cost_nanousd=cost,
                last=last,
                last_failed=last_failed,
                failed_since=since,
                failure=failure or "",
            )
            for name, calls, failed, (p50, p99), known, cost, last, last_failed, since, failure in cursor.fetchall()
        }


def _problem(upstream: Upstream) -> str:
    try:
        upstream_secrets.read(env=upstream.api_key_env, file=upstream.api_key_file)
    except upstream_secrets.SecretMissing as error:
        return str(error)
    return ""
