"""Every page in a real browser, light and dark, on a phone and on a desk: axe-core finds nothing, nothing breaks the policy,
nothing scrolls sideways. A picture of each lies in `var/shots` afterwards."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests import world
from tests.browser import month
from tests.browser.conftest import DECLINED, SHOTS, Person, Wallet

pytestmark = pytest.mark.django_db(transaction=True)

AXE: Final = (files("axe_playwright_python") / "axe.min.js").read_text()
COLOURS: Final = ["color-contrast", "link-in-text-block"]
RUN: Final = """async ([rules, without]) => {
  const found = await axe.run({ exclude: without }, {
    resultTypes: ["violations"], ...(rules ? { runOnly: { type: "rule", values: rules } } : {}),
  });
  return found.violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => `${impact} ${id}: ${node.target}`));
}"""
OPEN_ALL: Final = """() => document.querySelectorAll("details").forEach((part) => {
  part.removeAttribute("name");
  part.open = true;
})"""
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
            if page.evaluate(SIDEWAYS) > 0:
                self.found.append(f"{name} {width}: scrolls sideways by {page.evaluate(SIDEWAYS)}")

    def visit(self, name: str, path: str) -> None:
        self.person.open(path)
        self.look(name)


@pytest.fixture
def eye(person: Person) -> Eye:
    return Eye(person)


class TestPages:
    """`person` also fails where the browser complained, and a broken policy is such a complaint."""

    def test_of_an_account_at_work(self, person: Person, eye: Eye) -> None:
        world.model("echo:", name="echo-of-access")
        at_work = month.lived(person.wallet.address)
        person.come_in(at_work.user)
        key = {name: row.id for name, row in at_work.keys.items()}
        eye.visit("overview", "/")
        eye.visit("keys", "/keys")
        for name, shot in (("web shop", "key"), ("ci-tests", "key-cap-reached"), ("nearly there", "key-near-cap"),
                           ("under paused", "key-frozen"), ("eu-west", "key-parent"), ("nightly summaries", "key-no-cap")):  # fmt: skip
            eye.visit(shot, f"/keys/{key[name]}")
        eye.visit("key-revoke", f"/keys/{key['batch']}/revoke")
        for group in ("api_key_id", "llm_model", "date"):
            eye.visit(f"usage-{group}", f"/usage?group_by={group}")
        eye.visit("usage-none", "/usage?start_date=2025-01-01&end_date=2025-01-31")
        eye.visit("billing", "/billing")
        eye.visit("statement", "/billing/statement")
        eye.visit("statement-none", "/billing/statement?start_date=2025-01-01&end_date=2025-01-31")
        eye.visit("receipt", f"/billing/payments/{at_work.topup.id}")
        eye.visit("prices", "/prices")
        assert eye.found == []

    def test_of_a_new_account_and_refused_forms(self, person: Person, eye: Eye) -> None:
        person.come_in(world.account())
        for name, path in (("overview-new", "/"), ("keys-empty", "/keys"), ("key-new", "/keys/new"), ("usage-new", "/usage"),
                           ("billing-new", "/billing"), ("statement-new", "/billing/statement"),
                           ("statement-bad", "/billing/statement?start_date=tomorrow"), ("not-found", "/nothing-here")):  # fmt: skip
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
