"""The statement of an account: every movement of its credit, newest first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from apikeys import pages
from billing.days import Days
from billing.models import Hold, Party, Transfer, TransferReference

FEW: Final = 1000
"""Calls of a key that are looked up one by one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A transfer and, if it is a charge, the call it paid for."""

    transfer: Transfer
    hold: Hold | None

    @property
    def amount_nanousd(self) -> int:
        """Positive into the customer's credit, negative out of it."""
        amount = self.transfer.amount_nanousd
        return amount if self.transfer.credit == Party.CUSTOMER else -amount


def transfers(
    account_id: UUID, *, days: Days | None = None, code: str | None = None, key_id: UUID | None = None
) -> QuerySet[Transfer]:
    """The account's transfers, of these days, of one code and of one key's own calls if named. A key of another account has
    none here."""
    rows = Transfer.objects.filter(account_id=account_id)
    if days is not None:
        rows = rows.filter(created_at__gte=days.start, created_at__lt=days.end)
    if key_id is not None:
        rows = _of_key(rows, account_id, key_id)
    return rows if code is None else rows.filter(code=code)


def _of_key(rows: QuerySet[Transfer], account_id: UUID, key_id: UUID) -> QuerySet[Transfer]:
    """Those that paid for a key's own calls. Of a busy key any stretch of the statement has some; the few of another are
    found one by one, through their references, instead of in all that the account ever paid."""
    made = Hold.objects.filter(account_id=account_id, key_id=key_id)
    few = list(made.order_by("-id").values_list("id", flat=True)[: FEW + 1])
    if len(few) > FEW:
        return rows.filter(hold_id__in=made.values("id"))
    paid = TransferReference.objects.filter(account_id=account_id, reference__in=[f"hold:{one}" for one in few])
    return rows.filter(id__in=list(paid.values_list("transfer_id", flat=True)))


def entries(account_id: UUID, found: Iterable[Transfer]) -> list[Entry]:
    """Each transfer with its call, in two queries for all."""
    rows = list(found)
    wanted = [row.hold_id for row in rows if row.hold_id is not None]
    calls = {hold.id: hold for hold in Hold.objects.filter(account_id=account_id, id__in=wanted)}
    return [Entry(row, None if row.hold_id is None else calls[row.hold_id]) for row in rows]


def all_entries(account_id: UUID, rows: QuerySet[Transfer], *, chunk: int = pages.EVERY_LIMIT) -> Iterator[Entry]:
    """Every entry of a range, newest first, without holding all of them in memory."""
    for found in pages.every(rows, limit=chunk):
        yield from entries(account_id, found)
