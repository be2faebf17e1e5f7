"""`/v1/billing`: what was spent, on what, and what it costs. Paying in is in `api`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from apikeys import pages
from apikeys.authentication import Action
from apikeys.credentials import Credential
from billing import csv_files, days, schema, statements, usage
from billing.models import Price, TransferCode
from faces.lib.drf import Endpoint, answer
from faces.lib.errors import InvalidInput
from faces.lib.ids import uuid_of
from faces.lib.wire import Money

ENTRY_FIELDS: Final = (
    "id",
    "code",
    "amount_usd",
    "balance_after_usd",
    "created_at",
    "reference",
    "reason",
    "request_id",
    "api_key_id",
    "model",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "is_counted",
)
CSV_TYPES: Final = ("text/csv", "text/csv; charset=utf-8")
USAGE_FIELDS: Final = ("group_key", "request_count", "input_tokens", "output_tokens", "cost_usd")


class TransactionsView(Endpoint):
    access: ClassVar[dict[str, Action]] = {"GET": Action.READ_BILLING}

    @schema.TRANSACTIONS
    def get(self, request: Request) -> HttpResponseBase:
        account_id = _account_id(request)
        query = request.query_params
        code = _one_of(query, "code", TransferCode.values)
        span = days.open_of_query(query, today=timezone.now().date())
        rows = statements.transfers(account_id, days=span, code=code, key_id=_key_id(query))
        if _wants_csv(request):
            lines = (tuple(entry_row(entry).values()) for entry in statements.all_entries(account_id, rows))
            return _csv(request, "transactions.csv", ENTRY_FIELDS, lines)
        found, next_cursor = pages.page(rows, query)
        data = [entry_row(entry) for entry in statements.entries(account_id, found)]
        return answer(data, next_cursor=next_cursor, is_list=True)


class UsageView(Endpoint):
    access: ClassVar[dict[str, Action]] = {"GET": Action.READ_BILLING}

    @schema.USAGE
    def get(self, request: Request) -> HttpResponseBase:
        query = request.query_params
        group_by = _one_of(query, "group_by", list(usage.GROUPS)) or "date"
        span = days.of_query(query, today=timezone.now().date())
        rows = usage.rows(account_id=_account_id(request), group_by=group_by, days=span)
        if _wants_csv(request):
            return _csv(request, "usage.csv", USAGE_FIELDS, (tuple(usage_row(row).values()) for row in rows))
        totals = usage_row(usage.totals(rows))
        del totals["group_key"]
        return answer({"rows": [usage_row(row) for row in rows], "totals": totals})


class PriceListView(Endpoint):
    access: ClassVar[dict[str, Action]] = {"GET": Action.READ_BILLING}

    @schema.PRICE_LIST
    def get(self, request: Request) -> Response:
        prices = Price.objects.filter(upstream__is_enabled=True).order_by("model")
        return answer([_price(price) for price in prices], is_list=True)


def _account_id(request: Request) -> Any:
    return cast(Credential, request.auth).account_id


def _csv(request: Request, filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponseBase:
    return csv_files.stream(request._request, filename, head, rows)  # noqa: SLF001 - DRF names Django's request no other way


def _wants_csv(request: Request) -> bool:
    """`?format=csv`, or an Accept header that prefers CSV."""
    wanted = _one_of(request.query_params, "format", ["json", "csv"])
    if wanted is not None:
        return wanted == "csv"
    try:
        return request.get_preferred_type(["application/json", *CSV_TYPES]) in CSV_TYPES
    except ValueError:  # an Accept that cannot be read is as good as none
        return False


def _key_id(query: Mapping[str, str]) -> UUID | None:
    text = query.get("api_key_id")
    key_id = None if text is None else uuid_of(text)
    if text is not None and key_id is None:
        raise InvalidInput({"api_key_id": ["Write the id of a key, for example 0192f0a4-7e1b-7c3d-9a51-3f2b8c4d5e6f"]})
    return key_id


def _one_of(query: Mapping[str, str], name: str, allowed: list[str]) -> str | None:
    value = query.get(name)
    if value is not None and value not in allowed:
        raise InvalidInput({name: [f"Write one of {', '.join(allowed)}"]})
    return value


def entry_row(entry: statements.Entry) -> dict[str, Any]:
    transfer, hold = entry.transfer, entry.hold
    return {
        "id": transfer.id,
        "code": transfer.code,
        "amount_usd": Money(entry.amount_nanousd),
        "balance_after_usd": Money(transfer.balance_after_nanousd),
        "created_at": transfer.created_at.isoformat().replace("+00:00", "Z"),
        "reference": transfer.reference,
        "reason": transfer.reason,
        "request_id": None if hold is None else hold.request_id,
        "api_key_id": None if hold is None else hold.key_id,
        "model": None if hold is None else hold.model,
        "input_tokens": None if hold is None else hold.input_tokens,
        "cached_input_tokens": None if hold is None else hold.cached_input_tokens,
        "output_tokens": None if hold is None else hold.output_tokens,
        "is_counted": None if hold is None else hold.is_counted,
    }


def usage_row(row: usage.Row) -> dict[str, Any]:
    return {
        "group_key": row.group_key,
        "request_count": row.request_count,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": Money(row.cost_nanousd),
    }


def _price(price: Price) -> dict[str, Any]:
    def or_input(value: int | None) -> Money:
        return Money(price.input_price_nanousd if value is None else value)

    return {
        "model": price.model,
        "input_usd": Money(price.input_price_nanousd),
        "output_usd": Money(price.output_price_nanousd),
        "cached_input_usd": or_input(price.cached_input_price_nanousd),
        "cache_write_usd": or_input(price.cache_write_price_nanousd),
        "request_usd": Money(price.request_price_nanousd),
        "context_tokens": price.context_tokens,
        "max_output_tokens": price.max_output_tokens,
    }
