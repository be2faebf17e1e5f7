from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import User, Wallet
from apikeys.authentication import PaymentRequired, Unauthorized
from apikeys.models import ApiKey
from billing import holds
from tests import world
from tests.accounts.people import log
from tests.world import USD

pytestmark = pytest.mark.django_db

LIST = "/admin/apikeys/apikey/"


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("operator")


@pytest.fixture
def operator(boss: User) -> Client:
    client = Client()
    client.force_login(boss)
    return client


def ask(client: Client, action: str, *keys: ApiKey, **fields: str) -> str:
    """What the list answers when these keys are chosen for an action."""
    data = {"action": action, "_selected_action": [str(key.id) for key in keys], **fields}
    return client.post(LIST, data, follow=True).content.decode()


def act(client: Client, action: str, *keys: ApiKey, reason: str = "") -> str:
    return ask(client, action, *keys, confirmed="yes", reason=reason)


def url(key: ApiKey, page: str = "change") -> str:
    return reverse(f"admin:apikeys_apikey_{page}", args=[key.id])


def listed(client: Client, **query: str) -> set[ApiKey]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return set(answer.context["cl"].result_list)


def call(key: ApiKey) -> str:
    """Why a call with the key is refused; '' when it runs."""
    try:
        holds.place(world.request(key.account, key, rates=world.flat(1)))
    except PaymentRequired as refusal:
        return refusal.code
    except Unauthorized:
        return "revoked"
    return ""


class TestSearch:
    @pytest.mark.parametrize(
        "term",
        [
            lambda key: "Web",
            lambda key: "web shop",
            lambda key: key.public_id,
            lambda key: key.prefix,
            lambda key: key.text,
            lambda key: f" {key.prefix} ",
            lambda key: str(key.id),
            lambda key: str(key.account_id),
            lambda key: "0x" + "AB" * 20,
            lambda key: "0xabab",
        ],
    )
    def test_finds_a_key_by(self, operator: Client, term: Callable[[Any], str]) -> None:
        user = world.account()
        Wallet.objects.create(account=user, address="0x" + "ab" * 20)
        key = world.key(user, name="web shop")
        world.key(world.account(), name="other")
        assert listed(operator, q=term(key)) == {key}

    @pytest.mark.parametrize("term", ["nobody", "'\"", "é", "0x", "sk-faces-", "a b c", "%", "\\"])
    def test_takes_anything(self, operator: Client, term: str) -> None:
        world.key(world.account(), name="web shop")
        assert listed(operator, q=term) == set()


class TestFilters:
    def test_narrow_by_state_cap_and_account(self, operator: Client) -> None:
        user = world.account()
        free, capped = world.key(user), world.key(user, budget=0)
        frozen, revoked = world.key(user, is_frozen=True), world.key(world.account(), budget=USD)
        act(operator, "revoke", revoked)
        ours = {free, capped, frozen, revoked}
        assert listed(operator, state="live") & ours == {free, capped, frozen}
        assert listed(operator, state="frozen") & ours == {frozen}
        assert listed(operator, state="revoked") & ours == {revoked}
        assert listed(operator, cap="yes") & ours == {capped, revoked}
        assert listed(operator, cap="no") & ours == {free, frozen}
        assert listed(operator, q=str(user.pk), cap="yes") == {capped}
        assert listed(operator, q=str(user.pk), state="frozen") == {frozen}


