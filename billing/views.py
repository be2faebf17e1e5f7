"""The pages about money: billing, statement, receipts, usage, prices."""

from collections import Counter
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods
from uuid_utils.compat import uuid7

from accounts.sessions import account_of, signed_in
from apikeys import pages
from apikeys.forms import DOLLARS
from apikeys.models import ApiKey
from billing import calls, charts, csv_files, days, statements, topups, usage
from billing.models import TEST_PAYMENT, Price, TopUp, TransferCode
from billing.reports_api import ENTRY_FIELDS, USAGE_FIELDS, entry_row, usage_row
from faces.lib.errors import FacesError, InvalidInput
from faces.lib.ids import uuid_of
from faces.lib.money import InvalidMoney, parse_usd, usd_text

PICKS: Final = (10, 25, 50, 100)
PAYMENTS: Final = 20
MOST_KEYS: Final = 200
MOST_DAYS: Final = 366
"""Each is a column of the usage page's chart and a row of the table behind it; the CSV has any range."""
SIGNED_IN: Final = "Signed in"


@signed_in
@require_http_methods(["GET", "POST"])
def billing(request: HttpRequest) -> HttpResponseBase:
    """What there is, what was paid in, and paying in."""
    problem = ""
    amount = request.POST.get("other") or request.POST.get("amount", "")
    if request.method == "POST":
        try:
            _test_payment(request, amount)
        except FacesError as error:
            problem = error.sentence
        else:
            return HttpResponseRedirect(reverse("billing"))
    account_id = account_of(request).pk
    context = {
        "place": "billing",
        "running": calls.running_count(account_id),
        "payments": TopUp.objects.filter(account_id=account_id).order_by("-id")[:PAYMENTS],
        "picks": PICKS,
        "amount": amount,
        "problem": problem,
        "payment_ref": request.POST.get("payment_ref") or f"{TEST_PAYMENT}{uuid7()}",
        "has_test_payments": settings.FACES_TEST_PAYMENTS,
        "most_nanousd": parse_usd(settings.FACES_TOPUP_MAX),
    }
    return render(request, "billing/billing.html", context, status=400 if problem else 200)


def _test_payment(request: HttpRequest, amount: str) -> None:
    """Record a test payment under the form's own reference, so that sending it twice pays once. Raises FacesError."""
    account = account_of(request)
    text = amount.strip().removeprefix("$")
    if DOLLARS.fullmatch(text) is None:  # a comma is a decimal point to some and none to others
        raise InvalidInput(
            {"amount_usd": ["Write dollars with a point before the cents and no commas, such as 1250.00"]}
        )
    try:
        nanousd = parse_usd(Decimal(text))
    except InvalidMoney as error:
        raise InvalidInput({"amount_usd": [str(error)]}) from None
    if not settings.FACES_TEST_PAYMENTS:
        raise topups.CardsNotConfigured
    payment_ref = request.POST.get("payment_ref", "")
    if not payment_ref.startswith(TEST_PAYMENT) or uuid_of(payment_ref.removeprefix(TEST_PAYMENT)) is None:
        raise InvalidInput({"payment_ref": ["Open the page again and pay from there; nothing was charged"]})
    order = topups.Order(amount_nanousd=topups.check_amount(nanousd), payment_ref=payment_ref, address=None)
    topups.record(account_id=account.pk, key_id=None, recorded_by=account.pk, order=order, now=timezone.now())
    messages.success(request, f"${usd_text(nanousd)} added.", extra_tags="ok")


@signed_in
@require_GET
def receipt(request: HttpRequest, topup_id: UUID) -> HttpResponse:
    topup = TopUp.objects.filter(account_id=account_of(request).pk, id=topup_id).first()
    if topup is None:
        raise Http404
    return render(request, "billing/receipt.html", {"place": "billing", "topup": topup})


@signed_in
@require_GET
def statement(request: HttpRequest) -> HttpResponseBase:
    """Every movement of the credit, in pages; the same filters give the CSV."""
    account_id = account_of(request).pk
    query = _query(request)
    context: dict[str, Any] = {"place": "billing", "query": query, "codes": TransferCode.choices}
    try:
        span = days.open_of_query(query, today=timezone.now().date())
        code, key_id = query.get("code"), _key_id(query)
        context["keys"] = _keys(account_id, key_id)
        kind = code if code in TransferCode.values else None
        rows = statements.transfers(account_id, days=span, code=kind, key_id=key_id)
        if query.get("format") == "csv":
            lines = (tuple(entry_row(entry).values()) for entry in statements.all_entries(account_id, rows))
            return csv_files.stream(request, "statement.csv", ENTRY_FIELDS, lines)
        found, cursor = pages.page(rows, query)
    except InvalidInput as error:
        return render(request, "billing/statement.html", {**context, "problem": error.sentence}, status=400)
    entries = statements.entries(account_id, found)
    names = calls.key_names(account_id, {row.hold.key_id for row in entries if row.hold and row.hold.key_id})
    lines_shown = [(row, SIGNED_IN if row.hold and not row.hold.key_id else _name(names, row)) for row in entries]
    older = urlencode({**query, "cursor": cursor}) if cursor else ""
    return render(
        request,
        "billing/statement.html",
        {**context, "lines": lines_shown, "older": older, "csv": urlencode({**query, "format": "csv"})},
    )


