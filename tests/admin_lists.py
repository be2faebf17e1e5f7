"""Every list of the admin in every view it offers, found by asking the admin itself: filters, orders, searches, deep pages and
exports. A list registered tomorrow is in tomorrow's tests and figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ListFilter
from django.contrib.admin.filters import SimpleListFilter
from django.db import models
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User, Wallet

DEEP = 200
"""The last page that 10,000 rows at 50 a page have."""
AGO = 500
"""Which row from the newest is searched for."""


@dataclass(frozen=True)
class View:
    """One view of one list: what it is, and its address."""

    model: str
    kind: str
    url: str

    def __str__(self) -> str:
        return f"{self.model}: {self.kind}"


def views(user: User) -> Iterator[View]:
    """All views that this operator is offered."""
    for model, lister in admin.site._registry.items():
        name = model._meta.label_lower
        base = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

        def view(kind: str, query: dict[str, Any], name: str = name, base: str = base) -> View:
            return View(name, kind, f"{base}?{urlencode(query)}" if query else base)

        yield view("first page", {})
        yield view("deep page", {"p": DEEP})
        for kind, query in _filtered(lister, _request(base, user)):
            yield view(f"filter {kind}", query)
            yield view(f"filter {kind}, deep page", {**query, "p": DEEP})
        for number, column in enumerate(_columns(lister, _request(base, user))):
            if column in (lister.sortable_by or ()):
                yield view(f"by {column}", {"o": number})
                yield view(f"by {column}, falling", {"o": -number})
        if lister.get_search_fields(_request(base, user)):
            for kind, text in _searched(model):
                yield view(f"search {kind}", {"q": text})
        try:
            yield View(name, "export", reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_export"))
        except NoReverseMatch:
            continue


def _request(path: str, user: User) -> HttpRequest:
    request = RequestFactory().get(path)
    request.user = user
    return request


def _columns(lister: Any, request: HttpRequest) -> list[Any]:
    """With the box of the actions before them, as the admin counts them."""
    shown = list(lister.get_list_display(request))
    return [None, *shown] if not lister.get_actions(request) else ["action_checkbox", *shown]


def _filtered(lister: Any, request: HttpRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    changelist = lister.get_changelist_instance(request)
    for found in changelist.filter_specs:
        if isinstance(found, SimpleListFilter):
            for value, label in found.lookup_choices:
                yield f"{found.title} {label}", {found.parameter_name: value}
        elif set(found.expected_parameters()) == {"start_date", "end_date"}:
            today = timezone.now().date()
            for label, ago in (("today", 0), ("a week", 6), ("all", 400)):
                yield f"days {label}", {"start_date": today - timedelta(days=ago), "end_date": today}
            yield "days long ago", {"start_date": today - timedelta(days=25), "end_date": today - timedelta(days=25)}
        else:
            yield from _field_choices(found, changelist)


def _field_choices(found: ListFilter, changelist: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for choice in found.choices(changelist):
        query = dict(parse_qsl(choice["query_string"].removeprefix("?")))
        if query:
            yield f"{found.title} {choice['display']}", query


def _searched(model: type[models.Model]) -> Iterator[tuple[str, str]]:
    """What an operator may paste: every text and id on a row, its account and wallet, and things that are nowhere."""
    rows = list(model._default_manager.order_by("-pk")[: AGO + 1])
    row = rows[-1] if rows else None
    for field in model._meta.concrete_fields:
        value = None if row is None else getattr(row, field.attname)
        if value and isinstance(value, str | UUID):
            yield field.name, str(value)
    account_id = getattr(row, "account_id", None) or (row.pk if isinstance(row, User) else None)
    wallet = Wallet.objects.filter(account_id=account_id).first() if account_id else None
    if wallet is not None:
        yield "wallet", wallet.address
        yield "wallet's beginning", wallet.address[:6]
    if hasattr(row, "public_id"):
        yield "prefix", f"sk-faces-{row.public_id}"
    busiest = _busiest()
    if busiest is not None:
        yield "busiest account", str(busiest)
    yield "id that is nowhere", str(uuid7())
    yield "words", "nothing like this"
    yield "address that is nowhere", "0x" + "12" * 20


def _busiest() -> UUID | None:
    """The account that a key spent most on: by the keys, because counting calls would read them all."""
    spent = User.objects.filter(api_keys__parent=None).annotate(spent=models.Sum("api_keys__spent_nanousd"))
    return spent.order_by("-spent").values_list("id", flat=True).first()
