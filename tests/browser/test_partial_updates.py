"""What changes in place, in a real browser: filters, older rows, running calls, freezing. Without JavaScript the same links and
forms load whole pages, which `test_access` and the tests of the views hold."""

import re
from typing import Final

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import Browser, Page, Request, Route, expect

from apikeys.models import ApiKey
from billing import holds
from billing.models import Hold, HoldStatus
from billing.rates import Usage
from tests import month
from tests.browser.conftest import Person
from tests.browser.test_access import AXE, RUN
from tests.service import Running

pytestmark = pytest.mark.django_db(transaction=True)

EVERY_MS: Final = 5_000
"""How often running calls are looked at."""


@pytest.fixture
def at_work(person: Person) -> month.Month:
    """The account of a month of work, signed in."""
    found = month.lived(person.wallet.address)
    person.come_in(found.user)
    return found


def mark(page: Page) -> None:
    page.evaluate("window.isSame = true")


def is_same(page: Page) -> bool:
    """Whether no other page was loaded since `mark`."""
    return bool(page.evaluate("window.isSame === true"))


def faults(page: Page) -> list[str]:
    page.evaluate(AXE)
    found: list[str] = page.evaluate(RUN, [None, []])
    return found


def asked(page: Page, path: str) -> list[Request]:
    """The parts asked for from now on."""
    found: list[Request] = []
    page.on(
        "request",
        lambda request: (
            found.append(request) if request.url.endswith(path) and "hx-request" in request.headers else None
        ),
    )
    return found


def settle(at_work: month.Month, most: int) -> None:
    for hold in Hold.objects.filter(account_id=at_work.user.id, status=HoldStatus.PENDING)[:most]:
        usage = Usage(input=10, output=10)
        holds.settle(
            account_id=at_work.user.id, hold_id=hold.id, cost_nanousd=1_000_000, usage=usage, outcome="ok",
            is_counted=False, now=timezone.now(),
        )  # fmt: skip


def is_frozen(key: ApiKey) -> bool:
    return ApiKey.objects.get(id=key.id).is_frozen


def note(person: Person) -> str:
    """What the page says of an update that did not come. The browser's complaint about it is expected."""
    alert = person.page.get_by_role("alert").filter(has_text="This page could not be updated.")
    expect(alert).to_be_visible()
    person.troubles.clear()
    return alert.inner_text()