class TestPage:
    def test_shows_money_in_usd_and_nothing_to_write_or_delete(self, operator: Client) -> None:
        key = world.key(world.account(), budget=5 * USD)
        page = operator.get(f"{LIST}{key.id}/change/").content.decode()
        assert "5.00" in page
        assert "sk-faces-" in page
        assert 'name="_save"' not in page
        assert operator.get(f"{LIST}add/").status_code == 403
        assert operator.post(f"{LIST}{key.id}/delete/", {"post": "yes"}).status_code == 403
        assert operator.post(f"{LIST}{key.id}/change/", {"name": "x", "budget_nanousd": "0"}).status_code == 403
        assert (ApiKey.objects.get(id=key.id).name, ApiKey.objects.get(id=key.id).budget_nanousd) == ("test", 5 * USD)

    def test_links_its_account_its_parent_and_its_children(self, operator: Client) -> None:
        top = world.key(world.account(), name="top")
        middle = world.key(top.account, parent=top, name="middle")
        children = [world.key(top.account, parent=middle, name=f"child {number}") for number in range(2)]
        stranger = world.key(world.account())
        page = operator.get(url(middle)).content.decode()
        for there in (top, *children):
            assert url(there) in page
        assert url(stranger) not in page
        assert reverse("admin:accounts_user_change", args=[top.account_id]) in page

    def test_says_what_is_left_and_whose_cap_binds(self, operator: Client) -> None:
        top = world.key(world.account(credit=9 * USD), budget=3 * USD, name="narrow")
        key = world.key(top.account, parent=top, budget=7 * USD)
        holds.place(world.request(top.account, top, rates=world.flat(USD)))
        page = operator.get(url(key)).content.decode()
        assert 'value="7.000000000"' in page
        assert 'value="2.000000000"' in page
        assert "has less left" in page
        assert url(top) in page

    @pytest.mark.parametrize(
        ("fields", "account_fields", "words"),
        [
            ({"is_frozen": True}, {}, "This key is frozen"),
            ({}, {"is_frozen": True, "frozen_reason": "chargeback 9"}, "chargeback 9"),
            ({"budget": USD, "spent_nanousd": USD}, {}, "Its cap is spent"),
        ],
    )
    def test_says_why_it_does_not_work(
        self, operator: Client, fields: dict[str, Any], account_fields: dict[str, Any], words: str
    ) -> None:
        key = world.key(world.account(**account_fields), **fields)
        assert words in operator.get(url(key)).content.decode()

    def test_the_directory_is_there_to_be_searched(self, operator: Client) -> None:
        key, other = world.key(world.account()), world.key(world.account())
        for term in (key.public_id, key.text, str(key.id)):
            page = operator.get(reverse("admin:apikeys_keydirectory_changelist"), {"q": term}).content.decode()
            assert (str(key.id) in page, str(other.id) in page) == (True, False)


