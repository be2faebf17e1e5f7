"""What the lists and forms about money show of a row: amounts in USD, and links to what it belongs to."""

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import lookup
from faces.lib.admin import BoundedChangeList
from faces.lib.money import InvalidMoney, parse_usd_text, usd_text


class UsdField(forms.CharField):
    """An amount in USD as people write it, nano-USD inside. Empty is None where it may be empty."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def prepare_value(self, value: Any) -> Any:
        return usd_text(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_usd_text(text)
        except InvalidMoney as error:
            raise ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


def usd(amount: str | Callable[[Any], int | None], title: str) -> Any:
    """A column of exact USD, nine decimals so that they stand under each other; empty where it is not known."""
    read = attrgetter(amount) if isinstance(amount, str) else amount

    @admin.display(description=title)
    def column(self: Any, row: Model) -> SafeString | None:
        nanousd = read(row)
        return None if nanousd is None else exact(nanousd)

    return column


def exact(nanousd: int) -> SafeString:
    text = f"{Decimal(nanousd).scaleb(-9):.9f}"
    shown = text.replace("-", "−")
    return format_html(
        '<data class="money" value="{}">{}<span class="tail">{}</span></data>', text, shown[:-7], shown[-7:]
    )


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def rows_of(model: str, search: object, text: str) -> SafeString:
    """A link to a list of money rows that finds `search`."""
    return link(f"{reverse(f'admin:billing_{model}_changelist')}?{urlencode({'q': str(search)})}", text)


def row_of(model: str, identifier: object, text: object = None) -> SafeString:
    """A link to one money row."""
    url = reverse(f"admin:billing_{model}_change", args=[quote(str(identifier))])
    return link(url, identifier if text is None else text)


def account_of(account_id: UUID, label: str | None = None) -> SafeString:
    """A link to an account, by what an operator calls it: one query, unless it was asked for before."""
    if label is None:
        label = lookup.short_labels([account_id])[account_id]
    return link(reverse("admin:accounts_user_change", args=[account_id]), label)


class NamedChangeList(BoundedChangeList):
    """Names the accounts of all rows of a page in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        labels = lookup.short_labels({row.account_id for row in rows})
        for row in rows:
            row.account_label = labels[row.account_id]
        self.result_list = rows


class Owned:
    """The column of rows that belong to an account."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NamedChangeList]:
        return NamedChangeList

    @admin.display(description="account")
    def account_link(self, row: Any) -> SafeString:
        return account_of(row.account_id, getattr(row, "account_label", None))


class Linked(Owned):
    """Columns of rows that belong to an account and perhaps to a key."""

    @admin.display(description="key")
    def key_link(self, row: Any) -> SafeString | None:
        if row.key_id is None:
            return None
        return link(reverse("admin:apikeys_apikey_change", args=[row.key_id]), row.key_id)
