"""Signing in with what wallets really do: each trouble says what happened, what it means and what to do, and can be tried again."""

from typing import Any

import pytest
from eth_account import Account
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import DECLINED, HANGS, Person, Wallet
from tests.service import Running

pytestmark = pytest.mark.django_db(transaction=True)

HARBOUR = "Harbour Wallet"


def pick(person: Person, name: str = HARBOUR) -> None:
    person.page.get_by_role("button", name=name).click()


def alert(person: Person) -> Locator:
    return person.page.get_by_role("alert")


def says(spot: Locator, *words: str) -> None:
    for part in words:
        expect(spot).to_contain_text(part)


def is_in(person: Person, path: str = "/") -> None:
    person.page.wait_for_url(f"{person.site.url}{path}")


def short(address: str) -> str:
    return f"{address[:6]}…{address[-4:]}"


class TestWallets:
    def test_of_several_one_is_chosen(self, person: Person) -> None:
        prism = Wallet("Prism")
        person.wallets.append(prism)
        person.open("/sign-in")
        expect(person.page.locator("[data-wallets] button")).to_contain_text([HARBOUR, "Prism"])
        pick(person, "Prism")
        is_in(person)
        assert person.page.get_by_label(f"Account {short(prism.account.address)}").is_visible()

    def test_without_one_it_says_what_to_do(self, person: Person) -> None:
        person.wallets = []
        person.open("/sign-in")
        expect(person.page.get_by_text("No wallet in this browser.")).to_be_visible()
        expect(person.page.get_by_text("Install a wallet extension")).to_be_visible()
        person.wallets = [person.harbour]
        person.page.get_by_role("link", name="Look again").click()
        pick(person)
        is_in(person)

    def test_one_that_comes_late_is_offered_all_the_same(self, person: Person) -> None:
        person.wallets = []
        person.open("/sign-in")
        expect(person.page.get_by_text("No wallet in this browser.")).to_be_visible()
        person.wallets = [person.harbour]
        person.page.evaluate("window.testAnnounce()")
        expect(person.page.get_by_text("No wallet in this browser.")).to_be_hidden()
        pick(person)
        is_in(person)

    def test_a_throw_away_one_signs_in_development(self, person: Person) -> None:
        person.open("/sign-in?next=/keys")
        pick(person, "Use a throw-away wallet")
        is_in(person, "/keys")

    def test_without_javascript_it_says_why_not(self, browser: Browser, site: Running) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{site.url}/sign-in")
        expect(page.locator("noscript .note")).to_be_visible()  # Playwright finds no text in a noscript
        assert "Signing in needs JavaScript, because your wallet lives" in page.locator("noscript .note").inner_text()
        expect(page.get_by_role("button")).to_have_count(0)
        context.close()


ODD = [
    ("eth_requestAccounts", {"result": []}, "Your wallet showed no account."),
    (
        "eth_requestAccounts",
        {"error": {"code": -32002, "message": "Already processing"}},
        "Your wallet has not answered yet.",
    ),
    ("eth_requestAccounts", {"result": None}, "Your wallet showed no account."),
    ("eth_requestAccounts", {"result": ["rubbish"]}, "We could not write the message to sign."),
    ("eth_chainId", {"error": {"code": 4900, "message": "Disconnected"}}, "It said: Disconnected"),
    ("personal_sign", {"error": None}, "It said: nothing"),
    ("personal_sign", {"error": {"code": -32603}}, "It said: error -32603"),
    ("personal_sign", {"error": {}}, "It said: nothing"),
    ("personal_sign", {"error": "<b>no</b>"}, "It said: <b>no</b>"),
    ("personal_sign", {"error": {"message": "x" * 5000}}, "It said: " + "x" * 160 + "…"),
    ("personal_sign", {"result": None}, "That signature did not fit the message."),
    ("personal_sign", {"error": {"message": "again"}}, "It said: again"),
    ("personal_sign", {"result": "0x" + "11" * 65}, "That signature did not fit the message."),
]


