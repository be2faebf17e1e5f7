"""A real browser against the running service, with a wallet of the test's own in it (EIP-1193, announced by EIP-6963)."""

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from accounts import wallets
from accounts.addresses import Address
from accounts.models import User
from tests.service import Running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SHOTS = Path(__file__).resolve().parents[2] / "var" / "shots"
DECLINED = {"error": {"code": 4001, "message": "User rejected the request."}}
HANGS = {"hangs": True}

# What the extensions of a browser do to every page: each wallet answers as the test's `Wallet` of its name says.
WALLETS = """
const heard = {};
window.testEmit = (name, event, value) => (heard[name + event] ?? []).forEach((tell) => tell(value));
const icon = "data:image/svg+xml," + encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 22 22"><rect width="22" height="22" rx="5" fill="#2b3f5c"/></svg>');
const provider = (name) => ({
  on: (event, tell) => (heard[name + event] ??= []).push(tell),
  async request({ method, params }) {
    const answer = await window.testWallet(name, method, params ?? []);
    if (answer.hangs) return new Promise(() => {});
    if ("error" in answer) throw answer.error;
    return answer.result;
  },
});
const announced = {};
window.testAnnounce = async () => {
  for (const name of await window.testWallets()) {
    announced[name] ??= Object.freeze({
      info: { uuid: `test-${name}`, name, icon, rdns: `test.${name.toLowerCase().replace(" ", "")}` }, provider: provider(name),
    });
    dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: announced[name] }));
  }
};
addEventListener("eip6963:requestProvider", window.testAnnounce);
window.testAnnounce();
"""


@pytest.fixture(scope="session", autouse=True)
def _leave_no_connection(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Connections opened beside Playwright belong to a context that is gone at the end; left open, they would keep the test
    database from being dropped."""
    yield
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"SELECT count(pg_terminate_backend(pid)) {others}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. As long as it runs, Playwright has an event loop in this thread: Django would take the ORM's caller for an
    async view, and no other test could run a loop of its own, so it ends with the module."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def site(faces: Running, settings: Any) -> Running:
    """The service, its own address among the origins people open."""
    settings.FACES_PUBLIC_ORIGINS = [faces.url]
    return faces


class Wallet:
    """A wallet of the browser. `behaves` says what a method answers instead of what it should: `{"result": …}`,
    `{"error": …}` or HANGS."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.account: LocalAccount = Account.create()
        self.chain = "0x2105"
        self.behaves: dict[str, Any] = {}

    def answer(self, method: str, params: list[Any]) -> Any:
        if method in self.behaves:
            return self.behaves[method]
        if method in ("eth_requestAccounts", "eth_accounts"):
            return {"result": [self.account.address]}
        if method == "eth_chainId":
            return {"result": self.chain}
        if method == "personal_sign":
            signed = self.account.sign_message(encode_defunct(hexstr=params[0]))
            return {"result": str(signed.signature.to_0x_hex())}
        return {"error": {"code": 4200, "message": method}}


class Person:
    """Somebody at a browser with wallets. `troubles` is what the browser complained of."""

    def __init__(self, context: BrowserContext, site: Running) -> None:
        self.harbour = Wallet("Harbour Wallet")
        self.wallets = [self.harbour]
        self.troubles: list[str] = []
        self.site = site
        context.expose_function("testWallets", lambda: [wallet.name for wallet in self.wallets])
        context.expose_function("testWallet", self._ask)
        context.add_init_script(WALLETS)
        context.set_default_timeout(10_000)
        self.page: Page = context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    @property
    def wallet(self) -> LocalAccount:
        return self.harbour.account

    def open(self, path: str) -> None:
        self.page.goto(f"{self.site.url}{path}")

    def sign_in(self) -> None:
        self.open("/sign-in")
        self.page.get_by_role("button", name="Harbour Wallet").click()
        self.page.wait_for_url(f"{self.site.url}/")

    def account(self) -> User:
        """A new account of this person's wallet."""
        return wallets.find_or_open(address=Address(self.wallet.address.lower())).account

    def come_in(self, user: User) -> None:
        """Be signed in as somebody without a wallet's help."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"].value
        self.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": self.site.url}])

    def _ask(self, name: str, method: str, params: list[Any]) -> Any:
        return next(wallet for wallet in self.wallets if wallet.name == name).answer(method, params)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.troubles.append(message.text)


@pytest.fixture
def person(browser: Browser, site: Running) -> Iterator[Person]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    person = Person(context, site)
    yield person
    context.close()
    assert person.troubles == []


class _Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A shop</title>")

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[int]:
    """The port of another site, answering at localhost and at 127.0.0.1: two origins that are not the service's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()
