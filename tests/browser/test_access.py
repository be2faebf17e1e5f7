"""Every page in a real browser, light and dark, on a phone and on a desk: axe-core finds nothing, nothing breaks the policy,
nothing scrolls sideways. A picture of each lies in `var/shots` afterwards."""

from importlib.resources import files
from typing import Any, Final

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from playwright.sync_api import Browser, Page, expect

from accounts.models import User
from tests import month, world
from tests.browser.conftest import DECLINED, SHOTS, Person, Wallet
from tests.service import Running

pytestmark = pytest.mark.django_db(transaction=True)

AXE: Final = (files("axe_playwright_python") / "axe.min.js").read_text()
COLOURS: Final = ["color-contrast", "link-in-text-block"]
RUN: Final = """async ([rules, without]) => {
  const found = await axe.run({ exclude: without }, {
    resultTypes: ["violations"], iframes: false, ...(rules ? { runOnly: { type: "rule", values: rules } } : {}),
  });
  return found.violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => `${impact} ${id}: ${node.target}`));
}"""
OPEN_ALL: Final = """() => document.querySelectorAll("details").forEach((part) => {
  part.removeAttribute("name");
  part.open = true;
})"""
WIDTHS: Final = (320, 360, 719, 720, 939, 940, 1440, 1600)
SIDEWAYS: Final = "document.documentElement.scrollWidth - innerWidth"


