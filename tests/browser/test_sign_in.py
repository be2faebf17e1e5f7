"""Signing in with what wallets really do: each trouble says what happened, what it means and what to do, and can be tried again."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DECLINED, Person

pytestmark = pytest.mark.django_db(transaction=True)


class TestSignIn:
    def test_says_what_to_do_when_the_signature_is_declined(self, person: Person) -> None:
        person.harbour.behaves["personal_sign"] = DECLINED
        person.open("/sign-in")
        person.page.get_by_role("button", name="Harbour Wallet").click()
        expect(person.page.get_by_role("alert")).to_contain_text("You declined the signature.")
        person.harbour.behaves.clear()
        person.page.get_by_role("button", name="Harbour Wallet").click()
        person.page.wait_for_url(f"{person.site.url}/")

    def test_works_with_a_throw_away_wallet_in_development(self, person: Person) -> None:
        person.open("/sign-in?next=/keys")
        person.page.get_by_role("button", name="Use a throw-away wallet").click()
        person.page.wait_for_url(f"{person.site.url}/keys")

    def test_refuses_to_sign_on_a_page_of_another_address(self, person: Person, settings: Any) -> None:
        settings.FACES_PUBLIC_ORIGINS = ["https://faces.example"]
        person.open("/sign-in")
        person.page.get_by_role("button", name="Harbour Wallet").click()
        expect(person.page.get_by_role("alert")).to_contain_text("Do not sign. Open faces.example yourself.")

    def test_ends_with_signing_out(self, person: Person) -> None:
        person.sign_in()
        person.page.get_by_label("Account").click()
        person.page.get_by_role("button", name="Sign out").click()
        person.page.wait_for_url(f"{person.site.url}/sign-in")
        person.open("/keys")
        person.page.wait_for_url("**/sign-in?next=%2Fkeys")
