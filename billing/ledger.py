"""Moving money into and out of a customer's credit: append-only, once per reference."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from django.db import connection

from billing import balances
from billing.models import Party, TransferCode
from faces.lib.errors import FacesError, InvalidInput
from faces.lib.money import usd_text

LONGEST_REASON: Final = 300
POST_SQL: Final = "SELECT state, transfer, balance FROM faces_ledger_post(%s, %s, %s, %s, %s, %s, %s, %s)"


class InsufficientCredit(FacesError):
    status = 400
    code = "insufficient_credit"
    detail = "The account has less than that available; nothing was taken"


class ReferenceConflict(FacesError):
    status = 409
    code = "reference_conflict"
    detail = "This reference was used before for another amount or kind; nothing was done"


@dataclass(frozen=True, slots=True)
class Posted:
    """`state` is `replayed` when the same reference moved the same amount before; then nothing moved now."""

    state: Literal["posted", "replayed"]
    transfer_id: UUID
    balance_nanousd: int


def post(
    *,
    account_id: UUID,
    amount_nanousd: int,
    counterparty: Party,
    code: TransferCode,
    reference: str,
    reason: str = "",
    now: datetime | None = None,
) -> Posted:
    """Move this much (positive: in, negative: out) between the customer's credit and a counterparty, once per reference.

    Raises InsufficientCredit if less than that is available (held money is not), ReferenceConflict. Locks the credit account.
    """
    parameters = (
        account_id,
        None,
        amount_nanousd,
        counterparty.value,
        code.value,
        reference,
        reason,
        now,
    )
    with connection.cursor() as cursor:
        cursor.execute(POST_SQL, parameters)
        state, transfer_id, balance = cursor.fetchone()
    if state == "insufficient":
        raise InsufficientCredit(_available(account_id))
    if state == "conflict":
        raise ReferenceConflict
    return Posted(state, transfer_id, balance)


def check_reason(reason: str) -> str:
    """Why money was moved by hand, without the blanks around it: it stands in the customer's statement. Raises InvalidInput
    naming `reason`."""
    kept = reason.strip()
    if not 0 < len(kept) <= LONGEST_REASON or not kept.isprintable():
        raise InvalidInput({"reason": [f"Write 1 to {LONGEST_REASON} printable characters; the customer reads them"]})
    return kept


def _available(account_id: UUID) -> str:
    found = balances.read(account_id)
    held = f" ({usd_text(found.held_nanousd)} more are held for running calls)" if found.held_nanousd else ""
    return f"The account has {usd_text(found.available_nanousd)} USD available{held}; nothing was taken"
