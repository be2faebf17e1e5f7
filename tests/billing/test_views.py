"""The pages about money: what they say and what their forms do. Whose they are, and their queries: tests.faces.test_pages."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User
from billing import holds, views
from billing.models import TopUp
from billing.rates import Usage
from tests import world

pytestmark = pytest.mark.django_db

PAGES = ("/", "/usage", "/billing", "/billing/statement", "/prices")


def client(user: User) -> Client:
    signed_in = Client()
    signed_in.force_login(user)
    return signed_in


def busy() -> User:
    user = world.account(credit=world.USD)
    keys = [world.key(user, name=f"key {i}", budget=world.USD) for i in range(3)]
    for i, key in enumerate(keys * 4):
        placed = holds.place(world.request(user, key, rates=world.flat(1000 + i), model=f"model {i % 2}"))
        usage = Usage(input=10, output=5)
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=1000 + i, usage=usage)
    return user


class TestPages:
    @pytest.mark.parametrize("path", PAGES)
    @pytest.mark.parametrize("is_busy", [True, False])
    def test_open_full_and_empty(self, path: str, is_busy: bool) -> None:
        page = client(busy() if is_busy else world.account()).get(path)
        assert page.status_code == 200
        assert b"style=" not in page.content
        assert "script-src 'self'" in page["Content-Security-Policy"]


class TestKeyPage:
    def test_says_why_a_key_does_not_work(self) -> None:
        user = world.account(credit=100)
        parent = world.key(user, name="the parent", budget=10)
        child = world.key(user, name="the child", parent=parent)
        placed = holds.place(world.request(user, child, rates=world.flat(10)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=10)
        page = client(user).get(f"/keys/{child.id}").content.decode()
        assert "the cap of the parent, above this key, is spent" in page
        assert "Cap reached" in page

    def test_leads_to_what_is_of_this_key_alone(self) -> None:
        user = busy()
        key = user.api_keys.filter(name="key 1").get()
        page = client(user).get(f"/keys/{key.id}").content.decode()
        for link in (f"/billing/statement?key={key.id}", f"/usage?key={key.id}", f"/keys/new?parent={key.id}"):
            assert f'href="{link}"' in page
            assert client(user).get(link).status_code == 200

    def test_offers_no_key_under_one_that_may_have_none(self) -> None:
        user = world.account()
        deep = None
        for _ in range(8):
            deep = world.key(user, parent=deep)
        for none in (deep, world.key(user, is_frozen=True)):
            assert none is not None
            assert "New key under this one" not in client(user).get(f"/keys/{none.id}").content.decode()

    def test_lists_a_bounded_number_of_keys_under_it(self) -> None:
        user = world.account()
        parent = world.key(user)
        for number in range(51):
            world.key(user, name=f"child {number}", parent=parent)
        page = client(user).get(f"/keys/{parent.id}").content.decode()
        assert page.count(">child ") == 50
        assert "More of them in the list of keys" in page

    def test_says_what_is_held_for_calls_that_run(self) -> None:
        user = world.account(credit=10 * world.USD)
        key = world.key(user, budget=5 * world.USD)
        for _ in range(2):
            holds.place(world.request(user, key, rates=world.flat(191_917_500)))
        assert "Held for 2 running calls" in client(user).get(f"/keys/{key.id}").content.decode()
        assert world.money(user)[1] == 383_835_000


class TestTopUp:
    def pay(self, user: User, payment_ref: str, **fields: str) -> Any:
        return client(user).post("/billing", {"payment_ref": payment_ref, **fields})

    def test_credits_once_however_often_the_form_is_sent(self) -> None:
        user, payment_ref = world.account(), f"test-{uuid7()}"
        for _ in range(2):
            assert self.pay(user, payment_ref, amount="25").status_code == 302
        assert world.money(user) == (25 * world.USD, 0)
        receipt = client(user).get(f"/billing/payments/{TopUp.objects.get(account=user).id}")
        assert payment_ref in receipt.content.decode()

    @pytest.mark.parametrize(
        "other",
        ["0.5", "10000.01", "1.005", "abc", "-3", "1e1", "1e9", "NaN", "٣", "1,50", "1,000.00", "1_0", "9" * 5000],
    )
    def test_refuses_an_amount_in_words_and_takes_nothing(self, other: str) -> None:
        user = world.account()
        page = self.pay(user, f"test-{uuid7()}", amount="25", other=other)
        assert page.status_code == 400
        assert "Nothing was charged." in page.content.decode()
        assert world.money(user) == (0, 0)

    @pytest.mark.parametrize("payment_ref", ["", "test-1", "pi_123", "x" * 300])
    def test_refuses_a_reference_that_is_not_the_forms(self, payment_ref: str) -> None:
        user = world.account()
        assert self.pay(user, payment_ref, amount="25").status_code == 400
        assert world.money(user) == (0, 0)

    def test_is_not_there_without_test_payments(self, settings: Any) -> None:
        settings.FACES_TEST_PAYMENTS = False
        user = world.account()
        assert self.pay(user, f"test-{uuid7()}", amount="25").status_code == 400
        assert world.money(user) == (0, 0)

    def test_needs_the_csrf_token(self) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(world.account())
        assert browser.post("/billing", {"amount": "25", "payment_ref": f"test-{uuid7()}"}).status_code == 403


class TestFilters:
    @pytest.mark.parametrize(
        "query", ["start_date=x", "end_date=2026-02-30", "start_date=2026-11-02&end_date=2026-11-01"]
    )
    @pytest.mark.parametrize("path", ["/usage", "/billing/statement"])
    def test_that_cannot_be_used_are_said_so(self, path: str, query: str) -> None:
        page = client(world.account()).get(f"{path}?{query}")
        assert page.status_code == 400
        assert "These filters cannot be used." in page.content.decode()

    def test_that_name_no_key_are_said_so(self) -> None:
        for path in ("/usage", "/billing/statement"):
            page = client(world.account()).get(f"{path}?key=rubbish")
            assert (page.status_code, "Choose a key of the list" in page.content.decode()) == (400, True)

    def test_narrow_the_statement_to_one_key(self) -> None:
        user = busy()
        key = user.api_keys.filter(name="key 1").get()
        page = client(user).get(f"/billing/statement?key={key.id}")
        assert (
            page.content.decode().count("model 1, 10 in, 5 out")
            == page.content.decode().count("model 0, 10 in, 5 out")
            == 2
        )
        assert "4 lines on this page" in page.content.decode()
        lines = client(user).get(f"/billing/statement?key={key.id}&format=csv").getvalue().decode().splitlines()
        assert len(lines) == 5
        assert all(str(key.id) in line for line in lines[1:])

    def test_offer_keys_by_name_revoked_ones_too_and_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views, "MOST_KEYS", 3)
        user = world.account()
        oldest = world.key(user, name="oldest")
        world.key(user, name="b")
        twins = [world.key(user, name="a"), world.key(user, name="a", revoked_at=timezone.now())]
        page = client(user).get(f"/billing/statement?key={oldest.id}").content.decode()
        offered = re.findall(r"<option value=\"[0-9a-f-]{36}\"( selected)?>([^<]*)</option>", page)
        named = sorted(f"a {str(twin.id)[-4:]}" for twin in twins)
        assert offered == [("", named[0]), ("", named[1]), ("", "b"), (" selected", "oldest")]

    def test_that_find_nothing_say_so_and_lead_back(self) -> None:
        span = "start_date=2025-01-01&end_date=2025-01-31"
        page = client(world.account()).get(f"/usage?{span}").content.decode()
        assert "No calls from 1 January to 31 January 2025" in page
        assert 'href="/usage">Show the last 30 days</a>' in page
        page = client(world.account()).get(f"/billing/statement?{span}").content.decode()
        assert "Nothing moved with these filters" in page
        assert 'href="/billing/statement">Show everything</a>' in page

    def test_give_the_same_figures_as_csv(self) -> None:
        user = busy()
        lines = client(user).get("/usage?group_by=llm_model&format=csv").getvalue().decode().splitlines()
        assert lines[0].startswith("group_key,")
        assert len(lines) == 3
        assert len(client(user).get("/billing/statement?format=csv").getvalue().decode().splitlines()) == 14
