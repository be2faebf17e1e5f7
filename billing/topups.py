"""Money in. A payment credits once, however often and from however many sides it is reported."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction
from uuid_utils.compat import uuid7

from accounts.addresses import Address
from accounts.models import User, Wallet
from apikeys.authentication import PermissionRefused
from apikeys.credentials import Credential
from billing import balances, ledger
from billing.models import IdempotentAnswer, Party, PaymentReference, TopUp, TopUpStatus, TransferCode
from faces.lib.errors import FacesError, InvalidInput
from faces.lib.money import NANO_PER_USD, usd_text
from faces.lib.wire import Money, render_json

LEAST_NANOUSD: Final = NANO_PER_USD
CENT_NANOUSD: Final = NANO_PER_USD // 100


class CardsNotConfigured(FacesError):
    status = 503
    code = "cards_not_configured"
    detail = "Card payments are not configured"


class X402NotConfigured(FacesError):
    status = 503
    code = "x402_not_configured"
    detail = "x402 payments are not configured"


class PaymentReferenceTaken(FacesError):
    status = 409
    code = "payment_ref_taken"
    detail = "This payment_ref was recorded before for another account or amount; nothing was credited"


class IdempotencyKeyReused(FacesError):
    status = 409
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used before with another body; nothing was done. Use a new key for a new request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A top-up as asked for: nano-USD, and for a payment made elsewhere its reference and the customer it is for."""

    amount_nanousd: int
    payment_ref: str | None
    address: Address | None

    @property
    def digest(self) -> bytes:
        """SHA-256 of what the body says, so that the same order in other spacing is the same order."""
        return hashlib.sha256(orjson.dumps([self.amount_nanousd, self.payment_ref, self.address])).digest()


def check_amount(amount_nanousd: int) -> int:
    """The amount, if one may top up by it. Raises InvalidInput naming `amount_usd`."""
    most = int(settings.FACES_TOPUP_MAX * NANO_PER_USD)
    if not LEAST_NANOUSD <= amount_nanousd <= most:
        raise InvalidInput({"amount_usd": [f"Write an amount from {usd_text(LEAST_NANOUSD)} to {usd_text(most)}"]})
    if amount_nanousd % CENT_NANOUSD:
        raise InvalidInput({"amount_usd": ["At most 2 decimals are allowed, for example 5.00"]})
    return amount_nanousd


def may_record(credential: Credential, *, names_customer: bool) -> bool:
    """Whether the caller may record a payment made elsewhere: operators who may give credit, for any customer; everyone for
    themselves when test payments are on."""
    if settings.FACES_TEST_PAYMENTS and not names_customer:
        return True
    return credential.is_staff and User.objects.get(pk=credential.account_id).has_perm("billing.adjust_credit")


def order(*, credential: Credential, order: Order, idempotency_key: str | None, now: datetime) -> bytes:
    """Top up, and give the JSON body of the answer; with an Idempotency-Key, the answer it got before.

    One transaction: the credit, the top-up, the payment reference and the stored answer are there together or not at all,
    and of two requests with the same key or reference the second waits for the first. Raises PermissionRefused,
    InvalidInput, CardsNotConfigured, PaymentReferenceTaken, IdempotencyKeyReused. Locks the idempotency row, the payment
    reference, then the credit account.
    """
    if order.payment_ref is None:
        raise CardsNotConfigured
    if not may_record(credential, names_customer=order.address is not None):
        raise PermissionRefused
    with transaction.atomic(durable=True):
        if idempotency_key is not None:
            before = _claim(credential.account_id, idempotency_key, order, now)
            if before is not None:
                return before.body.encode()
        account_id = credential.account_id if order.address is None else _account_of(order.address)
        key_id = credential.key_id if account_id == credential.account_id else None
        topup = record(account_id=account_id, key_id=key_id, recorded_by=credential.account_id, order=order, now=now)
        body = render_json({"data": shown(topup)})
        if idempotency_key is not None:
            _rows(credential.account_id, idempotency_key).update(status=200, body=body.decode())
    return body


def shown(topup: TopUp) -> dict[str, Any]:
    """A top-up as the API shows it, with the balance as it is now."""
    return {
        "id": topup.id,
        "status": topup.status,
        "amount_usd": Money(topup.amount_nanousd),
        "balance_usd": Money(balances.read(topup.account_id).balance_nanousd),
        "checkout_url": None,
    }


@transaction.atomic
def record(*, account_id: UUID, key_id: UUID | None, recorded_by: UUID, order: Order, now: datetime) -> TopUp:
    """Credit a payment made elsewhere, once: the same reference, account and amount again give the same top-up.

    Raises PaymentReferenceTaken. Locks the payment reference, then the credit account.
    """
    topup_id = uuid7()
    payment_ref = order.payment_ref or ""
    reference = PaymentReference(payment_ref=payment_ref, account_id=account_id, topup_id=topup_id)
    PaymentReference.objects.bulk_create([reference], ignore_conflicts=True)
    known = PaymentReference.objects.get(payment_ref=payment_ref)
    if known.topup_id != topup_id:
        topup = TopUp.objects.get(account_id=known.account_id, id=known.topup_id)
        if (known.account_id, topup.amount_nanousd) != (account_id, order.amount_nanousd):
            raise PaymentReferenceTaken
        return topup
    topup = TopUp.objects.create(
        id=topup_id,
        account_id=account_id,
        key_id=key_id,
        amount_nanousd=order.amount_nanousd,
        method=Party.EXTERNAL,
        status=TopUpStatus.SUCCEEDED,
        payment_ref=payment_ref,
        recorded_by_id=recorded_by,
        created_at=now,
        resolved_at=now,
    )
    ledger.post(
        account_id=account_id,
        amount_nanousd=order.amount_nanousd,
        counterparty=Party.EXTERNAL,
        code=TransferCode.TOPUP,
        reference=f"topup:{topup_id}",
    )
    return topup


def _claim(account_id: UUID, idempotency_key: str, order: Order, now: datetime) -> IdempotentAnswer | None:
    """Take the key for this order, or give the row of the one that has it. Waits for another that is taking it."""
    row = IdempotentAnswer(
        account_id=account_id,
        idempotency_key=idempotency_key,
        request_digest=order.digest,
        status=0,
        body="",
        created_at=now,
    )
    IdempotentAnswer.objects.bulk_create([row], ignore_conflicts=True)
    found = _rows(account_id, idempotency_key).select_for_update().get()
    if bytes(found.request_digest) != order.digest:
        raise IdempotencyKeyReused
    return found if found.status else None


def _rows(account_id: UUID, idempotency_key: str) -> Any:
    return IdempotentAnswer.objects.filter(account_id=account_id, idempotency_key=idempotency_key)


def _account_of(address: Address) -> UUID:
    wallets = list(Wallet.objects.filter(address=address).values_list("account_id", flat=True)[:2])
    if len(wallets) != 1:
        problem = "No account has signed in with this wallet" if not wallets else "Several accounts have this address"
        raise InvalidInput({"address": [problem]})
    return wallets[0]
