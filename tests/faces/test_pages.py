"""Every page of the dashboard, walked by its URL pattern: who may open it, what a GET and what a form may change, and how many
queries it takes. A page that is added must be added here."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, get_resolver, reverse
from uuid_utils.compat import uuid7

from accounts.models import User
from tests import month, world

pytestmark = pytest.mark.django_db

NO_PAGES: Final = ("v1/", "auth/", "api/", "admin", "^(?:v1|auth)", "healthz", "readyz", "metrics")
READ: Final = {
    "home",
    "keys",
    "key",
    "usage",
    "billing",
    "statement",
    "receipt",
    "prices",
    "key-new",
    "key-revoke",
    "sign-in",
}
WRITE: Final = {
    "billing",
    "key-new",
    "key-revoke",
    "key-change",
    "key-freeze",
    "key-unfreeze",
    "sign-in",
    "sign-out",
    "appearance",
}
OPEN: Final = {"home", "sign-in", "sign-out", "appearance"}
"""Pages that know what to do with somebody who is not signed in."""
OF_A_KEY: Final = {"key", "key-revoke", "key-change", "key-freeze", "key-unfreeze"}
OF_A_TOPUP: Final = {"receipt"}
MONEY_AND_KEYS: Final = (
    "accounts.User",
    "apikeys.ApiKey",
    "billing.CreditAccount",
    "billing.Transfer",
    "billing.Hold",
    "billing.TopUp",
)
QUERIES: Final = {
    "home": 13, "keys": 7, "key": 10, "usage": 9, "billing": 6, "statement": 8, "receipt": 5, "prices": 5, "key-new": 9,
    "key-revoke": 6,
}  # fmt: skip


def patterns(found: list[Any]) -> Iterator[URLPattern]:
    for pattern in found:
        if isinstance(pattern, URLPattern):
            yield pattern
        elif getattr(pattern, "namespace", None) is None:  # the admin has a namespace, and tests of its own
            yield from patterns(pattern.url_patterns)


def names() -> set[str]:
    found = patterns(get_resolver().url_patterns)
    return {str(pattern.name) for pattern in found if not str(pattern.pattern).startswith(NO_PAGES)}


def path(name: str, at_work: month.Month) -> str:
    if name in OF_A_KEY:
        return reverse(name, args=[at_work.keys["web shop"].id])
    return reverse(name, args=[at_work.topup.id] if name in OF_A_TOPUP else [])


def client(user: User | None, **options: Any) -> Client:
    browser = Client(**options)
    if user is not None:
        browser.force_login(user)
    return browser


def all_rows() -> dict[str, list[Any]]:
    """All of money and keys, to be compared; not when somebody last came."""
    return {name: list(apps.get_model(name).objects.order_by("pk").values()) for name in MONEY_AND_KEYS}


@pytest.fixture
def at_work() -> month.Month:
    return month.lived("0x" + "ab" * 20, calls_a_day=1)


class TestEveryPage:
    def test_is_in_these_lists(self) -> None:
        assert names() == READ | WRITE

    @pytest.mark.parametrize("name", sorted(READ | WRITE))
    def test_changes_nothing_on_a_get(self, at_work: month.Month, name: str) -> None:
        browser = client(at_work.user)
        before = all_rows()
        status = browser.get(path(name, at_work)).status_code
        assert status == (302 if name == "sign-in" else 200 if name in READ else 405)
        assert all_rows() == before

    @pytest.mark.parametrize("name", sorted(READ | WRITE))
    def test_takes_no_form_without_its_token(self, at_work: month.Month, name: str) -> None:
        browser = client(at_work.user, enforce_csrf_checks=True)
        before = all_rows()
        answer = browser.post(path(name, at_work), {"name": "x", "amount": "25", "payment_ref": f"test-{uuid7()}"})
        assert answer.status_code == 403
        assert "This form could not be checked" in answer.content.decode()
        assert all_rows() == before
        assert browser.get("/keys").status_code == 200, "still signed in"

    @pytest.mark.parametrize("name", sorted(READ - WRITE - {"home"}))
    def test_that_only_reads_takes_no_form_at_all(self, at_work: month.Month, name: str) -> None:
        assert client(at_work.user).post(path(name, at_work)).status_code == 405

    @pytest.mark.parametrize("name", sorted((READ | WRITE) - OPEN))
    def test_sends_a_stranger_to_sign_in(self, at_work: month.Month, name: str) -> None:
        before = all_rows()
        for method in ("get", "post"):
            answer = getattr(client(None), method)(path(name, at_work), {"name": "x", "amount": "25"})
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/sign-in")
        assert all_rows() == before

    @pytest.mark.parametrize("name", sorted(OF_A_KEY | OF_A_TOPUP))
    def test_of_another_account_is_not_found(self, at_work: month.Month, name: str) -> None:
        browser = client(world.account())
        before = all_rows()
        statuses = {
            browser.get(path(name, at_work)).status_code,
            browser.post(path(name, at_work), {"name": "x"}).status_code,
        }
        assert 404 in statuses
        assert statuses <= {404, 405}
        assert "web shop" not in browser.get(path(name, at_work)).content.decode()
        assert all_rows() == before

    @pytest.mark.parametrize("query", ["key", "cursor"])
    def test_of_money_shows_nothing_of_another_account(self, at_work: month.Month, query: str) -> None:
        browser = client(world.account())
        for name in ("statement", "usage"):
            page = browser.get(f"{reverse(name)}?{query}={at_work.keys['web shop'].id}").content.decode()
            assert "web shop" not in page
            assert "gpt-4o-mini" not in page

    @pytest.mark.parametrize("name", sorted(READ - {"sign-in"}))
    def test_is_kept_by_no_cache(self, at_work: month.Month, name: str) -> None:
        assert "no-store" in client(at_work.user).get(path(name, at_work))["Cache-Control"]

    @pytest.mark.parametrize("name", sorted(READ | WRITE))
    def test_keeps_to_the_policy(self, at_work: month.Month, name: str) -> None:
        answer = client(at_work.user).get(path(name, at_work))
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>|javascript:", answer.content.decode())


class TestQueries:
    """As many for a busy account as for a quiet one."""

    def count(self, browser: Client, url: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert browser.get(url).status_code == 200
        return len(found)

    def test_are_pinned_and_the_same_for_ten_times_as_much(self, at_work: month.Month) -> None:
        busy = month.lived("0x" + "cd" * 20, calls_a_day=10, more_keys=60)
        counts = {
            who: {name: self.count(client(one.user), path(name, one)) for name in QUERIES}
            for who, one in (("quiet", at_work), ("busy", busy))
        }
        assert counts["quiet"] == counts["busy"]
        assert {name: number for name, number in counts["busy"].items() if number != QUERIES[name]} == {}


class TestBroken:
    def fail(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
        """The overview where this happens at the first thing it reads."""
        browser = Client(raise_request_exception=False)
        browser.force_login(world.account())

        def load(store: SessionStore) -> Any:
            raise error

        monkeypatch.setattr(SessionStore, "load", load)
        return browser.get("/?day=1")

    def test_says_so_with_the_request_and_nothing_inside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = self.fail(monkeypatch, RuntimeError("secret detail"))
        page = answer.content.decode()
        assert answer.status_code == 500
        assert "Something broke on our side" in page
        assert answer["X-Request-Id"] in page
        assert 'href="/?day=1"' in page
        assert "secret detail" not in page

    def test_by_a_database_that_is_away_says_when_to_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The page of the failure must not read what cannot be read."""
        answer = self.fail(monkeypatch, OperationalError("server closed the connection unexpectedly"))
        assert (answer.status_code, answer["Retry-After"]) == (503, "2")
        assert "Nothing was changed, and no money moved" in answer.content.decode()
