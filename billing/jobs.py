"""What the worker does by itself. Every job may run twice, or on two workers at once."""

import logging
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued

from accounts import nonces
from billing import holds, ledger_checks, totals
from billing.models import IdempotentAnswer

log = logging.getLogger(__name__)

KEEP_ANSWERS: Final = timedelta(days=7)


@app.periodic(cron="* * * * *")
@app.task(pass_context=False)
def expire_holds(timestamp: int) -> None:
    """End overdue holds; what they held is possibly lost."""
    while ended := holds.expire_overdue():
        log.warning("%d holds ended without a settlement", len(ended))


@app.periodic(cron="5 * * * *")
@app.task(pass_context=False, queueing_lock="check_ledger")
def check_ledger(timestamp: int) -> None:
    """Recompute the books; what does not add up stands on the operator's morning page and in the log."""
    check = ledger_checks.run(now=timezone.now())
    if check.difference_count:
        log.error("The ledger does not add up: %d differences\n%s", check.difference_count, check.findings)


def check_ledger_soon() -> bool:
    """Queue a check of the ledger now; False if one is waiting already."""
    try:
        with transaction.atomic():
            check_ledger.configure(task_kwargs={"timestamp": 0}).defer()
    except AlreadyEnqueued:
        return False
    return True


@app.periodic(cron="*/10 * * * *")
@app.task(pass_context=False)
def fill_totals(timestamp: int) -> None:
    """Store the totals of hours that are finished."""
    totals.fill(now=timezone.now())


@app.periodic(cron="*/10 * * * *")
@app.task(pass_context=False)
def prune(timestamp: int) -> None:
    """Forget used nonces past their life, stored answers past any retry, and old ledger checks that found nothing."""
    now = timezone.now()
    nonces.prune(now=now)
    ledger_checks.prune(now=now)
    IdempotentAnswer.objects.filter(created_at__lt=now - KEEP_ANSWERS).delete()
