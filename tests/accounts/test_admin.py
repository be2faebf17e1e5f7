from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from accounts import addresses, nonces, wallets
from accounts.models import UsedNonce, User, Wallet
from tests import world
from tests.accounts import people, wallet
from tests.accounts.people import log
from tests.accounts.wallet import NOW

pytestmark = pytest.mark.django_db

PASSWORD = "an operator's long password"


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("op-accounts", PASSWORD)


@pytest.fixture
def browser(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def customer() -> Wallet:
    return wallets.find_or_open(address=addresses.parse(wallet.create().address))


def search(browser: Client, model: str, text: str) -> list[Any]:
    response = browser.get(reverse(f"admin:accounts_{model}_changelist"), {"q": text})
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


def page_of(account_id: UUID, page: str = "change") -> str:
    return reverse(f"admin:accounts_user_{page}", args=[account_id])


def text_of(browser: Client, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(browser: Client, customer: User) -> dict[str, Any]:
    """The change form of an account, as the browser would send it back."""
    page = browser.get(page_of(customer.pk))
    assert page.status_code == 200
    form = page.context["adminform"].form
    fields = {name: form[name].value() for name in form.fields if name != "password"}
    inline = page.context["inline_admin_formsets"][0].formset
    fields |= {
        f"{inline.prefix}-{name}": inline.management_form[name].value() for name in inline.management_form.fields
    }
    for row in inline.forms:
        fields |= {f"{row.prefix}-id": str(row.instance.pk), f"{row.prefix}-account": str(customer.pk)}
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def save(browser: Client, account: User, **changes: Any) -> Any:
    fields = shown(browser, account) | changes
    return browser.post(page_of(account.pk), {name: value for name, value in fields.items() if value is not None})


class TestAccounts:
    def test_are_found_by_id_wallet_and_user_name(self, browser: Client, customer: Wallet, operator: User) -> None:
        assert search(browser, "user", str(customer.account_id)) == [customer.account]
        assert search(browser, "user", customer.address) == [customer.account]
        assert search(browser, "user", addresses.checksum(addresses.parse(customer.address))) == [customer.account]
        assert search(browser, "user", customer.address[:12]) == [customer.account]
        assert search(browser, "user", "OP-acc") == [operator]

    @pytest.mark.parametrize("text", ["nobody", "'\"", "0x", "0xzz", "%", "_", "\u00e9", "0x" + "1" * 60])
    def test_are_not_found_by_anything_else(self, browser: Client, customer: Wallet, text: str) -> None:
        assert search(browser, "user", text) == []

    @pytest.mark.parametrize(
        ("state", "fields"),
        [("frozen", {"is_frozen": True}), ("inactive", {"is_active": False}), ("operator", {"is_staff": True})],
    )
    def test_are_listed_by_state(self, browser: Client, customer: Wallet, state: str, fields: dict[str, bool]) -> None:
        wanted = User.objects.create_user(**fields)
        rows = browser.get(reverse("admin:accounts_user_changelist"), {"state": state}).context["cl"].result_list
        assert wanted in rows
        assert customer.account not in rows

    def test_give_rights_in_an_operators_words(self, browser: Client, operator: User) -> None:
        """Those who may only look at rights read the same words."""
        support = people.member("support")
        looking = Client()
        looking.force_login(support.account)
        for reader in (browser, looking):
            html = reader.get(page_of(operator.pk)).content.decode()
            for words in ("May open the admin", "May do everything", "Permission groups"):
                assert words in html
            for words in ("Hold down", "Is staff", "uperuser status", "Designates"):
                assert words not in html

    def test_may_lack_a_user_name_in_any_number(self, browser: Client, customer: Wallet) -> None:
        other = wallets.find_or_open(address=addresses.parse(wallet.create().address)).account
        for account in (customer.account, other):
            assert save(browser, account, username="").status_code == 302
            account.refresh_from_db()
            assert account.username is None

    def test_are_not_deleted(self, browser: Client, operator: User) -> None:
        account = User.objects.create_user()
        assert browser.post(page_of(account.pk, "delete"), {"post": "yes"}).status_code == 403
        browser.post(
            reverse("admin:accounts_user_changelist"),
            {"action": "delete_selected", "_selected_action": [str(account.pk)], "post": "yes"},
        )
        assert User.objects.filter(pk=account.pk).exists()

    def test_show_their_money_and_where_the_rest_is(self, browser: Client) -> None:
        account = world.account(credit=12 * world.USD)
        key = world.key(account)
        page = text_of(browser, page_of(account.pk))
        assert 'value="12.000000000"' in page
        assert reverse("admin:billing_creditaccount_grant") in page
        for app, model in (
            ("apikeys", "apikey"),
            ("billing", "hold"),
            ("billing", "transfer"),
            ("billing", "topup"),
            ("admin", "logentry"),
        ):
            url = f"{reverse(f'admin:{app}_{model}_changelist')}?q={account.pk}"
            assert url in page
            rows = browser.get(url).context["cl"].result_list
            assert all(str(account.pk) in (str(row.account_id), row.pk) for row in rows)
        assert list(
            browser.get(f"{reverse('admin:apikeys_apikey_changelist')}?q={account.pk}").context["cl"].queryset
        ) == [key]

    def test_a_saved_form_does_not_undo_a_freeze_that_came_meanwhile(self, browser: Client, customer: Wallet) -> None:
        """The form is read, the ledger freezes the account, the form is sent."""
        fields = shown(browser, customer.account)
        User.objects.filter(pk=customer.account_id).update(is_frozen=True, frozen_reason="losses")
        assert "is_frozen" not in fields
        body = fields | {"email": "a@example.com", "is_frozen": "", "frozen_reason": ""}
        assert browser.post(page_of(customer.account_id), body).status_code == 302
        account = User.objects.get(pk=customer.account_id)
        assert (account.email, account.is_frozen, account.frozen_reason) == ("a@example.com", True, "losses")


class TestFreezing:
    def test_asks_for_a_reason_and_does_it(self, browser: Client, customer: Wallet, operator: User) -> None:
        account = customer.account
        assert page_of(account.pk, "freeze") in text_of(browser, page_of(account.pk))
        asked = text_of(browser, page_of(account.pk, "freeze"))
        assert "answers 402" in asked
        answer = browser.post(page_of(account.pk, "freeze"), {"confirmed": "yes", "reason": "chargeback"}, follow=True)
        assert "is frozen" in answer.content.decode()
        account.refresh_from_db()
        assert (account.is_frozen, account.frozen_reason) == (True, "chargeback")
        page = text_of(browser, page_of(account.pk))
        assert "chargeback" in page
        assert page_of(account.pk, "unfreeze") in page
        browser.post(page_of(account.pk, "unfreeze"), {"confirmed": "yes", "reason": "paid"})
        account.refresh_from_db()
        assert (account.is_frozen, account.frozen_reason) == (False, "")
        assert [who for who, _ in log(account)] == [operator, operator]
        assert "paid" in log(account)[1][1]

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "two\nlines"])
    def test_does_nothing_without_a_good_reason(self, browser: Client, customer: Wallet, reason: str) -> None:
        answer = browser.post(page_of(customer.account_id, "freeze"), {"confirmed": "yes", "reason": reason})
        assert answer.status_code == 400
        assert "Nothing was done" in answer.content.decode()
        assert not User.objects.get(pk=customer.account_id).is_frozen

    def test_does_nothing_before_it_is_confirmed(self, browser: Client, customer: Wallet) -> None:
        assert browser.post(page_of(customer.account_id, "freeze"), {"reason": "sent at once"}).status_code == 200
        assert not User.objects.get(pk=customer.account_id).is_frozen

    def test_works_for_many_from_the_list(self, browser: Client, customer: Wallet) -> None:
        accounts = [customer.account, User.objects.create_user()]
        url = reverse("admin:accounts_user_changelist")
        choice = {"action": "freeze", "_selected_action": [str(account.pk) for account in accounts]}
        assert "Freeze 2 accounts" in browser.post(url, choice).content.decode()
        assert not any(User.objects.get(pk=account.pk).is_frozen for account in accounts)
        answer = browser.post(url, choice | {"confirmed": "yes", "reason": "raid"}, follow=True)
        assert "2 accounts are frozen" in answer.content.decode()
        assert all(User.objects.get(pk=account.pk).frozen_reason == "raid" for account in accounts)

    def test_of_ones_own_account_is_refused_with_a_sentence(self, browser: Client, operator: User) -> None:
        body = {"confirmed": "yes", "reason": "oops"}
        answer = browser.post(page_of(operator.pk, "freeze"), body, follow=True).content.decode()
        assert "ask another operator to freeze it" in answer
        operator.refresh_from_db()
        assert not operator.is_frozen

    @pytest.mark.parametrize("identifier", ["nobody", "0192f0c0-0000-7000-8000-000000000000"])
    def test_of_nobody_is_not_found(self, browser: Client, identifier: str) -> None:
        assert browser.get(f"/admin/accounts/user/{identifier}/freeze/").status_code == 404
        assert browser.post(f"/admin/accounts/user/{identifier}/freeze/", {"confirmed": "yes"}).status_code == 404


