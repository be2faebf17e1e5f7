"""What somebody with a browser sends to the admin and the dashboard that no page of theirs would send."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User, Wallet
from apikeys.models import ApiKey
from billing import corrections, holds, reconcile, refunds
from billing.models import CreditAccount, Price
from faces.lib.admin import BoundedAdmin
from tests import world
from tests.accounts import people
from tests.billing.test_admin import paid

pytestmark = pytest.mark.django_db

LISTS = [model for model, shown in admin.site._registry.items() if isinstance(shown, BoundedAdmin)]
NO_ID = {User: "freeze", ApiKey: "revoke", Wallet: "delete_selected", Price: "delete_selected"}


def changelist(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def spent_once() -> User:
    user = world.account(credit=100)
    placed = holds.place(world.request(user, rates=world.flat(20)))
    holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class TestAddressOfAList:
    """A condition that is no filter of the list: without an index it reads the whole table, and some the database refuses."""

    @pytest.mark.parametrize("model", LISTS, ids=lambda model: model._meta.label_lower)
    @pytest.mark.parametrize("condition", ["regex", "range", "in", "year", "startswith"])
    def test_takes_no_condition_written_by_hand(self, model: Any, condition: str) -> None:
        name = "last_login" if model is User else model._meta.pk.name
        answer = people.superuser().browser.get(changelist(model), {f"{name}__{condition}": "["})
        assert answer.status_code == 400

    @pytest.mark.parametrize("field", ["digest", "digest__startswith", "spent_nanousd__gt"])
    def test_tells_support_nothing_about_what_is_not_shown(self, field: str) -> None:
        world.key(world.account())
        assert people.member("support").browser.get(changelist(ApiKey), {field: "0"}).status_code == 400


class TestChosenRows:
    @pytest.mark.parametrize("model", NO_ID, ids=lambda model: model._meta.label_lower)
    def test_that_can_be_none_are_a_bad_request(self, model: Any) -> None:
        person = people.superuser()
        sent = {"action": NO_ID[model], "_selected_action": ["\x00"], "confirmed": "yes", "reason": "x", "post": "yes"}
        assert person.browser.post(changelist(model), sent).status_code == 400

    def test_are_none_of_them_done_if_one_is_no_id(self) -> None:
        user = world.account()
        sent = {"action": "freeze", "_selected_action": [str(user.pk), "x"], "confirmed": "yes", "reason": "x"}
        assert people.superuser().browser.post(changelist(User), sent).status_code == 400
        user.refresh_from_db()
        assert not user.is_frozen


class TestWalletForm:
    @pytest.mark.parametrize("account", ["x", "\x00", "9" * 30])
    def test_says_that_its_account_is_none(self, account: str) -> None:
        sent = {"account": account, "address": "0x" + "ab" * 20, "chain_id": ""}
        answer = people.superuser().browser.post(reverse("admin:accounts_wallet_add"), sent)
        assert (answer.status_code, "account" in answer.context["adminform"].form.errors) == (200, True)
        assert not Wallet.objects.exists()

    def test_shows_the_account_it_has(self) -> None:
        wallet = Wallet.objects.create(account=world.account(username="whose"), address="0x" + "ab" * 20)
        page = people.superuser().browser.get(reverse("admin:accounts_wallet_change", args=[wallet.pk]))
        assert f'<option value="{wallet.account_id}" selected>whose</option>' in page.content.decode()


class TestAutocomplete:
    def test_refuses_what_no_text_has(self) -> None:
        asked = {"app_label": "accounts", "model_name": "wallet", "field_name": "account", "term": "a\x00b"}
        assert people.superuser().browser.get("/admin/autocomplete/", asked).status_code == 400


class TestViewOnSite:
    def test_is_not_there(self) -> None:
        """Django's own asks the database for whatever stands in the address."""
        kind = ContentType.objects.get_for_model(User)
        assert people.member("support").browser.get(f"/admin/r/{kind.pk}/x/").status_code == 404


class TestPrivatePage:
    """What shows money or a wallet is kept by no cache, the pages of refusals included."""

    @pytest.mark.parametrize(
        "path", ["/", "/nothing-here", "/keys/01a20e52-ad85-749f-b76a-d9fb17044957", "/prices", "/billing"]
    )
    def test_is_kept_nowhere(self, path: str) -> None:
        user = world.account(credit=123 * world.USD)
        page = browser(user).get(path)
        assert "123.00" in page.content.decode()
        assert "no-store" in page["Cache-Control"]

    @pytest.mark.parametrize("path", ["/keys/new", "/billing"])
    def test_that_refuses_a_foreign_form_is_kept_nowhere(self, path: str) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(world.account())
        page = strict.post(path, {})
        assert (page.status_code, "no-store" in page["Cache-Control"]) == (403, True)


class TestSignIn:
    def test_with_a_foreign_next_leads_to_a_page_of_ours_and_renews_the_session(self) -> None:
        world.account(username="operator", password="a long password", is_staff=True)
        planted = Client()
        planted.session.save()
        before = planted.cookies["sessionid"].value
        sent = {"username": "operator", "password": "a long password", "next": "//evil.example"}
        answer = planted.post("/admin/login/?next=//evil.example", sent)
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert planted.cookies["sessionid"].value != before


