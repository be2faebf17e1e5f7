"""Every call: what was held for it, what it cost, and what was lost."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from apikeys.models import ApiKey
from billing import calls
from billing.admin import columns
from billing.admin.exports import Columns, ExportedAdmin, exact, plain
from billing.admin.finding import PlacedRange
from billing.models import Hold, HoldStatus, Price

LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "pending": ("Held now", {"status": HoldStatus.PENDING}),
    "lost": ("With a loss", {"lost_nanousd__gt": 0}),
    "expired": ("Expired: possibly lost", {"status": HoldStatus.EXPIRED}),
    "late": ("Settled too late", {"late_at__isnull": False, "lost_nanousd__gt": 0}),
    "counted": ("Counted by us", {"is_counted": True}),
}
MODELS = 100


class Look(admin.SimpleListFilter):
    """The holds an operator looks for, each by an index of its own: a list of all outcomes would read every call ever made."""

    title = "what needs a look"
    parameter_name = "look"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(look, label) for look, (label, _) in LOOKS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(**LOOKS[value][1]) if value in LOOKS else queryset


class ModelCalled(admin.SimpleListFilter):
    """Models with a price, and the one that the address names: one without, or what a metered view is called."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = list(Price.objects.order_by("model").values_list("model", flat=True)[:MODELS])
        asked = request.GET.get(self.parameter_name)
        return [(name, name) for name in (names if not asked or asked in names else [*names, asked])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model=self.value()) if self.value() else queryset


def held_now(row: Hold) -> int:
    return row.amount_nanousd if row.status == HoldStatus.PENDING else 0


def margin(row: Hold) -> int | None:
    return None if row.upstream_cost_nanousd is None else row.charged_nanousd - row.upstream_cost_nanousd


@admin.register(Hold)
class HoldAdmin(columns.Linked, ExportedAdmin):
    list_display = (
        *(
            "placed_at",
            "status",
            "ending",
            "model",
            "held_now_usd",
            "charged_usd",
            "upstream_cost_usd",
            "lost_usd",
            "counted",
        ),
        *("account_link", "key_link", "transfer"),
    )
    list_filter = (Look, ModelCalled, PlacedRange)
    search_help_text = "Account, wallet address, key's id; a hold's id; request id (X-Request-Id)"
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("id", "request_id", "account_link", "key_link", "model", "upstream")}),
        ("What happened", {"fields": ("status", "ending", "placed_at", "expires_at", "resolved_at", "late_at")}),
        (
            "Money, in USD",
            {
                "fields": (
                    "held_now_usd",
                    "was_held_usd",
                    "charged_usd",
                    "upstream_cost_usd",
                    "margin_usd",
                    "lost_usd",
                    "transfer",
                )
            },
        ),
        (
            "Tokens",
            {"fields": ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "counted")},
        ),
        (
            "What it was admitted at, in USD per million tokens",
            {
                "fields": (
                    *(
                        "input_price_usd",
                        "output_price_usd",
                        "cached_input_price_usd",
                        "cache_write_price_usd",
                        "request_price_usd",
                    ),
                    *("prompt_bound_tokens", "output_limit_tokens", "choices"),
                )
            },
        ),
    )
    held_now_usd = columns.usd(held_now, "Held now, USD")
    margin_usd = columns.usd(margin, "Charged, less its cost")
    was_held_usd = columns.usd("amount_nanousd", "Held, or held at the end")
    charged_usd = columns.usd("charged_nanousd", "Charged, USD")
    lost_usd = columns.usd("lost_nanousd", "Lost, USD")
    upstream_cost_usd = columns.usd("upstream_cost_nanousd", "Cost, USD")
    input_price_usd = columns.usd("input_price_nanousd", "Input")
    output_price_usd = columns.usd("output_price_nanousd", "Output")
    cached_input_price_usd = columns.usd("cached_input_price_nanousd", "Cached input")
    cache_write_price_usd = columns.usd("cache_write_price_nanousd", "Cache write")
    request_price_usd = columns.usd("request_price_nanousd", "Per call")
    exported: ClassVar[Columns] = {
        "id": plain("id"),
        "request_id": plain("request_id"),
        "account_id": plain("account_id"),
        "api_key_id": plain("key_id"),
        "model": plain("model"),
        "upstream": plain("upstream"),
        "status": plain("status"),
        "outcome": plain("outcome"),
        "held_usd": exact("amount_nanousd"),
        "charged_usd": exact("charged_nanousd"),
        "upstream_cost_usd": exact("upstream_cost_nanousd"),
        "lost_usd": exact("lost_nanousd"),
        "input_tokens": plain("input_tokens"),
        "cached_input_tokens": plain("cached_input_tokens"),
        "cache_write_tokens": plain("cache_write_tokens"),
        "output_tokens": plain("output_tokens"),
        "is_counted": plain("is_counted"),
        "placed_at": plain("placed_at"),
        "expires_at": plain("expires_at"),
        "resolved_at": plain("resolved_at"),
        "late_at": plain("late_at"),
    }

    @admin.display(description="outcome")
    def ending(self, row: Hold) -> str:
        """As the customer reads it; where they read nothing, that it was answered."""
        return calls.Call(row, "").words or "Answered"

    @admin.display(description="counted by us", boolean=True)
    def counted(self, row: Hold) -> bool:
        return row.is_counted

    @admin.display(description="transfer")
    def transfer(self, row: Hold) -> SafeString | None:
        return columns.rows_of("transfer", row.id, "Its charge") if row.charged_nanousd else None

    def found(self, rows: QuerySet[Hold], text: str, identifier: UUID | None) -> QuerySet[Hold]:
        if identifier is None:
            return rows.filter(request_id=text)
        owner = ApiKey.objects.filter(id=identifier).values_list("account_id", flat=True).first()
        if owner is not None:
            return rows.filter(account_id=owner, key_id=identifier)
        found = rows.filter(id=identifier)
        return found if found.exists() else rows.filter(request_id=text)
