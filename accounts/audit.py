"""What operators do, written where nobody changes it: Django's admin log."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and why in their own words."""

    id: UUID
    reason: str = ""


def note(operator: Operator, rows: Sequence[Model], what: str) -> None:
    """An entry about each row, in the caller's transaction: the change and its entry are there together or not at all.
    `what` says in a sentence what was changed."""
    said = f"{what} Reason: {operator.reason}" if operator.reason else what
    LogEntry.objects.log_actions(operator.id, rows, CHANGE, said)
