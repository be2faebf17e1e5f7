"""The audit log: who did what to what, and why. To look at only, for superusers too; the database refuses any change."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from accounts import lookup
from accounts.models import User
from faces.lib.admin import ReadOnlyAdmin
from faces.lib.ids import uuid_of

MOST_OPERATORS = 100
KINDS = (
    "accounts.user",
    "accounts.wallet",
    "apikeys.apikey",
    "auth.group",
    "billing.creditaccount",
    "billing.price",
    "billing.topup",
    "billing.upstream",
)
"""What operators change: what the list may be narrowed to."""


class OperatorFilter(admin.SimpleListFilter):
    title = "operator"
    parameter_name = "user__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        staff = list(User.objects.filter(is_staff=True).prefetch_related("wallets").order_by("id")[:MOST_OPERATORS])
        listed = [(str(account.pk), lookup.label(account)) for account in staff]
        wanted = request.GET.get(self.parameter_name)
        if wanted is not None and all(wanted != identifier for identifier, _ in listed):
            listed.append((wanted, wanted))
        return listed

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        identifier = uuid_of(str(self.value()))
        return queryset.none() if identifier is None else queryset.filter(user_id=identifier)


class KindFilter(admin.SimpleListFilter):
    title = "kind of object"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        kinds = ContentType.objects.get_for_models(*map(apps.get_model, KINDS))
        return [(str(kind.pk), kind.name) for kind in kinds.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if wanted is None:
            return queryset
        return (
            queryset.filter(content_type_id=int(wanted)) if wanted.isdecimal() and len(wanted) < 9 else queryset.none()
        )


class DayFilter(admin.DateFieldListFilter):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.title = "day"


class AuditLogAdmin(ReadOnlyAdmin):
    list_display = ("action_time", "operator", "said", "kind", "subject")
    list_display_links = ("action_time",)
    list_filter = (OperatorFilter, KindFilter, ("action_time", DayFilter))
    list_select_related = ("content_type",)
    search_fields = ("object_id",)
    search_help_text = "The id of what was changed, whole"
    ordering = ("-action_time", "-id")
    fields = ("action_time", "operator", "kind", "subject", "object_id", "said")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return super().get_queryset(request).prefetch_related("user__wallets")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        term = search_term.strip()
        return (queryset.filter(object_id=term) if term else queryset), False

    @admin.display(description="operator")
    def operator(self, entry: LogEntry) -> str:
        return lookup.label(entry.user)

    @admin.display(description="kind")
    def kind(self, entry: LogEntry) -> str:
        return "" if entry.content_type is None else entry.content_type.name

    @admin.display(description="object")
    def subject(self, entry: LogEntry) -> str:
        url = entry.get_admin_url()
        return entry.object_repr if url is None else format_html('<a href="{}">{}</a>', url, entry.object_repr)

    @admin.display(description="what changed")
    def said(self, entry: LogEntry) -> str:
        return entry.get_change_message() or f"{entry.get_action_flag_display()}."
