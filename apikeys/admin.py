"""Keys as an operator sees them: everything is looked at, and what may be done goes through `issuing`.

No form writes a key: saving a row read a minute ago would undo what was spent since.
"""

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from accounts import lookup
from accounts.models import User
from apikeys import keygen
from apikeys.key_verbs import VERBS
from apikeys.models import ApiKey, KeyDirectory
from apikeys.standing import Standing
from faces.lib.admin import ReadOnlyAdmin
from faces.lib.ids import uuid_of
from faces.lib.money import usd_text
from faces.lib.verbs import Link, VerbsAdmin

MOST_CHILDREN = 100
CHANGE = "apikeys.change_apikey"
LISTS = (("Calls", "billing", "hold"), ("Audit log", "admin", "logentry"))
"""What belongs to a key, by the names of pages: keys know nothing of money."""


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"
    conditions: ClassVar[dict[str, Q]] = {
        "live": Q(revoked_at=None),
        "frozen": Q(is_frozen=True),
        "revoked": Q(revoked_at__isnull=False),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "Not revoked"), ("frozen", "Frozen"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


class CapFilter(admin.SimpleListFilter):
    title = "cap of its own"
    parameter_name = "cap"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "With a cap"), ("no", "Without")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(budget_nanousd__isnull=self.value() == "no")


@admin.register(ApiKey)
class ApiKeyAdmin(VerbsAdmin, ReadOnlyAdmin):
    verbs = VERBS
    list_display = ("name", "prefix", "state", "owner", "spent", "budget", "held", "last_used_at", "created_at")
    list_filter = (StateFilter, CapFilter)
    search_fields = ("id",)
    search_help_text = (
        "A key or its prefix, the beginning of its name, the id of a key or an account, a wallet’s address"
    )
    ordering = ("-id",)
    fields = (
        "id",
        "prefix",
        "owner",
        "parent_key",
        "allowlist",
        "state",
        "revoked_at",
        "created_at",
        "last_used_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related("account__wallets")

    def may(self, request: HttpRequest, row: Any = None) -> bool:
        return request.user.has_perm(CHANGE)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], search_term: str
    ) -> tuple[QuerySet[ApiKey], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        accounts = lookup.account_ids(term)
        if accounts:
            return queryset.filter(Q(account_id__in=accounts) | Q(id=uuid_of(term))), False
        public_id = term.removeprefix(keygen.PREFIX)[: keygen.PUBLIC_LENGTH]
        known = KeyDirectory.objects.filter(public_id=public_id).first()
        by_name = Q(name__istartswith=term)
        return queryset.filter(by_name if known is None else by_name | Q(id=known.key_id)), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        key = self.get_object(request, object_id)
        shown = {} if key is None else _page(key, request)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    @admin.display(description="account")
    def owner(self, key: ApiKey) -> str:
        url = reverse("admin:accounts_user_change", args=[key.account_id])
        return format_html('<a href="{}">{}</a>', url, lookup.short_label(key.account))

    @admin.display(description="parent")
    def parent_key(self, key: ApiKey) -> str:
        if key.parent is None:
            return "none: it stands at the top"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:apikeys_apikey_change", args=[key.parent_id]), key.parent
        )

    @admin.display(description="cap, USD")
    def budget(self, key: ApiKey) -> str:
        return "none of its own" if key.budget_nanousd is None else usd_text(key.budget_nanousd)

    @admin.display(description="spent, USD")
    def spent(self, key: ApiKey) -> str:
        return usd_text(key.spent_nanousd)

    @admin.display(description="held, USD")
    def held(self, key: ApiKey) -> str:
        return usd_text(key.held_nanousd)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return _state(key)


@admin.register(KeyDirectory)
class KeyDirectoryAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "account_id", "key_id")
    search_fields = ("public_id",)
    search_help_text = "A key, its prefix, or its id"
    ordering = ("public_id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[KeyDirectory], search_term: str
    ) -> tuple[QuerySet[KeyDirectory], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        public_id = term.removeprefix(keygen.PREFIX)[: keygen.PUBLIC_LENGTH]
        return queryset.filter(Q(public_id=public_id) | Q(key_id=uuid_of(term))), False


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "Revoked"
    return "Frozen" if key.is_frozen else "Live"


def _page(key: ApiKey, request: HttpRequest) -> dict[str, Any]:
    """What stands above the fields of a key's page: the keys above it, its sum, and the keys under it."""
    siblings = ApiKey.objects.filter(account_id=key.account_id)
    above = siblings.filter(id__in=key.ancestor_ids).order_by("ancestor_ids__len")
    standing = Standing((*above, key))
    children = list(siblings.filter(parent_id=key.id).order_by("-id")[: MOST_CHILDREN + 1])
    account: User = key.account
    return {
        "key": key,
        "account": account,
        "standing": standing,
        "own_left": (key.budget_nanousd or 0) - key.spent_nanousd - key.held_nanousd,
        "above": list(standing.chain[:-1]),
        "revoked_above": next((one for one in standing.chain[:-1] if one.revoked_at is not None), None),
        "children": children[:MOST_CHILDREN],
        "is_cut": len(children) > MOST_CHILDREN,
        "may_change": request.user.has_perm(CHANGE) and key.revoked_at is None,
        "lists": [
            Link(text, f"{reverse(f'admin:{app}_{model}_changelist')}?{urlencode({'q': key.pk})}")
            for text, app, model in LISTS
            if request.user.has_perm(f"{app}.view_{model}")
        ],
    }