class TestTrouble:
    def test_declined(self, person: Person) -> None:
        person.open("/sign-in")
        for method in ("eth_requestAccounts", "personal_sign"):
            person.harbour.behaves = {method: DECLINED}
            pick(person)
            says(alert(person), "You declined the signature.", "Nothing happened.")
        person.harbour.behaves = {}
        pick(person)
        is_in(person)

    def test_odd_answers(self, person: Person) -> None:
        person.open("/sign-in")
        for method, answer, words in ODD:
            person.harbour.behaves = {method: answer}
            pick(person)
            expect(alert(person), f"{method}: {answer}").to_contain_text(words)
        person.harbour.behaves = {}
        pick(person)
        is_in(person)

    def test_a_wallet_that_hangs_may_be_picked_again(self, person: Person) -> None:
        person.page.clock.install()
        person.open("/sign-in")
        expect(person.page.get_by_role("button", name=HARBOUR)).to_be_visible()
        person.harbour.behaves = {"personal_sign": HANGS}
        person.page.get_by_role("button", name=HARBOUR).press("Enter")
        expect(person.page.get_by_role("button", name=HARBOUR)).to_be_disabled()
        person.page.clock.fast_forward(15_000)
        says(alert(person), "Your wallet has not answered yet.", "Nothing happened so far.")
        person.harbour.behaves = {}
        expect(person.page.get_by_role("button", name=HARBOUR)).to_be_enabled()
        person.page.get_by_role("button", name=HARBOUR).press("Enter")
        is_in(person)

    def test_the_service_away(self, person: Person) -> None:
        person.open("/sign-in")
        person.page.route("**/auth/nonce/**", lambda route: route.fulfill(status=503, body="{}"))
        pick(person)
        says(alert(person), "We could not write the message to sign.", "Nothing happened.", "it answered 503")
        person.page.unroute("**/auth/nonce/**")
        pick(person)
        is_in(person)
        assert person.troubles == [
            "Failed to load resource: the server responded with a status of 503 (Service Unavailable)"
        ]
        person.troubles.clear()

    def test_a_message_that_grew_old(self, person: Person, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its owner left the wallet's window open for longer than the message lives."""
        seconds, answer = settings.FACES_NONCE_SECONDS, person.harbour.answer

        def slow(method: str, params: list[Any]) -> Any:
            if method == "personal_sign":
                settings.FACES_NONCE_SECONDS = 0
            return answer(method, params)

        person.open("/sign-in?next=/keys")
        monkeypatch.setattr(person.harbour, "answer", slow)
        pick(person)
        says(alert(person), "The message was older than five minutes.", "Sign a fresh one.")
        monkeypatch.undo()
        settings.FACES_NONCE_SECONDS = seconds
        pick(person)
        is_in(person, "/keys")

    def test_a_page_of_another_address(self, person: Person, settings: Any) -> None:
        settings.FACES_PUBLIC_ORIGINS = ["https://faces.example"]
        person.open("/sign-in")
        pick(person)
        expect(alert(person)).to_contain_text("Do not sign. Open faces.example yourself.")


class TestChanges:
    def test_another_account_while_signing(self, person: Person) -> None:
        person.open("/sign-in")
        person.harbour.behaves = {"eth_accounts": {"result": [Account.create().address]}}
        pick(person)
        says(alert(person), "Your wallet changed while you were signing.", "Nothing happened.")

    def test_any_network_will_do(self, person: Person) -> None:
        person.harbour.chain = "0xa4b1"
        person.harbour.behaves = {"personal_sign": DECLINED}
        person.open("/sign-in")
        pick(person)
        expect(alert(person)).to_contain_text("You declined")
        person.harbour.behaves = {"personal_sign": HANGS}
        pick(person)
        says(
            person.page.get_by_role("status"), "Your wallet is on another network.", "To sign in, any network will do."
        )
        person.open("/sign-in")
        person.harbour.behaves = {}
        pick(person)
        is_in(person)

    def test_another_network_while_signing(self, person: Person) -> None:
        person.harbour.behaves = {"personal_sign": HANGS}
        person.open("/sign-in")
        pick(person)
        person.page.evaluate("name => window.testEmit(name, 'chainChanged', '0x1')", HARBOUR)
        expect(person.page.get_by_role("status")).to_contain_text("To sign in, any network will do.")

    def test_another_account_after_signing_in(self, person: Person) -> None:
        person.sign_in()
        first, second = person.wallet, Account.create()
        expect(alert(person)).to_be_hidden()
        person.page.evaluate(
            "([name, to]) => window.testEmit(name, 'accountsChanged', [to])", [HARBOUR, second.address]
        )
        words = f"Your wallet changed to {short(second.address)}. You are still signed in as {short(first.address)}. Sign in again to switch."
        expect(alert(person)).to_contain_text(words)
        person.page.evaluate("([name, to]) => window.testEmit(name, 'accountsChanged', [to])", [HARBOUR, first.address])
        expect(alert(person)).to_be_hidden()
        person.harbour.account = second
        person.open("/keys")  # the next page sees it without an event
        expect(alert(person)).to_contain_text(words)
        person.page.get_by_role("button", name="Sign in again").click()
        is_in(person, "/sign-in")
        pick(person)
        is_in(person)
        assert person.page.get_by_label(f"Account {short(second.address)}").is_visible()
        expect(alert(person)).to_be_hidden()

    def test_signing_out_ends_it(self, person: Person) -> None:
        person.sign_in()
        person.page.get_by_label("Account").click()
        person.page.get_by_role("button", name="Sign out").click()
        is_in(person, "/sign-in")
        person.open("/keys")
        person.page.wait_for_url("**/sign-in?next=%2Fkeys")
