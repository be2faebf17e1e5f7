"""Calls as people see them: those running now and those that ended, newest first."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from apikeys.models import ApiKey
from billing.models import Hold, HoldStatus

RECENT: Final = 10
WORDS: Final = {
    "ok": "",
    "cut": "Cut at its output limit",
    "cut_budget_exhausted": "Cut: what was left under the key’s cap did not cover more",
    "cut_budget_held": "Cut: the rest of the key’s cap was held by other calls",
    "cut_balance_exhausted": "Cut: the credit that was left did not cover more",
    "cut_balance_held": "Cut: the rest of the credit was held by other calls",
    "cut_database_away": "Cut: the database did not answer in time",
    "hung_up": "Caller hung up; charged what arrived",
    "interrupted": "Interrupted; charged what arrived",
    "upstream_failed": "The upstream failed; charged what arrived",
    "upstream_timeout": "The upstream took too long; charged what arrived",
    "upstream_unreachable": "The upstream could not be reached; nothing charged",
    "upstream_refused": "The upstream refused; nothing charged",
    "expired": "Ended without an answer; nothing charged",
}


@dataclass(frozen=True, slots=True)
class Call:
    hold: Hold
    key_name: str

    @property
    def is_running(self) -> bool:
        return self.hold.status == HoldStatus.PENDING

    @property
    def words(self) -> str:
        if self.is_running:
            return "Running"
        return WORDS.get(self.hold.outcome, self.hold.outcome.replace("_", " ").capitalize())


def recent(account_id: UUID, *, most: int = RECENT, **filters: Any) -> list[Call]:
    """The newest calls of an account with the names of their keys, in two queries."""
    found = list(Hold.objects.filter(account_id=account_id, **filters).order_by("-id")[:most])
    names = key_names(account_id, {hold.key_id for hold in found if hold.key_id is not None})
    return [Call(hold, "Signed in" if hold.key_id is None else names.get(hold.key_id, "")) for hold in found]


def key_names(account_id: UUID, ids: set[UUID]) -> dict[UUID, str]:
    """Names of keys of an account, revoked ones too."""
    return dict(ApiKey.objects.filter(account_id=account_id, id__in=ids).values_list("id", "name"))


def running_count(account_id: UUID, **filters: Any) -> int:
    return Hold.objects.filter(account_id=account_id, status=HoldStatus.PENDING, **filters).count()
