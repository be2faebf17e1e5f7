"""The admin's frame: Django's own admin, in the words operators use and under the one strict policy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone
from django.utils.text import capfirst

from accounts import audit
from accounts.audit import Operator
from accounts.models import User
from billing import jobs, morning
from faces.lib.admin import NUL

LAST: Final = "Internals"
RAIL: Final = {
    "People": (
        ("accounts.user", "Accounts", "person"),
        ("accounts.wallet", "Wallets", "user"),
        ("apikeys.apikey", "Keys", "key"),
    ),
    "Money": (
        ("billing.creditaccount", "Credit", "scales"),
        ("billing.transfer", "Transfers", "bars"),
        ("billing.hold", "Holds", "clock"),
        ("billing.topup", "Top-ups", "coin"),
    ),
    "Models": (
        ("billing.price", "Prices", "edit"),
        ("billing.upstream", "Upstreams", "wall"),
    ),
    "Record": (
        ("admin.logentry", "Audit log", "shield"),
        ("billing.ledgercheck", "Ledger checks", "check"),
        ("auth.group", "Permission groups", "person"),
    ),
    LAST: (
        ("accounts.usednonce", "Used nonces", "ring"),
        ("apikeys.keydirectory", "Key directory", "ring"),
        ("billing.paymentreference", "Payment references", "ring"),
        ("procrastinate.procrastinatejob", "Jobs", "ring"),
    ),
}
"""What stands on the rail, by model: its word and its icon. A model that is not named here comes last, under its own name."""


@dataclass(frozen=True)
class Link:
    label: str
    icon: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Group:
    label: str
    links: tuple[Link, ...]


class SignInForm(AdminAuthenticationForm):
    error_messages = {  # noqa: RUF012 - the form's own way
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "No operator has this user name and password. Nothing happened. Capitals count in both.",
    }


class OperationsSite(AdminSite):
    site_title = "Faces"
    site_header = "Operations"
    index_title = "Morning page"
    enable_nav_sidebar = False
    empty_value_display = "–"
    login_form = SignInForm
    logout_template = "admin/logged_out.html"
    password_change_template = "admin/password_change.html"  # noqa: S105 - a template
    password_change_done_template = "admin/password_changed.html"  # noqa: S105 - a template

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Without Django's `r/<type>/<id>/`, which leads to a row's page on the site: no row has one."""
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        if NUL in request.GET.get("term", ""):
            raise BadRequest("No text in the database has a NUL")
        return super().autocomplete_view(request)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Adds `rail`, the groups of links this operator may open, and `here`, the one that is open (or None)."""
        context = super().each_context(request)
        groups = tuple(self._rail(request, context["available_apps"])) if context["has_permission"] else ()
        here = next((link for group in groups for link in group.links if link.is_current), None)
        return {**context, "rail": groups, "here": here}

    def index(  # type: ignore[override]  # Django's own never redirects
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The morning page, its figures for who may view transfers. Who may correct credit has the books checked from here."""
        may_check = request.user.has_perm("billing.adjust_credit")
        if request.method == "POST":
            if not may_check:
                raise PermissionDenied
            if jobs.check_ledger_soon():
                messages.success(request, "A check of the ledger is queued. Its result stands here when it is done.")
            else:
                messages.warning(request, "A check of the ledger was queued before, and no worker has taken it yet.")
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        may_see = request.user.has_perm("billing.view_transfer")
        figures = morning.figures(now=timezone.now()) if may_see else None
        context = {**self.each_context(request), "title": self.index_title, "morning": figures, "may_check": may_check}
        return TemplateResponse(request, "admin/index.html", {**context, **(extra_context or {})})

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's, with an entry in the audit log, which Django writes only for another's password."""
        if request.method != "POST":
            return super().password_change(request, extra_context)
        with transaction.atomic():
            response = super().password_change(request, extra_context)
            if response.status_code == 302 and isinstance(request.user, User):
                audit.note(Operator(request.user.pk), [request.user], "Changed their own password.")
        return response

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Who is signed in without being an operator is told so, once, with 403 instead of being sent round in circles."""
        response = super().login(request, extra_context)
        if request.method == "GET" and request.user.is_authenticated and not self.has_permission(request):
            response.status_code = 403
        return response

    def _rail(self, request: HttpRequest, apps: list[dict[str, Any]]) -> Iterator[Group]:
        index = reverse("admin:index", current_app=self.name)
        yield Group("Today", (Link(str(self.index_title), "home", index, request.path == index),))
        urls = {
            f"{app['app_label']}.{model['object_name'].lower()}": (model["admin_url"], model["name"])
            for app in apps
            for model in app["models"]
            if model["admin_url"]
        }
        for label, places in RAIL.items():
            shown = [(word, icon, urls.pop(name)[0]) for name, word, icon in places if name in urls]
            if label == LAST:
                known = {name for places in RAIL.values() for name, _, _ in places}
                shown += [(capfirst(word), "ring", url) for name, (url, word) in urls.items() if name not in known]
            if shown:
                links = (Link(word, icon, url, request.path.startswith(url)) for word, icon, url in shown)
                yield Group(label, tuple(links))
