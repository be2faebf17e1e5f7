"""Giving a payment back: one refund a top-up, whole or in part, out of what the account has available.

The money itself goes back where it came from outside Faces, by the operator's hand; here the credit it bought is taken back.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from django.db import transaction

from accounts import audit
from accounts.audit import Operator
from billing import balances, ledger
from billing.models import Party, TopUp, TopUpStatus, TransferCode
from faces.lib.errors import FacesError, InvalidInput
from faces.lib.money import usd_text


class TopUpNotFound(FacesError):
    status = 404
    code = "topup_not_found"
    detail = "The account has no such top-up; nothing was refunded"


class NotRefundable(FacesError):
    status = 409
    code = "topup_not_refundable"
    detail = "Only a top-up that succeeded brought credit that can be taken back; nothing was refunded"


class AlreadyRefunded(FacesError):
    status = 409
    code = "topup_already_refunded"


@dataclass(frozen=True, slots=True)
class Refunded:
    """`state` is `replayed` when the same amount of this top-up was refunded before; then nothing moved now."""

    state: Literal["posted", "replayed"]
    transfer_id: UUID
    amount_nanousd: int
    balance_nanousd: int


def most(topup: TopUp) -> int:
    """What could be refunded of a top-up at this moment, in nano-USD: at most what it brought, at most what is available.
    0 if it brought nothing or was refunded before."""
    if topup.status != TopUpStatus.SUCCEEDED or topup.refunded_nanousd:
        return 0
    return min(topup.amount_nanousd, balances.read(topup.account_id).available_nanousd)


def refund(*, topup_id: UUID, account_id: UUID, amount_nanousd: int, reason: str, operator_id: UUID) -> Refunded:
    """Take the credit of a payment back, once: the same amount again is the same refund.

    One transaction: the transfer `refund:<topup id>` to where the payment came from, what the top-up says of it, and the
    operator's entry in the log are there together or not at all. Held money is not touched. Raises TopUpNotFound,
    NotRefundable, InvalidInput naming `amount_usd` or `reason`, AlreadyRefunded, InsufficientCredit. Locks the top-up, then
    the credit account.
    """
    reason = ledger.check_reason(reason)
    with transaction.atomic(durable=True):
        topup = TopUp.objects.select_for_update(no_key=True).filter(account_id=account_id, id=topup_id).first()
        if topup is None:
            raise TopUpNotFound
        if topup.status != TopUpStatus.SUCCEEDED:
            raise NotRefundable
        if not 0 < amount_nanousd <= topup.amount_nanousd:
            most_usd = usd_text(topup.amount_nanousd)
            raise InvalidInput({"amount_usd": [f"Write an amount above 0, up to the {most_usd} USD that were paid"]})
        if topup.refunded_nanousd not in (0, amount_nanousd):
            raise AlreadyRefunded(
                f"{usd_text(topup.refunded_nanousd)} USD of this top-up were refunded before, and a top-up is refunded "
                "once; nothing was refunded now. Take more back by correcting the account's credit"
            )
        posted = ledger.post(
            account_id=account_id,
            amount_nanousd=-amount_nanousd,
            counterparty=Party(topup.method),
            code=TransferCode.REFUND,
            reference=f"refund:{topup_id}",
            reason=reason,
        )
        if posted.state == "posted":
            TopUp.objects.filter(account_id=account_id, id=topup_id).update(refunded_nanousd=amount_nanousd)
            said = f"Refunded: 0.00 → {usd_text(amount_nanousd)} USD of {usd_text(topup.amount_nanousd)}."
            audit.note(Operator(operator_id, reason), [topup], said)
    return Refunded(posted.state, posted.transfer_id, amount_nanousd, posted.balance_nanousd)
