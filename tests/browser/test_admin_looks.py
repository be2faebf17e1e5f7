"""The admin in a real browser: axe finds nothing, nothing is refused by the policy, nothing scrolls sideways, and every page
has its picture in `var/shots`."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db.models import Model
from django.test import RequestFactory
from django.urls import reverse
from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from accounts.models import UsedNonce, User, Wallet
from billing import holds
from billing.models import Price
from tests import world
from tests.browser.conftest import SHOTS, Person
from tests.browser.test_access import AXE, COLOURS, RUN, SIDEWAYS

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "an operator's long password"
AXED: dict[tuple[int, str], list[str] | None] = {(360, "light"): None, (1440, "dark"): COLOURS}
"""Where axe looks, and at which rules; None is all of them. The markup is the same everywhere, the colours are not."""
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def operator(person: Person) -> User:
    """The person is an operator, signed in."""
    user = User.objects.create_superuser(f"operator-{uuid7()}", PASSWORD)
    person.come_in(user)
    return user


def furnish(user: User) -> None:
    """A row of everything an operator may list."""
    customer = world.account(credit=25 * world.USD)
    address = f"0x{uuid7().hex}00000000"
    Wallet.objects.create(account=customer, address=address)
    Wallet.objects.create(account=world.account(is_staff=True), address=f"0x00000000{uuid7().hex}")
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


def pages_of(model: type[Model], user: User) -> dict[str, str]:
    """Where an operator can go with this model: list, add, one row, its history, its deletion."""
    request = RequestFactory().get("/")
    request.user = user
    site, name = admin.site._registry[model], f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pages = {"list": reverse(f"{name}_changelist"), "none": reverse(f"{name}_changelist") + "?q=nothing+like+it"}
    if site.has_add_permission(request):
        pages["add"] = reverse(f"{name}_add")
    row = model._default_manager.order_by("pk").last()
    if row is not None:
        pages |= {page: reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history")}
        if site.has_delete_permission(request, row):
            pages["delete"] = reverse(f"{name}_delete", args=[row.pk])
    return pages


class Eye:
    """Looks at the page the person has before them, at a desk and on a phone, in light and in dark."""

    def __init__(self, person: Person) -> None:
        self.page = person.page
        self.found: list[str] = []
        SHOTS.mkdir(parents=True, exist_ok=True)

    def look(self, name: str, *, severe: bool = False) -> None:
        """`severe` passes over what axe calls minor or moderate."""
        self.page.wait_for_load_state()
        for width, height in ((1440, 900), (360, 740)):
            self.page.set_viewport_size({"width": width, "height": height})
            if not self._fits():
                self.found.append(f"{name} {width}: scrolls sideways")
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self.page.screenshot(path=SHOTS / f"admin-{name}-{width}-{scheme}.png", full_page=True)
                if (width, scheme) in AXED:
                    problems = self._axe(AXED[width, scheme])
                    problems = [found for found in problems if not severe or found.startswith(("serious", "critical"))]
                    self.found += [f"{name} {width} {scheme}: {problem}" for problem in problems]

    def _fits(self) -> bool:
        """Scripts lay out anew after a change of size, in their own time."""
        for _ in range(40):
            if self.page.evaluate(SIDEWAYS) <= 0:
                return True
            self.page.wait_for_timeout(50)
        return False

    def _axe(self, rules: list[str] | None) -> Any:
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)
        return self.page.evaluate(RUN, [rules, []])


@pytest.fixture
def eye(person: Person) -> Eye:
    return Eye(person)


class TestPages:
    """`person` also fails where the browser complained, and a broken policy is such a complaint."""

    @pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
    def test_of_a_model_are_without_fault(self, person: Person, operator: User, eye: Eye, model: type[Model]) -> None:
        furnish(operator)
        for kind, page in pages_of(model, operator).items():
            answer = person.page.goto(f"{person.site.url}{page}")
            assert answer is not None
            assert answer.status == 200, page
            eye.look(f"{model._meta.model_name}-{kind}")
        assert eye.found == []

    def test_of_the_frame_are_without_fault(self, person: Person, operator: User, eye: Eye) -> None:
        for name, path in {
            "front": "/admin/",
            "app": "/admin/billing/",
            "password": "/admin/password_change/",
            "password-of": f"/admin/accounts/user/{operator.pk}/password/",
        }.items():
            person.open(path)
            eye.look(name)
        person.page.locator(".menu summary").click()
        eye.look("menu")
        person.page.get_by_role("button", name="Sign out").click()
        expect(person.page.get_by_role("heading", name="You are signed out")).to_be_visible()
        eye.look("signed-out")
        person.open("/admin/billing/hold/")
        eye.look("login")
        person.page.get_by_label("User name").fill("nobody")
        person.page.get_by_label("Password").fill("wrong")
        person.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(person.page.get_by_role("alert")).to_contain_text("No operator has this user name and password.")
        eye.look("login-refused")
        assert eye.found == []

    def test_keep_to_the_theme_chosen(self, person: Person, operator: User) -> None:
        person.open("/admin/accounts/user/")
        person.page.locator(".menu summary").click()
        person.page.get_by_label("Appearance").select_option("Dark")
        expect(person.page.locator("html")).to_have_attribute("data-theme", "dark")
        assert person.page.url.endswith("/admin/accounts/user/")
        expect(person.page.locator("body")).to_have_css("background-color", "rgb(13, 20, 18)")

    def test_lead_back_to_the_dashboard(self, person: Person, operator: User) -> None:
        person.open("/admin/accounts/user/")
        person.page.locator(".menu summary").click()
        person.page.get_by_role("link", name="Dashboard").click()
        person.page.wait_for_url(f"{person.site.url}/")


class TestParts:
    """What scripts of Django draw."""

    def test_of_a_refused_form_say_so(self, person: Person, operator: User, eye: Eye) -> None:
        furnish(operator)
        page = person.page
        person.open("/admin/billing/price/add/")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("alert")).to_be_focused()
        eye.look("price-refused")
        assert eye.found == []

    def test_that_find_a_row_find_it(self, person: Person, operator: User, eye: Eye) -> None:
        page = person.page
        person.open("/admin/accounts/wallet/add/")
        page.locator(".select2-selection").click()
        page.locator(".select2-search__field").fill(operator.get_username())
        page.get_by_role("option", name=operator.get_username()).wait_for()
        eye.look("part-autocomplete", severe=True)  # the list stands at the end of the page, in no landmark
        page.get_by_role("option", name=operator.get_username()).click()
        assert page.locator("#id_account").input_value() == str(operator.pk)
        assert eye.found == []

    def test_that_add_a_related_row_choose_it(self, person: Person, operator: User) -> None:
        person.open("/admin/billing/price/add/")
        with person.page.expect_popup() as opened:
            person.page.locator("#add_id_upstream").click()
        window, name = opened.value, f"upstream-{uuid7()}"
        assert window.evaluate(SIDEWAYS) <= 0
        window.get_by_label("Name").fill(name)
        window.get_by_label("Base url").fill("https://another.example/v1")
        with window.expect_event("close"):
            window.get_by_role("button", name="Save", exact=True).click()
        expect(person.page.locator("#id_upstream option:checked")).to_have_text(name)

    def test_that_choose_several_move_them(self, person: Person, operator: User) -> None:
        group = Group.objects.create(name=f"night shift {uuid7()}")
        person.open(f"/admin/accounts/user/{operator.pk}/change/")
        person.page.locator("#id_groups_from").select_option(label=group.name)
        person.page.locator("#id_groups_add").click()
        person.page.get_by_role("button", name="Save and stay").click()
        expect(person.page.get_by_role("status")).to_contain_text("changed")
        assert list(operator.groups.all()) == [group]

    def test_that_act_on_several_rows_ask_first(self, person: Person, operator: User, eye: Eye) -> None:
        groups = [Group.objects.create(name=f"to go {uuid7()}") for _ in range(2)]
        person.open("/admin/auth/group/?q=to+go")
        person.page.locator("#action-toggle").check()
        expect(person.page.locator(".action-counter")).to_contain_text("2 of 2")
        eye.look("part-actions")
        person.page.locator("[name=action]").select_option("delete_selected")
        person.page.get_by_role("button", name="Go").click()
        eye.look("part-ask")
        person.page.get_by_role("button", name="Delete 2 groups").click()
        expect(person.page.get_by_role("status")).to_contain_text("2 groups")
        assert not Group.objects.filter(pk__in=[group.pk for group in groups]).exists()
        assert eye.found == []


class TestSignIn:
    def test_with_a_password_leads_to_the_page_asked_for(self, person: Person) -> None:
        user = User.objects.create_superuser(f"operator-{uuid7()}", PASSWORD)
        person.open("/admin/billing/hold/")
        person.page.get_by_label("User name").fill(user.get_username())
        person.page.get_by_label("Password").fill(PASSWORD)
        person.page.get_by_role("button", name="Sign in", exact=True).click()
        person.page.wait_for_url(f"{person.site.url}/admin/billing/hold/")

    def test_with_a_wallet_leads_to_the_page_asked_for(self, person: Person) -> None:
        call_command("make_operator", person.wallet.address)
        person.open("/admin/billing/hold/")
        person.page.get_by_role("link", name="Sign in with your wallet").click()
        person.page.get_by_role("button", name="Harbour Wallet").click()
        person.page.wait_for_url(f"{person.site.url}/admin/billing/hold/")
        expect(person.page.get_by_role("heading", name="Holds")).to_be_visible()
        expect(person.page.get_by_role("link", name="Holds")).to_have_attribute("aria-current", "page")

    def test_tells_who_is_no_operator_so_and_shows_the_ways_out(self, person: Person, eye: Eye) -> None:
        person.sign_in()
        person.open("/admin/")
        expect(person.page.get_by_role("alert")).to_contain_text("This account is not an operator’s.")
        eye.look("not-an-operator")
        person.page.get_by_role("link", name="Back to the dashboard").click()
        person.page.wait_for_url(f"{person.site.url}/")
        person.open("/admin/")
        call_command("make_operator", person.wallet.address)
        person.open("/sign-in?next=/admin/")
        person.page.wait_for_url(f"{person.site.url}/admin/")
        assert eye.found == []


class TestKeyboard:
    def test_reaches_content_and_lists(self, person: Person, operator: User) -> None:
        person.open("/admin/billing/price/")
        person.page.keyboard.press("Tab")
        expect(person.page.get_by_role("link", name="Skip to content")).to_be_focused()
        person.page.keyboard.press("Enter")
        expect(person.page.locator("#main")).to_be_focused()
        for _ in range(40):
            person.page.keyboard.press("Tab")
            if person.page.evaluate("document.activeElement.matches('#searchbar')"):
                break
        expect(person.page.get_by_label("Search")).to_be_focused()


class TestPrices:
    def test_are_changed_in_the_browser(self, person: Person, operator: User) -> None:
        price = world.model("https://u.example/v1", name=f"gpt-{uuid7()}")
        person.open(f"/admin/billing/price/{price.model}/change/")
        person.page.get_by_label("Context tokens").fill("64000")
        person.page.get_by_role("button", name="Save", exact=True).click()
        expect(person.page.get_by_role("status")).to_contain_text("changed")
        assert Price.objects.get(pk=price.pk).context_tokens == 64_000
