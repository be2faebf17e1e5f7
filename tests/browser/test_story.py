"""What a person with a wallet does, in a real browser: from the first sign-in to a revoked key."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import world
from tests.browser.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)

CALL = """async ([url, key, model]) => {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "Hello from a shop" }] }),
  });
  return { status: answer.status, reason: answer.headers.get("X-Faces-Reason"), body: await answer.json() };
}"""


def call_from(page: Page, origin: str, person: Person, key: str, model: str) -> Any:
    """A chat call made by a web page of that origin, as it sees the answer."""
    page.goto(origin)
    return page.evaluate(CALL, [person.site.url, key, model])


class TestStory:
    def test_from_sign_in_to_a_revoked_key(self, person: Person, elsewhere: int) -> None:
        model = world.model("echo:").model
        person.site.forget_routes()
        page = person.page
        person.sign_in()
        expect(page.get_by_role("heading", name="Welcome")).to_be_visible()

        page.get_by_role("link", name="Make a key").click()
        page.get_by_label("Name").fill("my page")
        page.get_by_label("Cap in USD").fill("-1")
        page.get_by_label("Web origins").fill("https://localhost/")
        page.get_by_role("button", name="Make key").click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was made")
        page.get_by_label("Cap in USD").fill("0.50")
        page.get_by_label("Web origins").fill("localhost")
        page.get_by_role("button", name="Make key").click()
        page.get_by_role("button", name="Copy key").click()
        key = page.evaluate("navigator.clipboard.readText()")
        assert key.startswith("sk-faces-")
        page.get_by_role("link", name="I have stored it").click()
        own_page = page.url

        shop = person.page.context.new_page()
        allowed, forbidden = f"http://localhost:{elsewhere}", f"http://127.0.0.1:{elsewhere}"
        assert call_from(shop, allowed, person, key, model)["reason"] == "balance_exhausted"

        person.open("/billing")
        page.get_by_label("$10", exact=True).check()
        page.get_by_role("button", name="Top up").click()
        expect(page.get_by_role("status")).to_contain_text("$10.00 added.")

        answer = call_from(shop, allowed, person, key, model)
        assert (answer["status"], answer["body"]["choices"][0]["message"]["content"]) == (200, "Hello from a shop")
        refused = call_from(shop, forbidden, person, key, model)
        assert (refused["status"], refused["body"]["detail"]) == (403, "Origin not in allowlist")

        person.open("/usage")
        expect(page.get_by_role("rowheader", name="my page")).to_be_visible()

        page.goto(own_page)
        page.get_by_role("button", name="Freeze").click()
        expect(page.locator("h1 .chip")).to_have_text("Frozen")
        assert call_from(shop, allowed, person, key, model)["reason"] == "key_frozen"
        page.get_by_role("button", name="Unfreeze").click()
        expect(page.locator("h1 .chip")).to_have_text("Live")
        page.get_by_role("link", name="Revoke").click()
        page.get_by_role("button", name="Revoke my page").click()
        assert call_from(shop, allowed, person, key, model)["status"] == 401
