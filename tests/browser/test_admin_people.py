"""An operator at work on accounts and keys, in a real browser."""

import json
import urllib.request
from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect
from uuid_utils.compat import uuid7

from accounts.models import User, Wallet
from apikeys.models import ApiKey
from billing import holds
from tests import world
from tests.browser.conftest import Person
from tests.browser.test_admin_looks import Eye
from tests.gateway.conftest import Script, upstream, upstream_server

__all__ = ["upstream", "upstream_server"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(person: Person) -> User:
    user = User.objects.create_user(username=f"operator-{uuid7()}", is_staff=True, is_superuser=True)
    person.come_in(user)
    return user


@pytest.fixture
def eye(person: Person) -> Eye:
    return Eye(person)


@pytest.fixture
def customer() -> User:
    user = world.account(credit=25 * world.USD)
    Wallet.objects.create(account=user, address=f"0x{uuid7().hex}00000000")
    return user


class TestFreezing:
    def test_an_account_stops_its_calls_until_it_is_unfrozen(
        self, person: Person, operator: User, customer: User, eye: Eye, upstream: Script
    ) -> None:
        model, key, page = world.model(upstream.base_url), world.key(customer, name="shop"), person.page
        person.site.forget_routes()

        def call() -> tuple[int, str]:
            body = {"model": model.model, "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"Authorization": f"Bearer {key.text}", "Content-Type": "application/json"}
            url = f"{person.site.url}/v1/chat/completions"
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    return answer.status, ""
            except HTTPError as refused:
                with refused:
                    return refused.code, refused.headers.get("X-Faces-Reason", "")

        assert call() == (200, "")
        person.open(f"/admin/accounts/user/?q={customer.wallets.get().address}")
        page.locator("#result_list tbody th a").click()
        page.get_by_role("link", name="Freeze").click()
        eye.look("account-freeze")
        page.get_by_label("Reason").fill("chargeback 4471")
        page.get_by_role("button", name="Freeze account").click()
        expect(page.get_by_role("status")).to_contain_text("is frozen")
        expect(page.locator(".note.cold")).to_contain_text("chargeback 4471")
        eye.look("account-frozen")
        assert call() == (402, "account_frozen")
        page.get_by_role("link", name="Unfreeze").click()
        page.get_by_label("Reason").fill("paid")
        page.get_by_role("button", name="Unfreeze account").click()
        expect(page.get_by_role("status")).to_contain_text("is unfrozen")
        assert call() == (200, "")
        page.get_by_role("link", name="Audit log").last.click()
        expect(page.locator("#result_list")).to_contain_text("chargeback 4471")
        eye.look("account-log")
        assert eye.found == []

    def test_of_ones_own_account_is_not_offered(self, person: Person, operator: User) -> None:
        person.open(f"/admin/accounts/user/{operator.pk}/change/")
        expect(person.page.get_by_text("This is your own account.")).to_be_visible()
        expect(person.page.get_by_role("link", name="Freeze")).to_have_count(0)

    def test_several_from_the_list_asks_once(self, person: Person, operator: User, customer: User, eye: Eye) -> None:
        other = User.objects.create_user(username=f"raid-{uuid7()}")
        User.objects.filter(pk=customer.pk).update(username=f"{other.username}-2")
        page = person.page
        person.open(f"/admin/accounts/user/?q={other.username}")
        page.locator("#action-toggle").check()
        page.locator("[name=action]").select_option("freeze")
        page.get_by_role("button", name="Go").click()
        eye.look("accounts-freeze")
        page.get_by_label("Reason").fill("raid")
        page.get_by_role("button", name="Freeze 2 accounts").click()
        expect(page.get_by_role("status")).to_contain_text("2 accounts are frozen")
        assert User.objects.filter(pk__in=(customer.pk, other.pk), frozen_reason="raid").count() == 2
        assert eye.found == []


class TestRevoking:
    def test_a_key_names_what_goes_with_it(self, person: Person, operator: User, customer: User, eye: Eye) -> None:
        top = world.key(customer, name="batch-eu", budget=9 * world.USD)
        child = world.key(customer, name="nightly summaries of the warehouse", parent=top, budget=7 * world.USD)
        world.key(customer, name="probe", parent=child, is_frozen=True)
        placed = holds.place(world.request(customer, child, rates=world.flat(world.USD)))
        holds.settle(account_id=customer.id, hold_id=placed.hold_id, cost_nanousd=world.USD)
        holds.place(world.request(customer, child, rates=world.flat(world.USD // 4)))
        page = person.page
        person.open(f"/admin/apikeys/apikey/?q={top.prefix}")
        page.locator("#result_list tbody th a").click()
        eye.look("key-top")
        page.get_by_role("link", name=child.name).click()
        expect(page.get_by_role("heading", name=child.name)).to_be_visible()
        eye.look("key-child")
        page.get_by_role("link", name="batch-eu").last.click()
        page.get_by_role("link", name="Revoke").click()
        expect(page.get_by_role("heading", name="Revoke batch-eu and the 2 keys under it?")).to_be_visible()
        eye.look("key-revoke")
        page.get_by_role("button", name="Revoke 3 keys").click()
        expect(page.get_by_role("status")).to_contain_text("is revoked")
        eye.look("key-revoked")
        assert ApiKey.objects.filter(account=customer, revoked_at=None).count() == 0
        assert eye.found == []
