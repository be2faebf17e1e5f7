"""The books recomputed by the worker, and what it found kept for who looks in the morning."""

import time
from datetime import datetime, timedelta
from typing import Final

from billing import reconcile
from billing.models import LedgerCheck
from faces.lib.money import usd_text

KEEP: Final = timedelta(days=60)
MOST_FINDINGS: Final = 20


def run(*, now: datetime) -> LedgerCheck:
    """Recompute everything and store what was found. Reads one snapshot beside the traffic; minutes where there are millions
    of rows, so it is a job's work and never a page's."""
    began = time.monotonic()
    found = reconcile.differences()
    return LedgerCheck.objects.create(
        checked_at=now,
        duration_seconds=time.monotonic() - began,
        difference_count=len(found),
        findings="\n".join(sentence(difference) for difference in found[:MOST_FINDINGS]),
    )


def sentence(difference: reconcile.Difference) -> str:
    """`balance is not the sum of its transfers: account …, row …, expected 1.00 USD, found 0.90 USD`."""
    return (
        f"{difference.what}: account {difference.account_id}, row {difference.row_id}, expected "
        f"{usd_text(difference.expected_nanousd)} USD, found {usd_text(difference.found_nanousd)} USD"
    )


def latest() -> LedgerCheck | None:
    return LedgerCheck.objects.order_by("-checked_at").first()


def prune(*, now: datetime) -> None:
    """Forget old checks that found nothing; those that found something stay."""
    LedgerCheck.objects.filter(checked_at__lt=now - KEEP, difference_count=0).delete()