class TestUsage:
    def test_draws_at_most_a_year(self) -> None:
        page = browser(spent_once()).get("/usage", {"start_date": "1970-01-01", "end_date": "9998-12-31"})
        assert (page.status_code, "Choose at most 366 days" in page.content.decode()) == (400, True)

    def test_draws_a_leap_year(self) -> None:
        page = browser(spent_once()).get("/usage", {"start_date": "2028-01-01", "end_date": "2028-12-31"})
        assert (page.status_code, len(page.context["chart"].columns)) == (200, 366)

    def test_gives_any_range_as_csv(self) -> None:
        first = (timezone.now().date() - timedelta(days=4000)).isoformat()
        answer = browser(spent_once()).get("/usage", {"start_date": first, "format": "csv"})
        assert b"0.00000002" in b"".join(answer.streaming_content)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("query", [{}, {"format": "csv"}])
    def test_refuses_a_model_that_no_text_can_be(self, query: dict[str, str]) -> None:
        assert browser(spent_once()).get("/usage", {"model": "a\x00", **query}).status_code == 400


class TestSchema:
    @pytest.mark.parametrize("version", ["1\r\nX: y", "2.0", '"'])
    def test_has_one_version_whatever_is_asked(self, version: str) -> None:
        answer = Client().get("/api/schema", {"version": version})
        assert (answer.status_code, answer["Content-Disposition"]) == (200, 'inline; filename="Faces.yaml"')


class TestOldPageOfAnAccount:
    """Two superusers have an account's page open; one takes rights away, then the other saves an e-mail address."""

    def sent(self, page: Any, **changes: Any) -> dict[str, Any]:
        """What a browser sends: each input of the form as it was drawn, but for the changes."""
        html = page.content.decode()
        drawn = re.findall(r'<input type="(hidden|checkbox|text|email)" name="([^"]+)"([^>]*)>', html)
        fields: dict[str, Any] = {}
        for kind, name, rest in drawn:
            value = re.search(r'value="([^"]*)"', rest)
            if kind != "checkbox" or " checked" in rest:
                fields.setdefault(name, []).append("on" if kind == "checkbox" else value.group(1) if value else "")
        options = re.search(r'<select name="groups".*?</select>', html, re.DOTALL)
        assert options is not None
        fields["groups"] = re.findall(r'value="(\d+)" selected', options.group())
        return {name: value for name, value in (fields | changes).items() if value is not None}

    @pytest.fixture
    def scene(self) -> tuple[User, Client, str]:
        account = world.account(username="was-operator", is_staff=True, is_superuser=True)
        account.groups.add(Group.objects.get(name="finance"))
        return account, people.superuser().browser, reverse("admin:accounts_user_change", args=[account.pk])

    def test_gives_nothing_back(self, scene: tuple[User, Client, str]) -> None:
        account, client, url = scene
        old = self.sent(client.get(url), email="new@example.com")
        User.objects.filter(pk=account.pk).update(is_active=False, is_staff=False, is_superuser=False)
        account.groups.clear()
        assert client.post(url, old).status_code == 302
        account.refresh_from_db()
        assert (account.email, account.is_active, account.is_staff, account.is_superuser) == (
            "new@example.com",
            False,
            False,
            False,
        )
        assert not account.groups.exists()

    def test_still_changes_what_was_changed_on_it(self, scene: tuple[User, Client, str]) -> None:
        account, client, url = scene
        assert client.post(url, self.sent(client.get(url), groups=[], is_superuser=None)).status_code == 302
        account.refresh_from_db()
        assert (account.is_active, account.is_staff, account.is_superuser) == (True, True, False)
        assert not account.groups.exists()

    def test_never_has_the_hash_of_a_password(self, scene: tuple[User, Client, str]) -> None:
        account, client, url = scene
        account.set_password("an operator's long password")
        account.save()
        page = client.get(url).content.decode()
        assert account.password.rpartition("$")[2] not in page
        assert 'name="initial-is_staff"' in page


class TestGroup:
    def test_is_changed_by_superusers_whatever_its_members_may(self) -> None:
        group = Group.objects.create(name="ours")
        group.permissions.set(Permission.objects.filter(content_type__app_label="auth"))
        member = world.account(is_staff=True)
        member.groups.add(group)
        url = reverse("admin:auth_group_change", args=[group.pk])
        sent = {"name": "ours", "permissions": list(Permission.objects.values_list("pk", flat=True))}
        assert browser(member).post(url, sent).status_code == 403
        assert browser(member).post(reverse("admin:auth_group_add"), {"name": "more"}).status_code == 403
        assert not User.objects.get(pk=member.pk).has_perm("billing.adjust_credit")
        assert people.superuser().browser.post(url, sent).status_code == 302
        assert User.objects.get(pk=member.pk).has_perm("billing.adjust_credit")


@pytest.mark.django_db(transaction=True)
class TestReferenceOfAnOperator:
    def test_stands_in_the_way_of_no_payment_charge_or_refund(self) -> None:
        user, boss = world.account(credit=world.USD), world.account(is_staff=True)
        topup = paid(user, ref=f"paid-{uuid7()}")
        placed = holds.place(world.request(user, rates=world.flat(20)))
        names = [f"topup:{topup.id}", f"refund:{topup.id}", f"hold:{placed.hold_id}", f"credit:topup:{topup.id}"]
        for name in names:
            given = corrections.correct(account_id=user.id, amount_nanousd=20, reference=name, reason="x")
            assert given.state == "posted"
        assert holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20).charged_nanousd == 20
        done = refunds.refund(topup_id=topup.id, account_id=user.id, amount_nanousd=20, reason="x", operator_id=boss.id)
        assert done.state == "posted"
        assert CreditAccount.objects.get(account=user).balance_nanousd == 6 * world.USD + 80 - 40
        assert [found for found in reconcile.differences() if found.account_id == user.id] == []
