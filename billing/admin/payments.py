"""Payments in, and giving them back."""

from typing import Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts.sessions import account_of
from billing import balances, refunds
from billing.admin import actions, columns
from billing.admin.exports import Columns, ExportedAdmin, exact, plain
from billing.admin.finding import DayRange, MoneyAdmin, accounts_of
from billing.models import PAID_WITH, Party, PaymentReference, TopUp
from faces.lib.errors import FacesError
from faces.lib.ids import uuid_of
from faces.lib.money import usd_text

REFUND: Final = "billing.refund_topup"


class RefundForm(forms.Form):
    amount_usd = columns.UsdField(label="Amount, USD")
    reason = actions.Reason()


class Method(admin.SimpleListFilter):
    title = "method"
    parameter_name = "method"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(PAID_WITH.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[TopUp]) -> QuerySet[TopUp]:
        return queryset.filter(method=self.value()) if self.value() else queryset


class RefundState(admin.SimpleListFilter):
    title = "refund"
    parameter_name = "refunded"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Refunded, in part too")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[TopUp]) -> QuerySet[TopUp]:
        return queryset.filter(refunded_nanousd__gt=0) if self.value() == "yes" else queryset


@admin.register(TopUp)
class TopUpAdmin(columns.Linked, ExportedAdmin):
    list_display = (
        "created_at",
        "status",
        "paid_with",
        "amount_usd",
        "refunded_usd",
        "payment_ref",
        "account_link",
        "transfers",
    )
    list_filter = ("status", Method, RefundState, DayRange)
    search_help_text = "Account, wallet address; a top-up's id; its payment reference"
    ordering = ("-id",)
    fields = (
        *(
            "id",
            "status",
            "paid_with",
            "amount_usd",
            "refunded_usd",
            "payment_ref",
            "account_link",
            "key_link",
            "recorded_by_link",
        ),
        *("created_at", "resolved_at", "transfers"),
    )
    change_form_template = "admin/billing/topup.html"
    amount_usd = columns.usd("amount_nanousd", "Amount, USD")
    refunded_usd = columns.usd("refunded_nanousd", "Refunded, USD")
    exported: ClassVar[Columns] = {
        "id": plain("id"),
        "created_at": plain("created_at"),
        "resolved_at": plain("resolved_at"),
        "account_id": plain("account_id"),
        "api_key_id": plain("key_id"),
        "status": plain("status"),
        "method": plain("method"),
        "amount_usd": exact("amount_nanousd"),
        "refunded_usd": exact("refunded_nanousd"),
        "payment_ref": plain("payment_ref"),
        "recorded_by": plain("recorded_by_id"),
    }

    @admin.display(description="method")
    def paid_with(self, row: TopUp) -> str:
        return row.paid_with

    @admin.display(description="transfers")
    def transfers(self, row: TopUp) -> SafeString:
        return columns.rows_of("transfer", row.id, "Its transfers")

    @admin.display(description="recorded by")
    def recorded_by_link(self, row: TopUp) -> SafeString | None:
        return None if row.recorded_by_id is None else columns.account_of(row.recorded_by_id)

    def found(self, rows: QuerySet[TopUp], text: str, identifier: UUID | None) -> QuerySet[TopUp]:
        if identifier is not None and rows.filter(id=identifier).exists():
            return rows.filter(id=identifier)
        known = PaymentReference.objects.filter(payment_ref=text).first()
        return rows.none() if known is None else rows.filter(account_id=known.account_id, id=known.topup_id)

    def get_urls(self) -> list[URLPattern]:
        refund = self.admin_site.admin_view(self.refund)
        return [path("<path:object_id>/refund/", refund, name="billing_topup_refund"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "can_refund": request.user.has_perm(REFUND)}
        return super().change_view(request, object_id, form_url, context)

    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take the credit of a payment back. Sent twice, it is done once."""
        actions.require(request, REFUND)
        topup_id = uuid_of(unquote(object_id))
        topup = None if topup_id is None else TopUp.objects.filter(id=topup_id).first()
        if topup is None:
            raise Http404
        most = refunds.most(topup)
        form = RefundForm(request.POST or None, initial={"amount_usd": most})
        status = 200
        if request.method == "POST":
            status = 400
            if form.is_valid():
                try:
                    return self._refunded(request, topup, form)
                except FacesError as error:
                    status = actions.refuse(form, error)
        context = {"title": "Refund a top-up", "form": form, "topup": topup, "most": most}
        context |= {"account": columns.account_of(topup.account_id), "has": balances.read(topup.account_id)}
        return actions.page(self, request, "admin/billing/refund.html", context, status=status)

    def _refunded(self, request: HttpRequest, topup: TopUp, form: RefundForm) -> HttpResponse:
        done = refunds.refund(
            topup_id=topup.id,
            account_id=topup.account_id,
            amount_nanousd=form.cleaned_data["amount_usd"],
            reason=form.cleaned_data["reason"],
            operator_id=account_of(request).pk,
        )
        amount_usd, balance_usd = usd_text(done.amount_nanousd), usd_text(done.balance_nanousd)
        if done.state == "replayed":
            said = f"{amount_usd} USD of this top-up were refunded before; nothing moved now."
        else:
            said = f"{amount_usd} USD taken back; balance {balance_usd} USD. {_what_is_left_to_do(topup)}"
        messages.success(request, said)
        return HttpResponseRedirect(reverse("admin:billing_topup_change", args=[topup.pk]))


def _what_is_left_to_do(topup: TopUp) -> str:
    if topup.is_test:
        return "It was a test payment: there is no money to send."
    way = "the way it was paid" if topup.method == Party.EXTERNAL else f"by {topup.paid_with}"
    return f"Now send the money itself back {way}: no payment provider does it for you yet."


@admin.register(PaymentReference)
class PaymentReferenceAdmin(columns.Owned, MoneyAdmin):
    list_display = ("payment_ref", "account_link", "topup")
    search_help_text = "Account, wallet address; a top-up's id; the reference"
    fields = ("payment_ref", "account_link", "topup")

    @admin.display(description="top-up")
    def topup(self, row: PaymentReference) -> SafeString:
        return columns.row_of("topup", row.topup_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentReference], search_term: str
    ) -> tuple[QuerySet[PaymentReference], bool]:
        """Through the top-ups found, since the table is keyed by reference alone."""
        wanted = search_term.strip()
        owners, identifier = accounts_of(wanted), uuid_of(wanted)
        if not wanted:
            return queryset, False
        if owners is not None:
            return queryset.filter(payment_ref__in=self._references(account_id__in=owners)), False
        found = self._references(id=identifier) if identifier is not None else []
        return queryset.filter(payment_ref__in=[wanted, *found]), False

    @staticmethod
    def _references(**filters: Any) -> list[str]:
        return list(
            TopUp.objects.filter(**filters).exclude(payment_ref="").values_list("payment_ref", flat=True)[:1000]
        )