class TestOperators:
    def test_are_added_with_a_password_that_works(self, browser: Client) -> None:
        body = {"username": "second", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        assert browser.post(reverse("admin:accounts_user_add"), body).status_code == 302
        assert User.objects.get(username="second").check_password(PASSWORD)

    def test_are_given_another_password(self, browser: Client, operator: User) -> None:
        new = "quite another long password"
        url = reverse("admin:auth_user_password_change", args=[operator.pk])
        body = {"usable_password": "true", "password1": new, "password2": new}
        assert browser.post(url, body).status_code == 302
        operator.refresh_from_db()
        assert operator.check_password(new)
        assert all(new not in said and operator.password not in said for _, said in log(operator))

    def test_change_their_own_password(self, browser: Client, operator: User) -> None:
        new = "quite another long password"
        body = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
        wrong = browser.post(reverse("admin:password_change"), body | {"old_password": "not it"})
        assert (wrong.status_code, log(operator)) == (200, [])
        assert browser.post(reverse("admin:password_change"), body).status_code == 302
        operator.refresh_from_db()
        assert operator.check_password(new)
        assert log(operator) == [(operator, "Changed their own password.")]

    @pytest.mark.parametrize("flag", ["is_active", "is_staff"])
    def test_cannot_shut_themselves_out(self, browser: Client, operator: User, flag: str) -> None:
        people.superuser()
        answer = save(browser, operator, **{flag: None})
        assert answer.status_code == 200
        assert "ask another operator" in answer.content.decode()
        operator.refresh_from_db()
        assert getattr(operator, flag)

    @pytest.mark.parametrize("flag", ["is_superuser", "is_staff", "is_active"])
    def test_keep_the_last_superuser(self, browser: Client, operator: User, flag: str) -> None:
        User.objects.exclude(pk=operator.pk).filter(is_superuser=True).update(is_superuser=False)
        answer = save(browser, operator, **{flag: None})
        assert answer.status_code == 200
        assert "last superuser" in answer.content.decode() or flag != "is_superuser"
        operator.refresh_from_db()
        assert (operator.is_superuser, operator.is_staff, operator.is_active) == (True, True, True)

    def test_hand_over(self, browser: Client, operator: User) -> None:
        """With a second superuser the first may step down."""
        people.superuser()
        assert save(browser, operator, is_superuser=None).status_code == 302
        operator.refresh_from_db()
        assert not operator.is_superuser


class TestWalletSignIn:
    def test_opens_the_admin_for_a_member_of_a_group(self) -> None:
        signer = wallet.create()
        account = wallets.find_or_open(address=addresses.parse(signer.address)).account
        member = people.member("support").account
        account.groups.set(member.groups.all())
        User.objects.filter(pk=account.pk).update(is_staff=True)
        browser = Client()
        nonce = browser.get(f"/auth/nonce/{signer.address}").json()["data"]
        signed = {
            "address": signer.address,
            "signature": wallet.sign(signer, nonce["message"]),
            "nonce": nonce["nonce"],
            "next": reverse("admin:accounts_user_changelist"),
        }
        assert browser.post("/sign-in", signed).url == reverse("admin:accounts_user_changelist")
        page = text_of(browser, reverse("admin:accounts_user_changelist"))
        assert signer.address in page


class TestWallets:
    def test_are_found_by_address_id_and_account(self, browser: Client, customer: Wallet) -> None:
        for text in (
            customer.address.upper().replace("X", "x"),
            customer.address[:10],
            str(customer.pk),
            str(customer.account_id),
        ):
            assert search(browser, "wallet", text) == [customer]

    def test_have_a_page(self, browser: Client, customer: Wallet) -> None:
        page = browser.get(reverse("admin:accounts_wallet_change", args=[customer.pk]))
        assert customer.address in page.content.decode()

    def test_are_moved_by_a_superuser_and_the_log_says_from_where(self, browser: Client, customer: Wallet) -> None:
        other = User.objects.create_user()
        body = {"address": customer.address, "chain_id": "", "account": str(other.pk)}
        assert browser.post(reverse("admin:accounts_wallet_change", args=[customer.pk]), body).status_code == 302
        [(_, said)] = log(customer)
        assert str(customer.account_id) in said
        assert str(other.pk) in said
        assert Wallet.objects.get(pk=customer.pk).account == other

    def test_are_added_with_the_address_as_people_write_it(self, browser: Client, operator: User) -> None:
        signer = wallet.create()
        body = {"address": signer.address, "chain_id": "", "account": str(operator.pk)}
        assert browser.post(reverse("admin:accounts_wallet_add"), body).status_code == 302
        assert Wallet.objects.get(account=operator).address == signer.address.lower()

    @pytest.mark.parametrize("address", ["0x12", "nobody", "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"])
    def test_with_a_wrong_address_are_refused(self, browser: Client, operator: User, address: str) -> None:
        body = {"address": address, "chain_id": "", "account": str(operator.pk)}
        answer = browser.post(reverse("admin:accounts_wallet_add"), body)
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors["address"]
        assert not Wallet.objects.filter(account=operator).exists()

    def test_of_another_account_are_not_added_twice(self, browser: Client, operator: User, customer: Wallet) -> None:
        body = {"address": customer.address, "chain_id": "", "account": str(operator.pk)}
        assert browser.post(reverse("admin:accounts_wallet_add"), body).status_code == 200
        assert Wallet.objects.get(address=customer.address).account == customer.account


class TestUsedNonces:
    def test_are_found_but_not_changed(self, browser: Client) -> None:
        signer = wallet.create()
        nonce = wallet.nonce_for(signer)
        nonces.use(nonce, now=NOW)
        assert [row.pk for row in search(browser, "usednonce", signer.address)] == [nonce.text]
        assert [row.pk for row in search(browser, "usednonce", nonce.text)] == [nonce.text]
        assert browser.get(reverse("admin:accounts_usednonce_add")).status_code == 403
        page = reverse("admin:accounts_usednonce_change", args=[nonce.text])
        assert browser.get(page).status_code == 200
        assert browser.post(page, {"address": "0x"}).status_code == 403
        delete = reverse("admin:accounts_usednonce_delete", args=[nonce.text])
        assert browser.post(delete, {"post": "yes"}).status_code == 403
        assert UsedNonce.objects.filter(pk=nonce.text, address=signer.address.lower()).exists()