class TestVerbs:
    """From the key's own page."""

    def test_freeze_and_unfreeze_ask_and_do(self, operator: Client, boss: User) -> None:
        key = world.key(world.account(credit=USD))
        assert url(key, "freeze") in operator.get(url(key)).content.decode()
        assert "answers 402" in operator.get(url(key, "freeze")).content.decode()
        operator.post(url(key, "freeze"), {"reason": "not confirmed"})
        assert call(key) == ""
        assert operator.post(url(key, "freeze"), {"confirmed": "yes", "reason": "leaked"}).url == url(key)
        assert call(key) == "key_frozen"
        operator.post(url(key, "unfreeze"), {"confirmed": "yes"})
        assert call(key) == ""
        assert log(key) == [(boss, "Frozen. Reason: leaked"), (boss, "Unfrozen.")]

    def test_revoke_names_the_key_what_is_under_it_and_what_runs(self, operator: Client) -> None:
        top = world.key(world.account(credit=9 * USD), name="batch")
        child = world.key(top.account, parent=top, name="summaries")
        world.key(top.account, parent=child)
        gone = world.key(top.account, parent=top)
        act(operator, "revoke", gone)
        holds.place(world.request(top.account, child, rates=world.flat(USD // 4)))
        page = operator.get(url(top, "revoke")).content.decode()
        for words in (
            "Revoke batch and the 2 keys under it?",
            "these 3 keys answers 401 from now on, everywhere",
            "$0.25 is held for calls still running. They finish and are charged.",
            "This cannot be undone",
            "Keep them",
            "Freeze instead",
            "Revoke 3 keys",
        ):
            assert words in page
        assert call(top) == ""

    def test_revoke_names_no_more_than_twenty(self, operator: Client) -> None:
        top = world.key(world.account(), name="batch")
        for number in range(30):
            world.key(top.account, parent=top, name=f"under-{number}-")
        page = operator.get(url(top, "revoke")).content.decode()
        assert "Revoke batch and the 30 keys under it?" in page
        assert page.count("<li>under-") == 19
        assert "and 11 more" in page
        operator.post(url(top, "revoke"), {"confirmed": "yes"})
        assert not ApiKey.objects.filter(account=top.account, revoked_at=None).exists()

    def test_revoke_ends_it_and_all_under_it(self, operator: Client, boss: User) -> None:
        top = world.key(world.account(credit=USD), name="batch")
        child = world.key(top.account, parent=top)
        answer = operator.post(url(top, "revoke"), {"confirmed": "yes", "reason": "left us"}, follow=True)
        assert "revoked" in answer.content.decode()
        assert (call(top), call(child)) == ("revoked", "revoked")
        assert log(top) == [(boss, "Revoked with 1 under it. Reason: left us")]
        assert log(child) == [(boss, f"Revoked with {top}, which is above it. Reason: left us")]
        page = answer.content.decode()
        assert url(top, "revoke") not in page
        assert url(top, "freeze") not in page

    def test_of_a_revoked_key_say_so_and_do_nothing(self, operator: Client) -> None:
        key = world.key(world.account())
        act(operator, "revoke", key)
        for verb in ("freeze", "unfreeze", "revoke"):
            page = operator.post(url(key, verb), {"confirmed": "yes"}, follow=True).content.decode()
            assert "already revoked; nothing was done" in page
        assert ApiKey.objects.get(id=key.id).is_frozen is False
        assert len(log(key)) == 1

    def test_of_a_key_that_is_frozen_already_log_nothing(self, operator: Client) -> None:
        key = world.key(world.account(), is_frozen=True)
        act(operator, "freeze", key)
        assert log(key) == []

    @pytest.mark.parametrize("verb", ["freeze", "unfreeze", "revoke"])
    @pytest.mark.parametrize("identifier", ["nothing", "0192f0c0-0000-7000-8000-000000000000"])
    def test_of_no_key_are_not_found(self, operator: Client, verb: str, identifier: str) -> None:
        assert operator.post(f"{LIST}{identifier}/{verb}/", {"confirmed": "yes"}).status_code == 404

    def test_need_the_token_of_the_form(self, boss: User) -> None:
        strict, key = Client(enforce_csrf_checks=True), world.key(world.account())
        strict.force_login(boss)
        assert strict.post(url(key, "revoke"), {"confirmed": "yes"}).status_code == 403
        assert ApiKey.objects.get(id=key.id).revoked_at is None


class TestActions:
    def test_freeze_and_unfreeze(self, operator: Client) -> None:
        keys = [world.key(world.account()) for _ in range(2)]
        frozen = ApiKey.objects.filter(id__in=[key.id for key in keys], is_frozen=True)
        assert "Freeze 2 keys" in ask(operator, "freeze", *keys)
        assert not frozen.exists()
        assert "2 API keys are frozen" in act(operator, "freeze", *keys)
        assert frozen.count() == 2
        assert "is unfrozen" in act(operator, "unfreeze", keys[0])
        assert frozen.get() == keys[1]
        assert "Frozen." in operator.get(f"{LIST}{keys[1].id}/history/").content.decode()

    def test_revoke_takes_what_is_below_along(self, operator: Client) -> None:
        parent = world.key(world.account())
        child = world.key(parent.account, parent=parent)
        live = ApiKey.objects.filter(account_id=parent.account_id, revoked_at=None)
        assert "Revoke 2 keys" in ask(operator, "revoke", parent, child)
        assert live.count() == 2
        assert "revoked" in act(operator, "revoke", parent, child)
        assert live.count() == 0
        assert "already revoked" in act(operator, "freeze", child)
        assert ApiKey.objects.get(id=child.id).is_frozen is False

    def test_are_not_for_more_keys_than_can_be_looked_at(self, operator: Client) -> None:
        user = world.account()
        keys = [world.key(user) for _ in range(201)]
        page = ask(operator, "revoke", keys[0], select_across="1", confirmed="yes")
        assert "at most 200" in page
        assert ApiKey.objects.filter(account=user, revoked_at=None).count() == 201

    def test_are_not_for_who_may_only_look(self) -> None:
        key = world.key(world.account())
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
        client = Client()
        client.force_login(viewer)
        assert key.prefix in client.get(LIST).content.decode()
        for action in ("freeze", "revoke", "delete_selected"):
            act(client, action, key)
            assert client.post(f"{LIST}{key.id}/{action}/", {"confirmed": "yes"}).status_code in (403, 302)
        row = ApiKey.objects.get(id=key.id)
        assert (row.is_frozen, row.revoked_at) == (False, None)