class Eye:
    """Looks at the page a person has before them and remembers what is wrong with it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.found: list[str] = []
        SHOTS.mkdir(parents=True, exist_ok=True)

    def look(self, name: str, *, without: list[str] | None = None) -> None:
        page = self.person.page
        if not page.evaluate("'axe' in window"):
            page.evaluate(AXE)  # by the driver: the page's policy would refuse it
        for width in (1440, 360):
            page.set_viewport_size({"width": width, "height": 900})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        page.evaluate(OPEN_ALL)
        for width, scheme, rules in (
            (360, "dark", COLOURS),
            (360, "light", None),
            (1440, "light", None),
            (1440, "dark", COLOURS),
        ):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for problem in page.evaluate(RUN, [rules, without or []]):
                self.found.append(f"{name} {width} {scheme}: {problem}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if (beyond := page.evaluate(SIDEWAYS)) > 0:
                self.found.append(f"{name} {width}: scrolls sideways by {beyond}")

    def visit(self, name: str, path: str) -> None:
        self.person.open(path)
        self.look(name)


@pytest.fixture
def eye(person: Person) -> Eye:
    return Eye(person)


class TestPages:
    """`person` also fails where the browser complained, and a broken policy is such a complaint."""

    def test_of_keys_at_work(self, person: Person, eye: Eye) -> None:
        at_work = month.lived(person.wallet.address)
        person.come_in(at_work.user)
        key = {name: row.id for name, row in at_work.keys.items()}
        eye.visit("overview", "/")
        eye.visit("keys", "/keys")
        for name, shot in (("web shop", "key"), ("ci-tests", "key-cap-reached"), ("nearly there", "key-near-cap"),
                           ("under paused", "key-frozen"), ("eu-west", "key-parent"), ("nightly summaries", "key-no-cap")):  # fmt: skip
            eye.visit(shot, f"/keys/{key[name]}")
        eye.visit("key-revoke", f"/keys/{key['batch']}/revoke")
        assert eye.found == []

    def test_of_money_at_work(self, person: Person, eye: Eye) -> None:
        world.model("echo:", name=f"echo-of-{person.wallet.address}")
        at_work = month.lived(person.wallet.address)
        person.come_in(at_work.user)
        for group in ("api_key_id", "date"):
            eye.visit(f"usage-{group}", f"/usage?group_by={group}")
        eye.visit("usage-none", "/usage?start_date=2025-01-01&end_date=2025-01-31")
        eye.visit("billing", "/billing")
        eye.visit("statement", "/billing/statement?limit=12")
        eye.visit("statement-none", "/billing/statement?start_date=2025-01-01&end_date=2025-01-31")
        eye.visit("receipt", f"/billing/payments/{at_work.topup.id}")
        person.page.emulate_media(media="print")
        expect(person.page.locator(".bar")).to_be_hidden()
        expect(person.page.locator(".receipt")).to_be_visible()
        person.page.screenshot(path=SHOTS / "receipt-print.png", full_page=True)
        person.page.emulate_media(media="screen")
        eye.visit("prices", "/prices")
        User.objects.filter(pk=at_work.user.pk).update(is_frozen=True)
        eye.visit("overview-frozen", "/")
        assert eye.found == []

    def test_of_a_new_account_and_refused_forms(self, person: Person, eye: Eye) -> None:
        person.come_in(person.account())
        for name, path in (("overview-new", "/"), ("keys-empty", "/keys"), ("key-new", "/keys/new"), ("usage-new", "/usage"),
                           ("billing-new", "/billing"), ("statement-new", "/billing/statement"),
                           ("statement-bad", "/billing/statement?start_date=2026-11-02&end_date=2026-11-01"), ("not-found", "/nothing-here")):  # fmt: skip
            eye.visit(name, path)
        page = person.page
        person.open("/keys/new")
        page.get_by_label("Cap in USD").fill("-5")
        page.get_by_label("Web origins").fill("https://harbourtea.example/shop\n*")
        page.get_by_role("button", name="Make key").click()
        expect(page.get_by_role("alert")).to_be_focused()
        eye.look("key-new-refused")
        page.get_by_label("Name").fill("web shop")
        page.get_by_label("Cap in USD").fill("20")
        page.get_by_label("Web origins").fill("harbourtea.example")
        page.get_by_role("button", name="Make key").click()
        eye.look("key-made")
        page.get_by_role("link", name="I have stored it").click()
        page.get_by_label("Cap in USD").fill("-5")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_be_focused()
        eye.look("key-edit-refused")
        person.open("/billing")
        page.get_by_label("Or another amount").fill("0.5")
        page.get_by_role("button", name="Top up").click()
        expect(page.get_by_role("alert")).to_be_focused()
        eye.look("billing-refused")
        page.context.clear_cookies(name="csrftoken")
        page.get_by_role("button", name="Top up").click()
        expect(page.get_by_role("heading", name="This form could not be checked")).to_be_visible()
        eye.look("forbidden")
        assert eye.found == []

    def test_of_failures_and_a_wallet_that_changed(
        self, person: Person, eye: Eye, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person.sign_in()
        person.harbour.account = Wallet("another").account
        person.open("/keys")
        expect(person.page.get_by_role("alert")).to_contain_text("Your wallet changed to")
        eye.look("wallet-changed")
        for name, error in (("error", RuntimeError("a bug")), ("database-away", OperationalError("server closed"))):

            def load(store: SessionStore, error: Exception = error) -> Any:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(SessionStore, "load", load)
                eye.visit(name, "/keys")
        person.troubles = [trouble for trouble in person.troubles if "status of 50" not in trouble]
        assert eye.found == []

    def test_of_signing_in(self, person: Person, eye: Eye) -> None:
        page = person.page
        person.wallets = []
        person.open("/sign-in")
        expect(page.get_by_text("No wallet in this browser.")).to_be_visible()
        eye.look("sign-in-none")
        person.wallets = [person.harbour, Wallet("Prism")]
        person.open("/sign-in")
        expect(page.get_by_role("button", name="Prism")).to_be_visible()
        eye.look("sign-in")
        person.harbour.behaves["personal_sign"] = DECLINED
        page.get_by_role("button", name="Harbour Wallet").click()
        expect(page.get_by_role("alert")).to_contain_text("You declined")
        eye.look("sign-in-declined")
        person.harbour.behaves["personal_sign"] = {"result": "0x" + "11" * 65}
        page.get_by_role("button", name="Harbour Wallet").click()
        expect(page.get_by_role("alert")).to_contain_text("did not fit")
        eye.look("sign-in-refused")
        assert eye.found == []

    def test_of_the_api_reference(self, person: Person, eye: Eye) -> None:
        """Swagger UI itself is third-party and exempt from axe; the page around it is ours, and so is the policy."""
        person.open("/api/docs")
        expect(person.page.locator("#swagger-ui .info")).to_be_visible()
        eye.look("api-docs", without=["#swagger-ui"])
        assert eye.found == []


FOCUSED: Final = """() => {
  const at = document.activeElement;
  const around = at.closest(".pick")?.querySelector("span") ?? at;
  const [style, after] = [getComputedStyle(around), getComputedStyle(around, "::after")];
  const width = (from) => (from.outlineStyle === "none" ? 0 : parseFloat(from.outlineWidth));
  const box = around.getBoundingClientRect();
  return {
    name: at === document.body ? "" : `${at.tagName.toLowerCase()} ${at.id || at.name || at.textContent.trim().slice(0, 40)}`,
    group: at.type === "radio" ? at.name : "",
    outline: Math.max(width(style), width(after)),
    isSeen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""
CONTROLS: Final = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
  .map((one) => ({
    name: `${one.tagName.toLowerCase()} ${one.id || one.name || one.textContent.trim().slice(0, 40)}`,
    group: one.type === "radio" ? one.name : "",
  }))"""
PAGES: Final = ("/", "/keys", "/keys/new", "/usage", "/billing", "/billing/statement", "/prices", "/nothing-here")


class TestKeyboard:
    def walk(self, page: Page) -> list[str]:
        """What is wrong on the way through the page by Tab alone."""
        wanted = page.evaluate(CONTROLS)
        reached: list[dict[str, Any]] = []
        wrong = []
        for _ in range(len(wanted) + 15):
            page.keyboard.press("Tab")
            at = page.evaluate(FOCUSED)
            if not at["name"]:
                break
            reached.append(at)
            if at["outline"] < 2 or not at["isSeen"]:
                wrong.append(f"{page.url}: focus is not visible on {at}")
        if reached[0]["name"] != "a Skip to content":
            wrong.append(f"{page.url}: begins with {reached[0]}")
        names, groups = {at["name"] for at in reached}, {at["group"] for at in reached}
        wrong += [
            f"{page.url}: never reached {one}"
            for one in wanted
            if one["name"] not in names and one["group"] not in groups - {""}
        ]
        return wrong

    def test_reaches_every_control_of_every_page_and_shows_where_it_is(self, person: Person) -> None:
        at_work = month.lived(person.wallet.address, calls_a_day=1)
        person.come_in(at_work.user)
        key = at_work.keys["web shop"].id
        paths = (*PAGES, f"/keys/{key}", f"/keys/{key}/revoke", f"/billing/payments/{at_work.topup.id}")
        wrong = []
        for path in paths:
            person.open(path)
            wrong += self.walk(person.page)
        assert wrong == []

    def test_signs_in_makes_a_key_tops_up_and_signs_out(self, person: Person) -> None:
        page = person.page
        keys = page.keyboard

        def go_to(name: str) -> None:
            """Tab until the control of this name has the focus."""
            for _ in range(60):
                keys.press("Tab")
                if page.evaluate(FOCUSED)["name"].endswith(name):
                    return
            pytest.fail(f"{name} cannot be reached on {page.url}")

        person.open("/sign-in")
        expect(page.get_by_role("button", name="Harbour Wallet")).to_be_visible()
        go_to("Harbour Walletdetected")
        keys.press("Enter")
        page.wait_for_url(f"{person.site.url}/")
        keys.press("Tab")
        keys.press("Enter")  # past the navigation
        assert page.url.endswith("#main")
        keys.press("Tab")
        assert page.evaluate(FOCUSED)["name"] == "a Make a key"
        keys.press("Enter")
        page.wait_for_url("**/keys/new")
        go_to("input name")
        keys.type("by keyboard")
        go_to("input cap")
        keys.type("-1")
        keys.press("Enter")
        expect(page.get_by_role("alert")).to_be_focused()
        go_to("input cap")
        keys.press("Control+a")
        keys.type("0.50")
        keys.press("Enter")
        page.wait_for_selector("#secret")
        go_to("Copy key")
        keys.press("Enter")
        expect(page.locator(".toasts")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()").startswith("sk-faces-")
        go_to("summary Python, openai")
        keys.press("Enter")
        expect(page.get_by_role("region", name="Python example")).to_be_visible()

        person.open("/billing")
        go_to("input amount")
        keys.press("ArrowRight")
        go_to("button Top up")
        keys.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("$50.00 added.")

        summary = page.locator("summary[aria-label^=Account]")
        summary.focus()
        keys.press("Enter")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        keys.press("Tab")
        keys.press("Escape")
        expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
        expect(summary).to_be_focused()
        keys.press("Enter")
        go_to("button Sign out")
        keys.press("Enter")
        page.wait_for_url(f"{person.site.url}/sign-in")

    def test_reads_a_chart_day_by_day(self, person: Person) -> None:
        person.come_in(month.lived(person.wallet.address, calls_a_day=1).user)
        person.open("/")
        page = person.page
        chart, readout = page.locator("[data-chart] svg[role=img]"), page.locator("[data-out]")
        days = page.locator("[data-chart] .day")
        said = [str(days.nth(at).get_attribute("data-read")).replace(":", "") for at in (0, 28, 29)]
        chart.focus()
        for key, words in (("ArrowLeft", said[2]), ("ArrowLeft", said[1]), ("ArrowRight", said[2]), ("ArrowRight", said[2]),
                           ("Home", said[0]), ("ArrowLeft", said[0]), ("End", said[2]), ("Escape", "Spend per day")):  # fmt: skip
            page.keyboard.press(key)
            expect(readout).to_contain_text(words)


class TestWithoutJavaScript:
    def test_makes_a_key_tops_up_reads_and_revokes(self, browser: Browser, site: Running) -> None:
        context = browser.new_context(java_script_enabled=False)
        context.set_default_timeout(10_000)
        person = Person(context, site)
        page = person.page
        person.come_in(world.account())
        person.open("/keys/new")
        page.get_by_label("Name").fill("plain")
        page.get_by_label("Cap in USD").fill("2")
        page.get_by_role("button", name="Make key").click()
        assert page.locator("#secret").inner_text().startswith("sk-faces-")
        page.get_by_role("link", name="I have stored it").click()
        page.get_by_label("Cap in USD").fill("3")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("Saved.")
        page.get_by_role("button", name="Freeze").click()
        expect(page.get_by_role("status")).to_contain_text("plain is frozen.")
        person.open("/billing")
        page.get_by_label("$50", exact=True).check()
        page.get_by_role("button", name="Top up").click()
        expect(page.get_by_role("status")).to_contain_text("$50.00 added.")
        page.get_by_role("link", name="Statement").click()
        page.get_by_label("Kind").select_option("Top-up")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("cell", name="+50.000000000")).to_be_visible()
        page.get_by_role("link", name="Keys", exact=True).click()
        page.get_by_role("link", name="plain").click()
        page.get_by_text("Same figures as a table").click()
        expect(page.get_by_role("region", name="Spend per day, as a table")).to_be_visible()
        page.get_by_role("link", name="Revoke").click()
        page.get_by_role("button", name="Revoke plain").click()
        expect(page.get_by_role("status")).to_contain_text("plain is revoked.")
        page.locator("summary[aria-label^=Account]").click()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{site.url}/sign-in")
        context.close()
        assert person.troubles == []


NOTE_SUBMITS: Final = """() => addEventListener("submit", ({ submitter, defaultPrevented }) => {
  if (!defaultPrevented) setTimeout(() => {
    const before = JSON.parse(sessionStorage.submits ?? "[]");
    sessionStorage.submits = JSON.stringify([...before, [submitter.textContent, submitter.disabled]]);
  });
})"""


class TestSentOnce:
    def test_the_button_says_what_goes_on_until_the_answer_is_there(self, person: Person) -> None:
        user = world.account()
        person.come_in(user)
        person.open("/billing")
        page = person.page
        page.evaluate(NOTE_SUBMITS)
        page.get_by_role("button", name="Top up").evaluate("(button) => { button.click(); button.click(); }")
        expect(page.get_by_role("status")).to_contain_text("$25.00 added.")
        expect(page.get_by_role("button", name="Top up")).to_be_enabled()
        page.go_back()
        expect(page.get_by_role("button", name="Top up")).to_be_enabled()
        assert page.evaluate("JSON.parse(sessionStorage.submits)") == [["Topping up…", True]]
        assert world.money(user) == (25 * world.USD, 0)
