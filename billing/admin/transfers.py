"""Every movement of credit."""

from typing import ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.safestring import SafeString

from billing.admin import columns
from billing.admin.exports import Columns, ExportedAdmin, exact, plain
from billing.admin.finding import DayRange
from billing.corrections import PREFIX
from billing.models import Hold, Party, TopUp, Transfer, TransferCode, TransferReference
from faces.lib.ids import uuid_of
from faces.lib.wire import Money


def signed(row: Transfer) -> Money:
    return Money(row.amount_nanousd if row.credit == Party.CUSTOMER else -row.amount_nanousd)


@admin.register(Transfer)
class TransferAdmin(columns.Linked, ExportedAdmin):
    list_display = (
        "created_at",
        "code",
        "amount_usd",
        "debit",
        "credit",
        "cause",
        "reason",
        "balance_after_usd",
        "account_link",
    )
    list_filter = ("code", DayRange)
    search_help_text = "Account, wallet address; id of a transfer, hold or top-up; reference of a correction"
    ordering = ("-id",)
    fields = (
        *("id", "created_at", "account_link", "code", "amount_usd", "debit", "credit", "balance_after_usd"),
        *("reference", "reason", "cause"),
    )
    amount_usd = columns.usd("amount_nanousd", "Amount, USD")
    balance_after_usd = columns.usd("balance_after_nanousd", "Balance after, USD")
    exported: ClassVar[Columns] = {
        "id": plain("id"),
        "created_at": plain("created_at"),
        "account_id": plain("account_id"),
        "code": plain("code"),
        "amount_usd": signed,
        "debit": plain("debit"),
        "credit": plain("credit"),
        "balance_after_usd": exact("balance_after_nanousd"),
        "reference": plain("reference"),
        "reason": plain("reason"),
        "hold_id": plain("hold_id"),
    }

    @admin.display(description="for")
    def cause(self, row: Transfer) -> SafeString | str:
        """The call or payment behind it, linked; else its reference."""
        if row.hold_id is not None:
            return columns.row_of("hold", row.hold_id, "Call")
        kind, _, rest = row.reference.partition(":")
        if kind in ("topup", "refund") and uuid_of(rest) is not None:
            return columns.row_of("topup", rest, "Top-up")
        return row.reference

    def found(self, rows: QuerySet[Transfer], text: str, identifier: UUID | None) -> QuerySet[Transfer]:
        others = rows.filter(~Q(code=TransferCode.CHARGE))
        names = (text, f"{PREFIX}{text}")
        if identifier is None:
            hold_id = uuid_of(text.removeprefix("hold:")) if text.startswith("hold:") else None
            if hold_id is None:
                return others.filter(reference__in=names)
            identifier = hold_id
        account_id = Hold.objects.filter(id=identifier).values_list("account_id", flat=True).first()
        if account_id is not None:
            named = TransferReference.objects.filter(account_id=account_id, reference=f"hold:{identifier}")
            return rows.filter(account_id=account_id, id__in=list(named.values_list("transfer_id", flat=True)))
        if TopUp.objects.filter(id=identifier).exists():
            return others.filter(reference__in=(f"topup:{identifier}", f"refund:{identifier}"))
        found = rows.filter(id=identifier)
        return found if found.exists() else others.filter(reference__in=names)
