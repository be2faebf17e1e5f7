"""The admin in a real browser: nothing is refused by the policy, nothing scrolls sideways, and every page has its picture."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from uuid_utils.compat import uuid7

from accounts.models import UsedNonce, User, Wallet
from billing import holds
from tests import world
from tests.browser.conftest import SHOTS, Person

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "an operator's long password"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def operator() -> User:
    return User.objects.create_superuser(f"operator-{uuid7()}", PASSWORD)


def enter(person: Person, user: User) -> None:
    """Signed in as this account, without the sign-in page."""
    client = Client()
    client.force_login(user)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": person.site.url}
    person.page.context.add_cookies([cookie])  # type: ignore[list-item]


def furnish(user: User) -> None:
    """A row of everything an operator may list."""
    customer = world.account(credit=25 * world.USD)
    address = f"0x{uuid7().hex}00000000"
    Wallet.objects.create(account=customer, address=address)
    parent = world.key(customer, name="batch-eu", budget=5 * world.USD)
    key = world.key(customer, name="nightly summaries of the warehouse", parent=parent)
    price = world.model("https://upstream.example/v1", name=f"gpt-{uuid7()}")
    for cost in (4_812_500, 10**7):
        placed = holds.place(world.request(customer, key, rates=world.flat(10**7), model=price.model))
        holds.settle(account_id=customer.id, hold_id=placed.hold_id, cost_nanousd=cost)
    holds.place(world.request(customer, key, rates=world.flat(10**6), model=price.model))
    now = customer.created_at
    UsedNonce.objects.create(nonce=uuid7().hex, address=address, attempted_at=now, expires_at=now)
    Group.objects.create(name=f"support {uuid7()}")
    LogEntry.objects.log_actions(user.pk, [customer], CHANGE, "Frozen: chargeback.", single_object=True)


def pages_of(model: type[Model], user: User) -> list[str]:
    """Where an operator can go with this model: list, add, one row, its history, its deletion."""
    request = RequestFactory().get("/")
    request.user = user
    site, name = admin.site._registry[model], f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pages = [reverse(f"{name}_changelist")]
    if site.has_add_permission(request):
        pages.append(reverse(f"{name}_add"))
    row = model._default_manager.order_by("pk").last()
    if row is not None:
        pages += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history")]
        if site.has_delete_permission(request, row):
            pages.append(reverse(f"{name}_delete", args=[row.pk]))
    return pages


def photograph(person: Person, name: str) -> None:
    """Desk and phone, light and dark; on neither does the page scroll sideways."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for width, height in ((1440, 900), (360, 740)):
        person.page.set_viewport_size({"width": width, "height": height})
        assert person.page.evaluate(OVERFLOW) <= 0, f"{person.page.url} at {width}"
        for scheme in ("light", "dark"):
            person.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            person.page.screenshot(path=SHOTS / f"admin-{name}-{width}-{scheme}.png", full_page=True)


class TestPages:
    @pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
    def test_fit_and_break_no_policy(self, person: Person, model: type[Model]) -> None:
        user = operator()
        furnish(user)
        enter(person, user)
        for page in pages_of(model, user):
            answer = person.page.goto(f"{person.site.url}{page}")
            assert answer is not None
            assert answer.status == 200, page
            kind = next((kind for kind in ("add", "history", "delete", "change") if page.endswith(f"/{kind}/")), "list")
            photograph(person, f"{model._meta.model_name}-{kind}")

    def test_of_the_frame_fit_and_break_no_policy(self, person: Person) -> None:
        person.open("/admin/login/")
        photograph(person, "login")
        user = operator()
        enter(person, user)
        for name, path in {
            "front": "/admin/",
            "app": "/admin/billing/",
            "password": "/admin/password_change/",
            "password-of": f"/admin/accounts/user/{user.pk}/password/",
        }.items():
            person.open(path)
            photograph(person, name)
