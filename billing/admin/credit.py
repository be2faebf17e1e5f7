"""The credit of accounts: looked at, and corrected through the ledger."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from uuid_utils.compat import uuid7

from accounts import lookup
from accounts.models import User
from accounts.sessions import account_of
from billing import balances, corrections
from billing.admin import actions, columns
from billing.admin.exports import Columns, ExportedAdmin, exact, plain
from billing.models import CreditAccount
from faces.lib.errors import FacesError
from faces.lib.ids import uuid_of
from faces.lib.money import usd_text
from faces.lib.wire import Money

GRANT: Final = "billing.adjust_credit"


class GrantForm(forms.Form):
    direction = forms.ChoiceField(
        label="What to do",
        choices=[("give", "Give credit"), ("take", "Take credit")],
        initial="give",
        widget=forms.RadioSelect,
    )
    amount_usd = columns.UsdField(label="Amount, USD", help_text="Above 0, for example 5.00; at most nine decimals.")
    reference = forms.CharField(
        max_length=corrections.LONGEST_REFERENCE,
        help_text="Makes it happen once: sent twice, it is done once. A ticket's number is a good one.",
    )
    reason = actions.Reason()

    def clean_amount_usd(self) -> int:
        nanousd: int = self.cleaned_data["amount_usd"]
        if nanousd <= 0:
            raise forms.ValidationError("Write an amount above 0, and choose whether to give or to take it.")
        return nanousd

    @property
    def nanousd(self) -> int:
        """Signed: positive gives."""
        nanousd: int = self.cleaned_data["amount_usd"]
        return nanousd if self.cleaned_data["direction"] == "give" else -nanousd


@admin.register(CreditAccount)
class CreditAccountAdmin(columns.Owned, ExportedAdmin):
    list_display = ("account_link", "balance_usd", "held_usd", "available_usd")
    list_display_links = ("balance_usd",)
    search_help_text = "Account's id or wallet address"
    ordering = ("-account_id",)
    fields = ("account_link", "balance_usd", "held_usd", "available_usd", "rows")
    change_form_template = "admin/billing/credit.html"
    balance_usd = columns.usd("balance_nanousd", "Balance, USD")
    held_usd = columns.usd("held_nanousd", "Held, USD")
    available_usd = columns.usd(lambda row: row.balance_nanousd - row.held_nanousd, "Available, USD")
    exported: ClassVar[Columns] = {
        "account_id": plain("account_id"),
        "balance_usd": exact("balance_nanousd"),
        "held_usd": exact("held_nanousd"),
        "available_usd": lambda row: Money(row.balance_nanousd - row.held_nanousd),
    }

    @admin.display(description="what moved it")
    def rows(self, row: CreditAccount) -> SafeString:
        lists = (("transfer", "Transfers"), ("hold", "Holds"), ("topup", "Top-ups"))
        return format_html_join(" · ", "{}", ((columns.rows_of(name, row.account_id, text),) for name, text in lists))

    def get_urls(self) -> list[URLPattern]:
        grant = self.admin_site.admin_view(self.grant)
        return [path("grant/", grant, name="billing_creditaccount_grant"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "can_grant": request.user.has_perm(GRANT)}
        return super().change_view(request, object_id, form_url, context)

    def grant(self, request: HttpRequest) -> HttpResponse:
        """Give or take credit of `?account=`, whether or not it has had any. Sent twice, it is done once."""
        actions.require(request, GRANT)
        account_id = uuid_of(request.GET.get("account", ""))
        account = None if account_id is None else User.objects.filter(id=account_id).first()
        if account is None:
            raise Http404
        form = GrantForm(request.POST or None, initial={"reference": f"admin-{uuid7()}"})
        status = 200
        if request.method == "POST":
            status = 400
            if form.is_valid():
                try:
                    return self._granted(request, account, form)
                except FacesError as error:
                    status = actions.refuse(form, error)
        context = {"title": "Give or take credit", "form": form, "account": account}
        context |= {"label": lookup.short_label(account), "has": balances.read(account.pk)}
        return actions.page(self, request, "admin/billing/grant.html", context, status=status)

    def _granted(self, request: HttpRequest, account: User, form: GrantForm) -> HttpResponse:
        posted = corrections.correct(
            account_id=account.pk,
            amount_nanousd=form.nanousd,
            reference=form.cleaned_data["reference"],
            reason=form.cleaned_data["reason"],
            operator_id=account_of(request).pk,
        )
        amount_usd = usd_text(abs(form.nanousd))
        if posted.state == "replayed":
            said = "This was already done under the same reference; nothing moved now. Balance {} USD."
        else:
            verb = "given" if form.nanousd > 0 else "taken"
            said = f"{amount_usd} USD {verb}. Balance {{}} USD."
        messages.success(request, said.format(usd_text(posted.balance_nanousd)))
        return HttpResponseRedirect(reverse("admin:billing_creditaccount_change", args=[account.pk]))
