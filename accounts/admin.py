"""Accounts, their wallets, roles and the audit log, as operators see them."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse

from accounts import account_page, lookup
from accounts.account_forms import AccountForm, NewOperatorForm, PasswordForm, WalletForm
from accounts.account_verbs import VERBS
from accounts.audit_admin import AuditLogAdmin
from accounts.groups import ROLES
from accounts.models import UsedNonce, User, Wallet
from accounts.operators import may_change
from faces.lib.admin import BoundedAdmin, ReadOnlyAdmin
from faces.lib.ids import uuid_of
from faces.lib.verbs import VerbsAdmin

STATE = ("id", "state", "frozen_reason", "created_at", "last_login", "closed_at")
RIGHTS = ("is_staff", "is_superuser", "groups")


class WalletInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Wallet
    extra = 0
    fields = ("address", "chain_id", "created_at", "last_sign_in_at")
    readonly_fields = fields
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StateFilter(admin.SimpleListFilter):
    """The few that an operator looks for, each by an index of its own."""

    title = "state"
    parameter_name = "state"
    conditions: ClassVar[dict[str, Q]] = {
        "frozen": Q(is_frozen=True),
        "inactive": Q(is_active=False),
        "operator": Q(is_staff=True),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("frozen", "Frozen"), ("inactive", "Not active"), ("operator", "Operators")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.conditions.get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


@admin.register(User)
class AccountAdmin(VerbsAdmin, UserAdmin):  # type: ignore[type-arg]
    """Freezing is a verb with a reason, not a field. Names, passwords and rights are for superusers."""

    form = AccountForm
    add_form = NewOperatorForm
    change_password_form = PasswordForm
    verbs = VERBS
    list_display = ("name", "id", "state", "role", "created_at")
    list_filter = (StateFilter,)
    search_fields = ("id",)
    search_help_text = "An id, a wallet’s address or its beginning, the beginning of a user name or e-mail address"
    ordering = ("-id",)
    filter_horizontal = ("groups",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("wallets", "groups")

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[type[WalletInline], ...]:
        return () if obj is None else (WalletInline,)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return super().get_fieldsets(request, obj)
        names = ("username", "password", "email") if _is_superuser(request) else ("username", "email")
        rights = {"fields": RIGHTS, "classes": () if obj.is_staff else ("collapse",)}
        return (("State", {"fields": STATE}), (None, {"fields": (*names, "is_active")}), ("Operator", rights))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return STATE if _is_superuser(request) else (*STATE, "username", *RIGHTS)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> "type[ModelForm[User]]":
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.operator_id = request.user.pk
        return form  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Only what the form changed: the ledger may have frozen the account since its row was read."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        fields = [self.opts.get_field(name) for name in form.changed_data]
        obj.save(update_fields=[field.name for field in fields if not field.many_to_many])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_change(_operator(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """An account stays: its money, its keys and what an operator did with it refer to it."""
        return False

    def may(self, request: HttpRequest, row: Any = None) -> bool:
        return self.has_change_permission(request, row)

    def name_of(self, row: Any) -> str:
        return lookup.label(row)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        if not _is_superuser(request):
            raise PermissionDenied
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account = self.get_object(request, object_id)
        shown = {} if account is None else account_page.context(account, request.user, may=self.may(request, account))
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = lookup.account_ids(term)
        named = Q(username__istartswith=term) | Q(email__istartswith=term)
        return queryset.filter(Q(pk__in=found) if found else named), False

    @admin.display(description="account")
    def name(self, account: User) -> str:
        return lookup.label(account)

    @admin.display(description="state")
    def state(self, account: User) -> str:
        if not account.is_active:
            return "Not active"
        return "Frozen" if account.is_frozen else "Live"

    @admin.display(description="operator")
    def role(self, account: User) -> str:
        if not account.is_staff:
            return ""
        return "superuser" if account.is_superuser else ", ".join(group.name for group in account.groups.all())


class AccountChoice(AutocompleteSelect):
    """Shows again what was chosen, if it can be an account's id: Django asks the database for anything that was sent."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [one for one in value if uuid_of(str(one)) is not None], attr)


@admin.register(Wallet)
class WalletAdmin(BoundedAdmin):
    form = WalletForm
    list_display = ("address", "chain_id", "account", "created_at", "last_sign_in_at")
    list_select_related = ("account",)
    search_fields = ("id",)
    search_help_text = "An address or its beginning, the id of a wallet or an account"
    ordering = ("-id",)
    autocomplete_fields = ("account",)
    readonly_fields = ("id", "created_at", "last_sign_in_at")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["widget"] = AccountChoice(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Who puts a wallet of their own on another account signs in as that account, whatever its rights."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Wallet | None = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Wallet | None = None) -> bool:
        return _is_superuser(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Wallet], search_term: str
    ) -> tuple[QuerySet[Wallet], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = lookup.account_ids(term)
        return queryset.filter(Q(pk__in=found) | Q(account_id__in=found)), False


@admin.register(UsedNonce)
class UsedNonceAdmin(ReadOnlyAdmin):
    """To look at only: a deleted row would let its nonce work a second time."""

    list_display = ("nonce", "address", "attempted_at", "expires_at")
    search_fields = ("nonce",)
    search_help_text = "A nonce or an address, whole"
    ordering = ("-expires_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsedNonce], search_term: str
    ) -> tuple[QuerySet[UsedNonce], bool]:
        term = search_term.strip().lower()
        return (queryset.filter(Q(pk=term) | Q(address=term)) if term else queryset), False


class RoleAdmin(BoundedAdmin, GroupAdmin):
    """The roles of `accounts.groups` are looked at here; groups of one's own are made, by superusers: who may change the group
    they are in may do everything."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and (obj is None or obj.name not in ROLES)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and (obj is None or obj.name not in ROLES)


admin.site.unregister(Group)
admin.site.register(Group, RoleAdmin)
admin.site.register(LogEntry, AuditLogAdmin)


def _operator(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _is_superuser(request: HttpRequest) -> bool:
    return _operator(request).is_superuser
