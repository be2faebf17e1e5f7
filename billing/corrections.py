"""Granting and taking credit by hand: one transfer of its own, once per reference, with a reason the customer reads."""

from typing import Final
from uuid import UUID

from django.db import transaction

from accounts import audit
from accounts.audit import Operator
from billing import ledger
from billing.ledger import Posted
from billing.models import CreditAccount, Party, TransferCode
from faces.lib.errors import InvalidInput
from faces.lib.money import LARGEST_NANOUSD, usd_text

LONGEST_REFERENCE: Final = 190
PREFIX: Final = "credit:"


def correct(
    *, account_id: UUID, amount_nanousd: int, reference: str, reason: str, operator_id: UUID | None = None
) -> Posted:
    """Move this much into (positive) or out of (negative) an account's credit, once per reference. `operator_id` is whose
    entry the log gets, in the same transaction; None for a command line, which has none.

    Raises InvalidInput naming `amount_usd`, `reference` or `reason`; InsufficientCredit, ReferenceConflict. Locks the credit
    account, which is made if there is none.
    """
    reference = reference.strip()
    if amount_nanousd == 0 or abs(amount_nanousd) > LARGEST_NANOUSD:
        raise InvalidInput({"amount_usd": ["Write an amount other than zero, at most 999999.999999999 USD"]})
    if not 0 < len(reference) <= LONGEST_REFERENCE or not reference.isprintable():
        raise InvalidInput({"reference": [f"Write 1 to {LONGEST_REFERENCE} printable characters"]})
    reason = ledger.check_reason(reason)
    with transaction.atomic(durable=True):
        posted = ledger.post(
            account_id=account_id,
            amount_nanousd=amount_nanousd,
            counterparty=Party.ADJUSTMENT,
            code=TransferCode.ADJUSTMENT,
            reference=f"{PREFIX}{reference}",
            reason=reason,
        )
        if operator_id is not None and posted.state == "posted":
            before = posted.balance_nanousd - amount_nanousd
            said = (
                f"Credit corrected: balance {usd_text(before)} → {usd_text(posted.balance_nanousd)} USD. "
                f"Reference: {reference}."
            )
            row = CreditAccount.objects.get(account_id=account_id)
            audit.note(Operator(operator_id, reason), [row], said)
    return posted
