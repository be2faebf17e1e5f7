"""Who may do what in the admin: a superuser, a member of each role, a customer. What is refused is 403 and undone."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from accounts.models import User, Wallet
from apikeys.models import ApiKey
from billing.models import Price, Upstream
from tests import world
from tests.accounts import people
from tests.accounts.people import Person

pytestmark = pytest.mark.django_db

ROLES = ("support", "finance", "admin")
LOOKED_AT = (
    "accounts_user",
    "accounts_wallet",
    "apikeys_apikey",
    "billing_creditaccount",
    "billing_hold",
    "billing_transfer",
    "billing_topup",
    "billing_price",
    "billing_upstream",
    "admin_logentry",
)
EVERYBODY = ("superuser", *ROLES, "customer")


def who(name: str) -> Person:
    if name in ROLES:
        return people.member(name)  # type: ignore[arg-type]
    return people.superuser() if name == "superuser" else people.customer()


@dataclass
class Scene:
    """A customer with credit, a key and a model, and what an operator might do to them."""

    account: User
    key: ApiKey
    price: Price

    def freeze(self, person: Person) -> Any:
        url = reverse("admin:accounts_user_freeze", args=[self.account.pk])
        return person.browser.post(url, {"confirmed": "yes", "reason": "chargeback"})

    def deactivate(self, person: Person) -> Any:
        url = reverse("admin:accounts_user_change", args=[self.account.pk])
        sizes = {"wallets-TOTAL_FORMS": "0", "wallets-INITIAL_FORMS": "0"}
        return person.browser.post(url, {"email": "", **sizes})

    def revoke(self, person: Person) -> Any:
        return person.browser.post(reverse("admin:apikeys_apikey_revoke", args=[self.key.pk]), {"confirmed": "yes"})

    def grant(self, person: Person) -> Any:
        url = f"{reverse('admin:billing_creditaccount_grant')}?account={self.account.pk}"
        fields = {"direction": "give", "amount_usd": "5.00", "reference": "ticket 5", "reason": "Apology"}
        return person.browser.post(url, fields)

    def add_upstream(self, person: Person) -> Any:
        fields = {"name": "second", "base_url": "https://upstream.example/v1", "timeout_seconds": "600"}
        fields |= {"on_hangup": "drain", "is_enabled": "on"}
        return person.browser.post(reverse("admin:billing_upstream_add"), fields)

    @property
    def state(self) -> dict[str, bool]:
        account = User.objects.get(pk=self.account.pk)
        return {
            "freeze": account.is_frozen,
            "deactivate": not account.is_active,
            "revoke": ApiKey.objects.get(id=self.key.id).revoked_at is not None,
            "grant": world.money(account)[0] != world.USD,
            "add_upstream": Upstream.objects.filter(name="second").exists(),
        }


@pytest.fixture
def scene() -> Scene:
    account = world.account(credit=world.USD)
    return Scene(account, world.key(account), world.model("http://127.0.0.1:9"))


ALLOWED = {
    "freeze": ("superuser", "admin"),
    "deactivate": ("superuser", "admin"),
    "revoke": ("superuser", "admin"),
    "grant": ("superuser", "finance", "admin"),
    "add_upstream": ("superuser", "admin"),
}


class TestActs:
    @pytest.mark.parametrize("name", EVERYBODY)
    @pytest.mark.parametrize("act", ALLOWED)
    def test_are_done_or_refused(self, scene: Scene, name: str, act: str) -> None:
        person = who(name)
        before = LogEntry.objects.count()
        answer = getattr(scene, act)(person)
        may = name in ALLOWED[act]
        assert scene.state == {other: may and other == act for other in ALLOWED}
        if name == "customer":
            assert answer.status_code == 302
            assert answer.url.startswith(reverse("admin:login"))
        else:
            assert answer.status_code == (302 if may else 403), answer.content.decode()
        assert LogEntry.objects.count() == before + may
        if may:
            assert LogEntry.objects.latest("id").user == person.account


class TestFrontPage:
    @pytest.mark.parametrize("name", EVERYBODY)
    def test_is_for_every_operator_and_nobody_else(self, scene: Scene, name: str) -> None:
        answer = who(name).browser.get(reverse("admin:index"))
        assert answer.status_code == (302 if name == "customer" else 200)


class TestLists:
    @pytest.mark.parametrize("model", LOOKED_AT)
    @pytest.mark.parametrize("name", EVERYBODY)
    def test_are_seen_by_every_operator_and_nobody_else(self, scene: Scene, name: str, model: str) -> None:
        answer = who(name).browser.get(reverse(f"admin:{model}_changelist"))
        assert answer.status_code == (302 if name == "customer" else 200)

    @pytest.mark.parametrize("name", ROLES)
    def test_of_accounts_and_keys_offer_only_what_the_role_may(self, scene: Scene, name: str) -> None:
        person = who(name)
        for model, verb in (("accounts_user", "freeze"), ("apikeys_apikey", "revoke")):
            page = person.browser.get(reverse(f"admin:{model}_changelist")).content.decode()
            assert (f'value="{verb}"' in page) is (name == "admin")
            row = scene.account if model == "accounts_user" else scene.key
            page = person.browser.get(reverse(f"admin:{model}_change", args=[row.pk])).content.decode()
            assert (reverse(f"admin:{model}_{verb}", args=[row.pk]) in page) is (name == "admin")

    @pytest.mark.parametrize("name", ROLES)
    def test_of_accounts_refuse_actions_the_role_may_not(self, scene: Scene, name: str) -> None:
        fields = {"action": "freeze", "_selected_action": [str(scene.account.pk)], "confirmed": "yes", "reason": "x"}
        who(name).browser.post(reverse("admin:accounts_user_changelist"), fields)
        assert scene.state["freeze"] is (name == "admin")


def edit(person: Person, account: User, **fields: str) -> Any:
    sizes = {"wallets-TOTAL_FORMS": "0", "wallets-INITIAL_FORMS": "0"}
    body = {"email": "", "is_active": "on", **sizes, **fields}
    return person.browser.post(reverse("admin:accounts_user_change", args=[account.pk]), body)


class TestRights:
    """A role never leads to another."""

    @pytest.mark.parametrize("name", ROLES)
    def test_are_not_taken_for_oneself(self, name: str) -> None:
        person = who(name)
        assert edit(person, person.account, is_staff="on", is_superuser="on").status_code == 403
        person.account.refresh_from_db()
        assert not person.account.is_superuser

    def test_are_not_given_to_a_customer_by_who_may_edit_customers(self) -> None:
        person, customer = people.member("admin"), people.customer().account
        group = Group.objects.get(name="admin")
        fields = {"is_staff": "on", "is_superuser": "on", "groups": str(group.pk), "username": "friend"}
        assert edit(person, customer, **fields, email="new@example.com").status_code == 302
        customer.refresh_from_db()
        assert (customer.is_staff, customer.is_superuser, customer.groups.count()) == (False, False, 0)
        assert (customer.username, customer.email) == (None, "new@example.com")

    @pytest.mark.parametrize("name", ROLES)
    @pytest.mark.parametrize("target", ["superuser", "support", "customer"])
    def test_include_nobody_elses_password(self, name: str, target: str) -> None:
        account = who(target).account
        url = reverse("admin:auth_user_password_change", args=[account.pk])
        body = {"usable_password": "true", "password1": "a long new password", "password2": "a long new password"}
        assert who(name).browser.post(url, body).status_code == 403
        account.refresh_from_db()
        assert not account.check_password("a long new password")

    @pytest.mark.parametrize("verb", ["freeze", "unfreeze"])
    def test_do_not_reach_other_operators(self, verb: str) -> None:
        boss = people.superuser().account
        User.objects.filter(pk=boss.pk).update(is_frozen=verb == "unfreeze")
        person = people.member("admin")
        body = {"confirmed": "yes", "reason": "mutiny"}
        assert person.browser.post(reverse(f"admin:accounts_user_{verb}", args=[boss.pk]), body).status_code == 403
        choice = {"action": verb, "_selected_action": [str(boss.pk)]}
        page = person.browser.post(reverse("admin:accounts_user_changelist"), choice | body, follow=True)
        assert "only a superuser may do this" in page.content.decode()
        assert User.objects.get(pk=boss.pk).is_frozen is (verb == "unfreeze")

    @pytest.mark.parametrize("name", ROLES)
    def test_do_not_move_wallets(self, name: str) -> None:
        """Who may put a wallet of theirs on another account signs in as that account."""
        boss, person = people.superuser().account, who(name)
        person.account.user_permissions.set(Permission.objects.filter(codename__endswith="_wallet"))
        mine = Wallet.objects.create(account=person.account, address="0x" + "ab" * 20)
        url = reverse("admin:accounts_wallet_change", args=[mine.pk])
        assert person.browser.post(url, {"address": mine.address, "account": str(boss.pk)}).status_code == 403
        assert person.browser.post(reverse("admin:accounts_wallet_add"), {}).status_code == 403
        url = reverse("admin:accounts_wallet_delete", args=[mine.pk])
        assert person.browser.post(url, {"post": "yes"}).status_code == 403
        assert Wallet.objects.get(pk=mine.pk).account == person.account

    @pytest.mark.parametrize("name", ROLES)
    def test_do_not_make_operators_or_groups(self, name: str) -> None:
        person = who(name)
        for page in ("accounts_user_add", "auth_group_add"):
            assert person.browser.get(reverse(f"admin:{page}")).status_code == 403
            assert person.browser.post(reverse(f"admin:{page}"), {"username": "x", "name": "x"}).status_code == 403

    def test_of_the_roles_are_not_edited_by_superusers_either(self) -> None:
        """`manage.py migrate` would write them back."""
        person, group = people.superuser(), Group.objects.get(name="support")
        assert person.browser.get(reverse("admin:auth_group_change", args=[group.pk])).status_code == 200
        for page in ("change", "delete"):
            url = reverse(f"admin:auth_group_{page}", args=[group.pk])
            assert person.browser.post(url, {"name": "support", "post": "yes"}).status_code == 403
        choice = {"action": "delete_selected", "_selected_action": [str(group.pk)], "post": "yes"}
        person.browser.post(reverse("admin:auth_group_changelist"), choice)
        assert Group.objects.filter(pk=group.pk).exists()


class TestRecordingPayments:
    """The same right at the other door: `POST /v1/billing/topup` with `payment_ref` and `address`."""

    @pytest.mark.parametrize("name", EVERYBODY)
    def test_is_for_who_may_give_credit(self, settings: Any, name: str) -> None:
        settings.FACES_TEST_PAYMENTS = False
        customer = people.customer().account
        Wallet.objects.create(account=customer, address="0x" + "cd" * 20)
        person = who(name)
        answer = person.browser.post(
            "/v1/billing/topup",
            {"amount_usd": 5, "payment_ref": "invoice-7", "address": "0x" + "cd" * 20},
            content_type="application/json",
            headers={"Authorization": f"Bearer {world.jwt(person.account)}"},
        )
        may = name in ("superuser", "finance", "admin")
        assert answer.status_code == (200 if may else 403)
        assert world.money(customer) == (5 * world.USD if may else 0, 0)
