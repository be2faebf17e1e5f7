"""Money: the credit of an account, the transfers that made it, the holds on it, and what things cost.

Amounts are integer nano-USD. Rows of one account carry `account_id`, and in SQL their primary key is (account_id, id).
Balances, holds and transfers are written only by the SQL functions of `billing/migrations/sql` (see `billing.ledger` and
`billing.holds`); the constraints and triggers there hold the invariants whoever writes.
"""

from typing import ClassVar, Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from uuid_utils.compat import uuid7


class CreditAccount(models.Model):
    """Prepaid credit of one account: 0 ≤ held ≤ balance. Made at the first credit; no row is a balance of zero."""

    account = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, primary_key=True, related_name="credit"
    )
    balance_nanousd = models.BigIntegerField(default=0, editable=False)
    held_nanousd = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(balance_nanousd__gte=0), name="credit_balance_not_negative"),
            models.CheckConstraint(condition=models.Q(held_nanousd__gte=0), name="credit_held_not_negative"),
            models.CheckConstraint(
                condition=models.Q(held_nanousd__lte=models.F("balance_nanousd")), name="credit_held_within_balance"
            ),
        ]
        permissions = (("adjust_credit", "Can grant and take credit by hand"),)

    def __str__(self) -> str:
        return f"credit of {self.account_id}"


class Party(models.TextChoices):
    """The two sides of a transfer. One of them is always the customer's credit."""

    CUSTOMER = "customer", "Customer credit"
    REVENUE = "revenue", "Revenue"
    CARD = "card_clearing", "Card clearing"
    USDC = "usdc_clearing", "USDC clearing"
    EXTERNAL = "external_clearing", "Payments recorded by hand"
    ADJUSTMENT = "adjustment", "Adjustment"


PAID_WITH: Final = {Party.CARD.value: "Card", Party.USDC.value: "USDC", Party.EXTERNAL.value: "Paid elsewhere"}
TEST_PAYMENT: Final = "test-"
"""How the reference of a test payment begins."""


class TransferCode(models.TextChoices):
    CHARGE = "charge", "Charge"
    TOPUP = "topup", "Top-up"
    REFUND = "refund", "Refund"
    ADJUSTMENT = "adjustment", "Adjustment"


