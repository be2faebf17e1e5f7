"""The admin's frame: who is let in, who is told what, and which links an operator sees."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from faces.admin_site import OperationsSite
from tests import world

pytestmark = pytest.mark.django_db

PASSWORD = "an operator's long password"
HOLDS = "/admin/billing/hold/"


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def operator(*, permissions: tuple[str, ...] = (), **fields: Any) -> User:
    user = world.account(username="operator", password=PASSWORD, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def rail(client: Client, path: str) -> dict[str, list[str]]:
    """The rail of a page as the browser gets it: the words of each group's links."""
    html = client.get(path).content.decode()
    places = re.search(r'<nav class="places".*?</nav>', html, re.DOTALL)
    assert places is not None
    groups = re.findall(r"<h2>(.*?)</h2><ul>(.*?)</ul>", places.group(), re.DOTALL)
    return {name: re.findall(r"</svg>(.*?)</a>", links) for name, links in groups}


class TestRail:
    def test_has_the_operators_words_in_their_groups(self) -> None:
        shown = rail(client_of(operator(is_superuser=True)), HOLDS)
        assert shown["Today"] == ["Morning page"]
        assert shown["People"] == ["Accounts", "Wallets", "Keys"]
        assert shown["Money"] == ["Credit", "Transfers", "Holds", "Top-ups"]
        assert shown["Models"] == ["Prices", "Upstreams"]
        assert shown["Record"] == ["Audit log", "Ledger checks", "Permission groups"]
        assert list(shown)[-1] == "Internals"
        assert shown["Internals"][:4] == ["Used nonces", "Key directory", "Payment references", "Jobs"]

    def test_leads_to_every_list_there_is(self) -> None:
        client = client_of(operator(is_superuser=True))
        html = client.get(HOLDS).content.decode()
        for model in admin.site._registry:
            url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            assert html.count(f'href="{url}"') >= 1, url
            assert client.get(url).status_code == 200

    def test_has_only_what_the_operator_may_see(self) -> None:
        client = client_of(operator(permissions=("view_hold", "change_price")))
        assert rail(client, HOLDS) == {"Today": ["Morning page"], "Money": ["Holds"], "Models": ["Prices"]}
        assert client.get("/admin/billing/transfer/").status_code == 403

    def test_marks_the_one_place_that_is_open(self) -> None:
        html = client_of(operator(is_superuser=True)).get(HOLDS).content.decode()
        places = re.search(r'<nav class="places".*?</nav>', html, re.DOTALL)
        assert places is not None
        assert re.findall(r'href="([^"]*)" aria-current="page"', places.group()) == [HOLDS]

    def test_costs_a_page_five_queries_in_all(self, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
        client = client_of(operator(permissions=("view_hold",)))
        with django_assert_max_num_queries(5):  # session, user, permissions of it and of its groups, wallet
            client.get("/admin/password_change/")

    def test_is_absent_from_windows_that_pick_a_row(self) -> None:
        html = client_of(operator(is_superuser=True)).get("/admin/billing/upstream/add/?_popup=1").content.decode()
        assert 'class="places"' not in html
        assert 'name="_popup"' in html


class TestSignIn:
    def test_is_where_the_address_without_a_slash_leads(self) -> None:
        answer = Client().get("/admin", follow=True)
        assert [url for url, _ in answer.redirect_chain] == ["/admin/", "/admin/login/?next=/admin/"]

    def test_offers_the_wallet_and_keeps_the_page_asked_for(self) -> None:
        asked = Client().get(HOLDS, {"look": "lost"})
        assert asked.status_code == 302
        html = Client().get(asked["Location"]).content.decode()
        assert 'href="/sign-in?next=%2Fadmin%2Fbilling%2Fhold%2F%3Flook%3Dlost"' in html

    def test_never_leads_to_another_site(self) -> None:
        html = Client().get("/admin/login/", {"next": "https://evil.example/"}).content.decode()
        assert 'href="/sign-in?next="' in html

    def test_with_a_password_leads_to_the_page_asked_for(self) -> None:
        operator()
        answer = Client().post("/admin/login/", {"username": "operator", "password": PASSWORD, "next": HOLDS})
        assert (answer.status_code, answer["Location"]) == (302, HOLDS)

    def test_says_the_same_of_a_wrong_password_and_of_a_customer(self) -> None:
        operator()
        world.account(username="customer", password=PASSWORD)
        pages = [
            Client().post("/admin/login/", {"username": name, "password": password}).content.decode()
            for name, password in (("operator", "wrong"), ("customer", PASSWORD), ("nobody", PASSWORD))
        ]
        assert ["No operator has this user name and password." in page for page in pages] == [True] * 3

    def test_tells_who_is_no_operator_so_instead_of_sending_them_round(self) -> None:
        client = client_of(world.account())
        answer = client.get("/admin/", follow=True)
        assert answer.status_code == 403
        assert len(answer.redirect_chain) == 1
        assert "This account is not an operator’s." in answer.content.decode()

    def test_lets_an_operator_in_over_a_customers_session(self) -> None:
        operator(is_superuser=True)
        client = client_of(world.account())
        assert client.post("/admin/login/", {"username": "operator", "password": PASSWORD}).status_code == 302
        assert client.get(HOLDS).status_code == 200

    def test_refuses_an_account_that_is_closed(self) -> None:
        user = operator()
        client = client_of(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert client.get(HOLDS).status_code == 302

    def test_ends_with_signing_out(self) -> None:
        client = client_of(operator(is_superuser=True))
        assert client.get("/admin/logout/").status_code == 405
        assert "You are signed out" in client.post("/admin/logout/").content.decode()
        assert client.get(HOLDS).status_code == 302


class TestAppearance:
    def test_is_the_dashboards(self) -> None:
        client = client_of(operator(is_superuser=True))
        client.cookies["theme"] = "dark"
        html = client.get(HOLDS).content.decode()
        assert '<html lang="en" data-theme="dark">' in html
        assert "theme.js" not in html


class TestPolicy:
    def test_is_the_one_of_the_whole_service(self) -> None:
        client = client_of(operator(is_superuser=True))
        for path in ("/admin/", "/admin/login/", HOLDS, "/admin/jsi18n/"):
            policy = client.get(path)["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "script-src 'self';" in policy


class TestDefaultSite:
    def test_is_ours(self) -> None:
        assert isinstance(admin.site, OperationsSite)

    def test_writes_times_as_everywhere_else(self) -> None:
        user = operator(is_superuser=True)
        html = client_of(user).get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
        assert f"{user.created_at.day} {user.created_at:%b %Y, %H:%M:%S} UTC" in html