@signed_in
@require_GET
def usage_page(request: HttpRequest) -> HttpResponseBase:
    """What cost what: a chart by key, model or in all, and the sums behind it."""
    account_id = account_of(request).pk
    query = _query(request)
    context: dict[str, Any] = {"place": "usage", "query": query, "models": _models(account_id)}
    group_by = query.get("group_by", "api_key_id")
    group_by = group_by if group_by in usage.GROUPS else "api_key_id"
    try:
        span = days.of_query(query, today=timezone.now().date())
        if query.get("format") != "csv" and (span.last - span.first).days >= MOST_DAYS:
            raise InvalidInput({"start_date": [f"Choose at most {MOST_DAYS} days; the CSV has any range"]})
        filters = _filters(query)
    except InvalidInput as error:
        return render(request, "billing/usage.html", {**context, "problem": error.sentence}, status=400)
    context["keys"] = _keys(account_id, filters.get("key_id"))
    rows = usage.rows(account_id=account_id, group_by=group_by, days=span, **filters)
    if query.get("format") == "csv":
        return csv_files.stream(request, "usage.csv", USAGE_FIELDS, (tuple(usage_row(row).values()) for row in rows))
    by = None if group_by == "date" else group_by
    names = _names_of(account_id, rows) if group_by == "api_key_id" else {}
    series = usage.per_day(account_id=account_id, days=span, by=by, **filters)

    def label(value: str) -> str:
        return (_key_label(names, value) if group_by == "api_key_id" else value) if by else "Spend"

    named = _named(series, label)
    context |= {
        "group_by": group_by,
        "days": span,
        "rows": [(row, label(row.group_key) if by else row.group_key) for row in rows],
        "totals": usage.totals(rows),
        "chart": charts.chart(days=span, series=named),
        "csv": urlencode({**query, "format": "csv"}),
    }
    return render(request, "billing/usage.html", context)


@signed_in
@require_GET
def prices(request: HttpRequest) -> HttpResponse:
    rows = Price.objects.filter(upstream__is_enabled=True).order_by("model")
    return render(request, "billing/prices.html", {"place": "", "prices": rows})


def _query(request: HttpRequest) -> dict[str, str]:
    """The filters that were set; a link with them gives the same view."""
    return {name: str(value) for name, value in request.GET.items() if value}


def _name(names: dict[UUID, str], entry: statements.Entry) -> str:
    return names.get(entry.hold.key_id, "") if entry.hold and entry.hold.key_id else ""


def _keys(account_id: UUID, chosen: UUID | None) -> dict[UUID, str]:
    """Keys to choose from, by name: the newest, revoked ones too, and the one chosen. Of one name, the id's end tells."""
    rows = ApiKey.objects.filter(account_id=account_id).values_list("id", "name")
    found = dict(rows.order_by("-id")[:MOST_KEYS])
    if chosen is not None and chosen not in found:
        found |= dict(rows.filter(id=chosen))
    taken = Counter(found.values())
    named = {key_id: name if taken[name] == 1 else f"{name} {str(key_id)[-4:]}" for key_id, name in found.items()}
    return dict(sorted(named.items(), key=lambda item: (item[1].casefold(), item[0])))


def _names_of(account_id: UUID, rows: list[usage.Row]) -> dict[UUID, str]:
    return calls.key_names(account_id, {key_id for row in rows if (key_id := uuid_of(row.group_key)) is not None})


def _key_label(keys: dict[UUID, str], value: str) -> str:
    key_id = uuid_of(value)
    return SIGNED_IN if key_id is None else keys.get(key_id, value)


def _named(series: dict[str, dict[Any, charts.Cell]], label: Any) -> dict[str, dict[Any, charts.Cell]]:
    """Series by what people call them; two keys of one name stay apart by the end of their id."""
    named: dict[str, dict[Any, charts.Cell]] = {}
    for value, cells in series.items():
        name = label(value)
        named[name if name not in named else f"{name} {value[-4:]}"] = cells
    return named


def _models(account_id: UUID) -> list[str]:
    span = days.of_query({}, today=timezone.now().date())
    return list(usage.settled(account_id, span).values_list("model", flat=True).distinct().order_by("model")[:100])


def _key_id(query: dict[str, str]) -> UUID | None:
    """The key that was chosen. Raises InvalidInput for what is no key's id."""
    text = query.get("key")
    key_id = None if text is None else uuid_of(text)
    if text is not None and key_id is None:
        raise InvalidInput({"key": ["Choose a key of the list"]})
    return key_id


def _filters(query: dict[str, str]) -> dict[str, Any]:
    """What narrows the calls. Raises InvalidInput."""
    filters: dict[str, Any] = {}
    key_id = _key_id(query)
    if key_id is not None:
        filters["key_id"] = key_id
    if "model" in query:
        if not query["model"].isprintable():
            raise InvalidInput({"model": ["Choose a model of the list"]})
        filters["model"] = query["model"]
    return filters