class Transfer(models.Model):
    """One movement of a positive amount from `debit` to `credit`. Append-only: a correction is a new row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="transfers", db_index=False, db_constraint=False
    )
    amount_nanousd = models.BigIntegerField()
    debit = models.CharField(max_length=20, choices=Party.choices)
    credit = models.CharField(max_length=20, choices=Party.choices)
    code = models.CharField(max_length=20, choices=TransferCode.choices)
    reference = models.CharField(max_length=200)
    reason = models.CharField(max_length=300, blank=True)
    hold_id = models.UUIDField(null=True, blank=True)
    balance_after_nanousd = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(amount_nanousd__gt=0), name="transfer_amount_positive"),
            models.CheckConstraint(
                condition=models.Q(debit="customer") ^ models.Q(credit="customer"),
                name="transfer_has_one_customer_side",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], name="transfer_id"),
            # Charges are nearly all there is, so what an operator looks for stands in two small indexes.
            models.Index(fields=["code", "id"], condition=~models.Q(code="charge"), name="transfer_other_by_code"),
            models.Index(fields=["reference"], condition=~models.Q(code="charge"), name="transfer_other_by_reference"),
            models.Index(fields=["created_at"], condition=~models.Q(code="charge"), name="transfer_other_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.reference}"


class TransferReference(models.Model):
    """(account, reference) → transfer: what makes a reference work once. Small and never partitioned."""

    pk = models.CompositePrimaryKey("account_id", "reference")
    account_id = models.UUIDField()
    reference = models.CharField(max_length=200)
    transfer_id = models.UUIDField()

    def __str__(self) -> str:
        return self.reference


class HoldStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    SETTLED = "settled", "Settled"
    RELEASED = "released", "Released"
    EXPIRED = "expired", "Expired"


class Hold(models.Model):
    """Money set aside for one call, from admission to the one resolution: settled, released or expired. Also the record of
    the call: what it was priced at, what it used, what was charged and what was lost."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="holds", db_index=False, db_constraint=False
    )
    key_id = models.UUIDField(null=True, blank=True)
    key_ids = ArrayField(models.UUIDField(), default=list, help_text="Root ancestor first, the key itself last.")
    request_id = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    upstream = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=10, choices=HoldStatus.choices, default=HoldStatus.PENDING)
    outcome = models.CharField(max_length=40, blank=True, help_text="How the call ended, in a word.")
    amount_nanousd = models.BigIntegerField(help_text="Held now, or held when it was resolved.")
    charged_nanousd = models.BigIntegerField(default=0)
    lost_nanousd = models.BigIntegerField(default=0, help_text="Cost that no cap or balance allowed us to charge.")
    upstream_cost_nanousd = models.BigIntegerField(
        null=True, blank=True, help_text="What the operator pays for it, where the price said; else empty."
    )
    input_price_nanousd = models.BigIntegerField(default=0, help_text="Per million tokens, as all token prices.")
    output_price_nanousd = models.BigIntegerField(default=0)
    cached_input_price_nanousd = models.BigIntegerField(default=0)
    cache_write_price_nanousd = models.BigIntegerField(default=0)
    request_price_nanousd = models.BigIntegerField(default=0, help_text="Per call.")
    prompt_bound_tokens = models.BigIntegerField(default=0)
    output_limit_tokens = models.BigIntegerField(default=0)
    choices = models.IntegerField(default=1)
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    is_counted = models.BooleanField(default=False, help_text="The upstream said no usage; we counted what was seen.")
    placed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    late_at = models.DateTimeField(null=True, blank=True, help_text="A settlement came after the hold had ended.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(amount_nanousd__gte=0), name="hold_amount_not_negative"),
            models.CheckConstraint(condition=models.Q(charged_nanousd__gte=0), name="hold_charged_not_negative"),
            models.CheckConstraint(condition=models.Q(lost_nanousd__gte=0), name="hold_lost_not_negative"),
            models.CheckConstraint(
                condition=models.Q(status="pending", resolved_at__isnull=True)
                | (~models.Q(status="pending") & models.Q(resolved_at__isnull=False)),
                name="hold_pending_or_resolved",
            ),
            models.CheckConstraint(
                condition=models.Q(status="settled") | models.Q(charged_nanousd=0), name="hold_charged_only_if_settled"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], name="hold_id"),
            models.Index(fields=["expires_at"], condition=models.Q(status="pending"), name="hold_pending_expiry"),
            models.Index(
                fields=["account", "resolved_at"],
                include=["key_id", "model", "charged_nanousd", "input_tokens", "output_tokens"],
                condition=models.Q(status="settled"),
                name="hold_usage",
            ),
            models.Index(
                fields=["model", "resolved_at"], condition=models.Q(lost_nanousd__gt=0), name="hold_lost_by_model"
            ),
            models.Index(fields=["id"], condition=models.Q(status="expired"), name="hold_expired"),
            models.Index(fields=["id"], condition=models.Q(is_counted=True), name="hold_counted"),
            models.Index(fields=["resolved_at"], condition=models.Q(resolved_at__isnull=False), name="hold_resolved"),
            models.Index(fields=["late_at"], condition=models.Q(late_at__isnull=False), name="hold_late"),
            models.Index(fields=["model", "id"], name="hold_by_model"),
            models.Index(fields=["account", "key_id", "id"], name="hold_by_key"),
            HashIndex(fields=["request_id"], name="hold_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.request_id}"


class OnHangup(models.TextChoices):
    DRAIN = "drain", "Read on to the usage"
    CANCEL = "cancel", "Cancel the upstream"


class Upstream(models.Model):
    """An OpenAI-compatible endpoint. Its secret stays outside the database."""

    name = models.CharField(primary_key=True, max_length=100)
    base_url = models.CharField(max_length=500)
    api_key_env = models.CharField(max_length=100, blank=True)
    api_key_file = models.CharField(max_length=500, blank=True)
    timeout_seconds = models.PositiveIntegerField(default=600, help_text="A call's deadline.")
    on_hangup = models.CharField(max_length=10, choices=OnHangup.choices, default=OnHangup.DRAIN)
    pass_fields = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    is_enabled = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """What a customer pays for a model, and where the model is routed. Token prices are nano-USD per million tokens."""

    model = models.CharField(primary_key=True, max_length=200)
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT, related_name="prices")
    upstream_model = models.CharField(max_length=200, blank=True, help_text="Its name there, if another.")
    input_price_nanousd = models.BigIntegerField()
    output_price_nanousd = models.BigIntegerField()
    cached_input_price_nanousd = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    cache_write_price_nanousd = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    request_price_nanousd = models.BigIntegerField(default=0, help_text="Per call.")
    input_cost_nanousd = models.BigIntegerField(
        null=True, blank=True, help_text="What the operator pays; empty: unknown."
    )
    output_cost_nanousd = models.BigIntegerField(
        null=True, blank=True, help_text="What the operator pays; empty: unknown."
    )
    cached_input_cost_nanousd = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    cache_write_cost_nanousd = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    request_cost_nanousd = models.BigIntegerField(default=0, help_text="Per call.")
    context_tokens = models.PositiveIntegerField(default=128_000)
    max_output_tokens = models.PositiveIntegerField(default=16_384)
    default_output_tokens = models.PositiveIntegerField(
        default=4_096, help_text="The output limit of a call that names none."
    )
    limit_field = models.CharField(max_length=40, default="max_tokens")
    prompt_bound = models.CharField(max_length=40, default="bytes", help_text="bytes, or an exact tokenizer's name.")
    visible_output = models.BooleanField(default=False, help_text="It shows all the output it bills for.")
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="Set when its losses passed the limit; calls get 503 until it is cleared."
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=models.Q(input_price_nanousd__gte=0)
                & models.Q(output_price_nanousd__gte=0)
                & models.Q(request_price_nanousd__gte=0)
                & (models.Q(cached_input_price_nanousd__isnull=True) | models.Q(cached_input_price_nanousd__gte=0))
                & (models.Q(cache_write_price_nanousd__isnull=True) | models.Q(cache_write_price_nanousd__gte=0)),
                name="price_not_negative",
            ),
            models.CheckConstraint(
                condition=(models.Q(input_cost_nanousd__isnull=True) | models.Q(input_cost_nanousd__gte=0))
                & (models.Q(output_cost_nanousd__isnull=True) | models.Q(output_cost_nanousd__gte=0))
                & (models.Q(cached_input_cost_nanousd__isnull=True) | models.Q(cached_input_cost_nanousd__gte=0))
                & (models.Q(cache_write_cost_nanousd__isnull=True) | models.Q(cache_write_cost_nanousd__gte=0))
                & models.Q(request_cost_nanousd__gte=0),
                name="cost_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.model


class TopUpStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


class TopUp(models.Model):
    """A payment in. Its credit is the transfer with reference `topup:<id>`, written in the statement that makes it succeed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="topups", db_index=False
    )
    key_id = models.UUIDField(null=True, blank=True, help_text="The key that asked for it, if a key did.")
    amount_nanousd = models.BigIntegerField()
    method = models.CharField(max_length=20, choices=Party.choices)
    status = models.CharField(max_length=10, choices=TopUpStatus.choices, default=TopUpStatus.PENDING)
    payment_ref = models.CharField(max_length=200, blank=True)
    refunded_nanousd = models.BigIntegerField(default=0, help_text="Given back: its transfer is `refund:<id>`.")
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "top-up"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(amount_nanousd__gt=0), name="topup_amount_positive"),
            models.CheckConstraint(
                condition=models.Q(refunded_nanousd=0)
                | models.Q(
                    status="succeeded", refunded_nanousd__gt=0, refunded_nanousd__lte=models.F("amount_nanousd")
                ),
                name="topup_refunded_within_amount",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], name="topup_id"),
            models.Index(fields=["method", "id"], name="topup_by_method"),
            models.Index(fields=["id"], condition=~models.Q(status="succeeded"), name="topup_not_succeeded"),
            models.Index(fields=["id"], condition=models.Q(refunded_nanousd__gt=0), name="topup_refunded"),
        ]
        permissions = (("refund_topup", "Can refund a top-up"),)

    def __str__(self) -> str:
        return f"top-up {self.id}"

    @property
    def kept_nanousd(self) -> int:
        """What was paid, less what was given back."""
        return self.amount_nanousd - self.refunded_nanousd

    @property
    def is_test(self) -> bool:
        """Whether it was a test payment: no money ever moved."""
        return self.method == Party.EXTERNAL and self.payment_ref.startswith(TEST_PAYMENT)

    @property
    def paid_with(self) -> str:
        """The method as people see it."""
        return "Test payment" if self.is_test else PAID_WITH.get(self.method, self.get_method_display())


class PaymentReference(models.Model):
    """A payment made elsewhere → its top-up: unique in the whole installation, so that no payment credits twice."""

    payment_ref = models.CharField(primary_key=True, max_length=200)
    account_id = models.UUIDField()
    topup_id = models.UUIDField()

    def __str__(self) -> str:
        return self.payment_ref


class IdempotentAnswer(models.Model):
    """What an `Idempotency-Key` was answered, with a digest of the request it came with. Kept for 24 hours at least."""

    pk = models.CompositePrimaryKey("account_id", "idempotency_key")
    account_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255)
    request_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.idempotency_key


class LedgerCheck(models.Model):
    """One recomputation of the books, and what it found."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    checked_at = models.DateTimeField(db_index=True)
    duration_seconds = models.FloatField()
    difference_count = models.PositiveIntegerField()
    findings = models.TextField(blank=True, help_text="The first of the differences, a line each.")

    class Meta:
        verbose_name = "ledger check"

    def __str__(self) -> str:
        return "adds up" if self.difference_count == 0 else f"{self.difference_count} differences"


class HourTotal(models.Model):
    """What all calls of a finished hour came to (see `billing.totals`). Every hour has a row, one without calls too."""

    hour = models.DateTimeField(primary_key=True, help_text="Its first moment.")
    calls = models.BigIntegerField(help_text="Settled.")
    charged_nanousd = models.BigIntegerField()
    late_calls = models.BigIntegerField(help_text="Their settlement came after the hold had ended.")
    known_calls = models.BigIntegerField(help_text="Calls of both kinds whose upstream cost is known.")
    known_charged_nanousd = models.BigIntegerField(help_text="What customers paid for those.")
    cost_nanousd = models.BigIntegerField(help_text="What those cost the operator.")
    lost_calls = models.BigIntegerField()
    lost_nanousd = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}"