class TestFilters:
    def test_of_usage_change_the_result_and_nothing_else(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/usage")
        mark(page)
        answer, choice = page.locator("#answer"), page.get_by_label("Key", exact=True)
        before = answer.inner_text()
        choice.focus()
        choice.select_option(label="ci-tests")
        expect(answer).to_contain_text("$5.00 for 1 call from")
        expect(answer).to_have_attribute("aria-live", "polite")
        expect(page.locator("tbody th[scope=row]").last).to_be_attached()
        expect(choice).to_be_focused()
        key_id = at_work.keys["ci-tests"].id
        assert f"key={key_id}" in page.url
        assert f"key={key_id}" in str(page.get_by_role("link", name="CSV").get_attribute("href"))
        chart = page.locator("[data-chart] svg[role=img]")
        chart.focus()
        page.keyboard.press("End")
        expect(page.locator("[data-out]")).to_contain_text("$5.00")
        assert is_same(page)
        assert faults(page) == []
        link = page.url
        page.go_back()
        expect(answer).to_have_text(before)
        expect(choice).to_have_value("")
        page.go_forward()
        expect(answer).to_contain_text("$5.00 for 1 call from")
        expect(choice).to_have_value(str(key_id))
        assert page.url == link
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0

    def test_of_the_statement_do_too(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/billing/statement")
        mark(page)
        page.get_by_label("Kind").select_option("adjustment")
        expect(page.locator("#lines > tr")).to_have_count(1)
        expect(page.locator("#answer")).to_contain_text("1 line, back to")
        page.get_by_label("From").fill("2025-01-01")
        page.get_by_label("To, included").fill("2025-01-31")
        expect(page.get_by_role("heading", name="Nothing moved with these filters")).to_be_visible()
        expect(page.locator("#answer")).to_contain_text("Nothing moved with these filters")
        page.get_by_label("From").fill("2025-02-01")
        expect(page.get_by_role("alert")).to_contain_text("These filters cannot be used.")
        assert is_same(page)
        assert faults(page) == []

    def test_say_in_words_that_they_work(self, person: Person, at_work: month.Month) -> None:
        page, held = person.page, list[Route]()
        person.open("/usage")
        page.route("**/usage?*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
        button = page.get_by_role("button", name="Show")
        button.click()
        expect(page.get_by_role("button", name="Updating…")).to_be_visible()
        held[0].continue_()
        expect(button).to_be_visible()
        expect(button).to_be_focused()

    def test_say_when_nothing_comes(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/usage")
        mark(page)
        before, choice = page.locator("#answer").inner_text(), page.get_by_label("Group by")
        page.context.set_offline(True)
        choice.select_option("date")
        assert "No answer came: you may be offline." in note(person)
        assert page.locator("#answer").inner_text() == before
        assert faults(page) == []
        assert "group_by=date" in str(page.get_by_role("link", name="Open it again").get_attribute("href"))
        page.context.set_offline(False)
        page.route("**/usage?*", lambda route: route.fulfill(status=503, body="<p>Away</p>"), times=1)
        choice.select_option("llm_model")
        expect(page.get_by_role("alert")).to_contain_text("The service answered 503.")
        note(person)
        choice.select_option("date")
        expect(page.get_by_role("heading", name="Each day")).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
        assert is_same(page)

    def test_lead_to_the_sign_in_page_when_the_session_ended(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/usage")
        Session.objects.all().delete()
        page.get_by_label("Group by").select_option("date")
        page.wait_for_url(re.compile("/sign-in.next=.*group_by%3Ddate"))
        expect(page.locator("main")).to_have_count(1)
        expect(page.locator(".filters")).to_have_count(0)
        assert page.evaluate("typeof htmx") == "undefined"


class TestOlder:
    def test_lines_of_the_statement_come_beneath(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/billing/statement?limit=40")
        mark(page)
        rows, link = page.locator("#lines > tr"), page.get_by_role("link", name="Older")
        url, said = page.url, page.locator("#answer").inner_text()
        link.click()
        expect(rows).to_have_count(80)
        expect(link).to_be_focused()
        expect(page.locator("footer [data-rows]")).to_have_text("80 lines on this page")
        expect(page.locator("#answer")).not_to_have_text(said)
        link.click()
        expect(page.locator("#older")).to_have_count(0)
        texts = rows.all_inner_texts()
        assert len(texts) == len(set(texts)) > 80
        expect(rows.nth(80)).to_be_focused()
        assert is_same(page)
        assert page.url == url
        assert faults(page) == []

    def test_keys_come_beneath(self, person: Person) -> None:
        page, at_work = person.page, month.lived(person.wallet.address, calls_a_day=1, more_keys=60)
        person.come_in(at_work.user)
        person.open("/keys")
        mark(page)
        expect(page.locator("#roots > li")).to_have_count(50)
        page.get_by_role("link", name="Older keys").click()
        expect(page.get_by_text("These are the oldest.")).to_be_visible()
        names = page.locator("#roots .name a").all_inner_texts()
        assert sorted(names) == sorted(at_work.keys)
        expect(page.locator("#roots > li").nth(50)).to_be_focused()
        assert is_same(page)
        assert faults(page) == []

    def test_open_in_a_tab_of_their_own_when_asked(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        person.open("/billing/statement?limit=40")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Older").click(modifiers=["Control"])
        opened.value.wait_for_url(re.compile("cursor="))
        expect(page.locator("#lines > tr")).to_have_count(40)


class TestRunningCalls:
    @pytest.mark.parametrize("name", ["overview", "key"])
    def test_are_followed_while_they_run(self, person: Person, at_work: month.Month, name: str) -> None:
        page = person.page
        path = "/" if name == "overview" else f"/keys/{at_work.keys['web shop'].id}"
        page.clock.install()
        person.open(path)
        mark(page)
        parts, held = asked(page, path), page.locator("#sum dt").filter(has_text="Held for")
        expect(held).to_have_text("Held for 2 running calls")
        link = page.get_by_role("link", name="All usage" if name == "overview" else "Statement of this key")
        link.focus()
        settle(at_work, 1)
        page.clock.run_for(EVERY_MS)
        expect(held).to_have_text("Held for 1 running call")
        expect(page.locator("#recent").get_by_text("Running")).to_have_count(1)
        expect(link).to_be_focused()
        settle(at_work, 1)
        page.clock.run_for(EVERY_MS)
        expect(held).to_have_count(0)
        expect(page.locator("#recent").get_by_text("Running")).to_have_count(0)
        page.clock.run_for(4 * EVERY_MS)
        assert len(parts) == 2
        assert is_same(page)
        assert faults(page) == []

    def test_leave_the_chart_to_who_reads_it(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        page.clock.install()
        person.open("/")
        chart, out = page.locator("[data-chart] svg[role=img]"), page.locator("[data-out]")
        chart.focus()
        page.keyboard.press("End")
        before = out.inner_text()
        settle(at_work, 1)
        page.clock.run_for(EVERY_MS)
        expect(page.locator("#sum")).to_contain_text("Held for 1 running call")
        assert out.inner_text() == before
        page.keyboard.press("Home")
        assert out.inner_text() != before
        page.get_by_role("link", name="All keys").focus()
        page.mouse.move(0, 0)
        settle(at_work, 1)
        page.clock.run_for(EVERY_MS)
        expect(page.locator("#sum")).not_to_contain_text("Held for")
        chart.focus()
        page.keyboard.press("End")
        expect(out).not_to_have_text(before)

    def test_are_not_followed_in_a_tab_behind(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        page.clock.install()
        person.open("/")
        parts = asked(page, "/")
        page.evaluate("Object.defineProperty(document, 'hidden', { get: () => !window.inFront, configurable: true })")
        page.clock.run_for(4 * EVERY_MS)
        assert parts == []
        page.evaluate("window.inFront = true")
        settle(at_work, 1)
        page.clock.run_for(EVERY_MS)
        expect(page.locator("#sum")).to_contain_text("Held for 1 running call")

    def test_of_who_signed_in_meanwhile_are_never_mixed_in(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        page.clock.install()
        person.open("/")
        mark(page)
        other = month.lived("0x" + "ef" * 20, calls_a_day=1)
        person.come_in(other.user)
        page.clock.run_for(EVERY_MS)
        expect(page.locator(f"[data-account='{other.user.id}']")).to_be_attached()
        assert not is_same(page)

    def test_that_cannot_be_read_say_so_once(self, person: Person, at_work: month.Month) -> None:
        page = person.page
        page.clock.install()
        person.open("/")
        page.context.set_offline(True)
        for _ in range(3):
            with page.expect_event("requestfailed"):
                page.clock.run_for(EVERY_MS)
        note(person)
        expect(page.get_by_role("alert")).to_have_count(1)
        page.context.set_offline(False)
        page.clock.run_for(EVERY_MS)
        expect(page.get_by_role("alert")).to_have_count(0)
        person.troubles.clear()


class TestFreezing:
    def test_happens_in_place_and_is_said_twice(self, person: Person, at_work: month.Month) -> None:
        page, key = person.page, at_work.keys["nightly summaries"]
        page.clock.install()
        person.open(f"/keys/{key.id}")
        mark(page)
        page.get_by_label("Name").fill("half written")
        page.get_by_role("button", name="Freeze").click()
        toast = page.get_by_role("status")
        expect(toast).to_contain_text("nightly summaries is frozen.")
        expect(page.locator("h1 .chip")).to_have_text("Frozen")
        expect(page.get_by_text("This key is frozen.")).to_be_visible()
        button = page.get_by_role("button", name="Unfreeze")
        expect(button).to_be_focused()
        assert is_frozen(key)
        assert faults(page) == []
        page.clock.run_for(6_000)
        expect(toast).to_be_empty()
        button.click()
        expect(toast).to_contain_text("nightly summaries is no longer frozen.")
        expect(page.locator("h1 .chip")).to_have_text("Live")
        assert not is_frozen(key)
        expect(page.get_by_label("Name")).to_have_value("half written")
        assert is_same(page)

    def test_of_a_key_that_is_gone_says_so(self, person: Person, at_work: month.Month) -> None:
        page, key = person.page, at_work.keys["nightly summaries"]
        person.open(f"/keys/{key.id}")
        ApiKey.objects.filter(id=key.id).update(revoked_at=timezone.now())
        page.get_by_role("button", name="Freeze").click()
        assert "The service answered 404." in note(person)

    def test_leads_to_the_sign_in_page_when_the_session_ended(self, person: Person, at_work: month.Month) -> None:
        page, key = person.page, at_work.keys["nightly summaries"]
        person.open(f"/keys/{key.id}")
        Session.objects.all().delete()
        page.get_by_role("button", name="Freeze").click()
        page.wait_for_url("**/sign-in")
        assert not is_frozen(key)


class TestWithoutJavaScript:
    def test_the_same_links_and_forms_load_whole_pages(self, browser: Browser, site: Running) -> None:
        context = browser.new_context(java_script_enabled=False)
        person = Person(context, site)
        at_work, page = month.lived(person.wallet.address), person.page
        person.come_in(at_work.user)
        person.open("/billing/statement?limit=40")
        page.get_by_role("link", name="Older").click()
        page.wait_for_url(re.compile("cursor="))
        expect(page.locator("#lines > tr")).to_have_count(40)
        page.get_by_label("Kind").select_option("adjustment")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#lines > tr")).to_have_count(1)
        person.open(f"/keys/{at_work.keys['nightly summaries'].id}")
        page.get_by_role("button", name="Freeze").click()
        expect(page.locator("main > .note[role=status]")).to_contain_text("nightly summaries is frozen.")
        context.close()
        assert person.troubles == []
