"""The sign-in page and the session it opens."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from eth_account.signers.local import LocalAccount

from accounts import siwe
from accounts.models import User
from tests import world
from tests.accounts import wallet

pytestmark = pytest.mark.django_db(transaction=True)

THEIRS = (
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "http:evil.example",
    "https:///evil.example",
    "\x00/keys",
)


def form(owner: LocalAccount, **changes: str) -> dict[str, str]:
    """What the page sends when its wallet has signed."""
    nonce = wallet.nonce_for(owner, now=timezone.now())
    signature = wallet.sign(owner, siwe.write(nonce))
    return {"address": owner.address, "signature": signature, "nonce": nonce.text, **changes}


def sign_in(browser: Client, owner: LocalAccount, **changes: str) -> Any:
    return browser.post("/sign-in", form(owner, **changes))


class TestSignIn:
    def test_opens_an_account_and_comes_back_to_the_page_asked_for(self) -> None:
        browser, owner = Client(), wallet.create()
        answer = sign_in(browser, owner, next="/keys?cursor=x")
        assert (answer.status_code, answer["Location"]) == (302, "/keys?cursor=x")
        user = User.objects.get(wallets__address=owner.address.lower())
        assert browser.session["_auth_user_id"] == str(user.pk)
        assert browser.get("/sign-in?next=/usage")["Location"] == "/usage", "who is in already goes on"

    @pytest.mark.parametrize("target", THEIRS)
    def test_leads_to_no_other_site(self, target: str) -> None:
        browser, owner = Client(), wallet.create()
        assert sign_in(browser, owner, next=target)["Location"] == "/"
        assert browser.get("/sign-in", {"next": target})["Location"] == "/"

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"nonce": "a" * 96}, "The message was older than five minutes."),
            ({"signature": "0x" + "11" * 65}, "That signature did not fit the message."),
            ({"signature": "undefined"}, "That signature did not fit the message."),
            ({"address": "0x" + "00" * 20}, "That signature did not fit the message."),
            ({"address": "", "signature": "", "nonce": ""}, "The message was older than five minutes."),
        ],
    )
    def test_says_why_not_and_opens_nothing(self, changes: dict[str, str], words: str) -> None:
        browser = Client()
        answer = sign_in(browser, wallet.create(), next="/keys", **changes)
        page = answer.content.decode()
        assert answer.status_code == 400
        assert words in page
        assert 'name="next" value="/keys"' in page
        assert browser.get("/keys").status_code == 302

    def test_takes_a_message_once(self) -> None:
        sent = form(wallet.create())
        assert [Client().post("/sign-in", sent).status_code for _ in range(2)] == [302, 400]

    def test_offers_no_throw_away_wallet_in_production(self, settings: Any) -> None:
        assert "throw-away" in Client().get("/sign-in").content.decode()
        settings.DEVELOPMENT = False
        assert "throw-away" not in Client().get("/sign-in").content.decode()


class TestSession:
    def test_key_is_another_after_signing_in(self) -> None:
        browser, owner = Client(), wallet.create()
        session = browser.session
        session["planted"] = "by somebody else"
        session.save()
        before = session.session_key
        browser.cookies["sessionid"] = before
        sign_in(browser, owner)
        assert browser.cookies["sessionid"].value not in ("", before)
        assert not Session.objects.filter(session_key=before).exists()
        thief = Client()
        thief.cookies["sessionid"] = before
        assert thief.get("/keys").status_code == 302

    def test_of_another_account_is_not_taken_over(self) -> None:
        browser = Client()
        sign_in(browser, wallet.create())
        session = browser.session
        session["mine"] = True
        session.save()
        sign_in(browser, wallet.create())
        assert "mine" not in browser.session

    def test_ends_on_the_server_too(self) -> None:
        browser, copy = Client(), Client()
        sign_in(browser, wallet.create())
        copy.cookies["sessionid"] = browser.cookies["sessionid"].value
        assert copy.get("/keys").status_code == 200
        assert browser.post("/sign-out")["Location"] == "/sign-in"
        assert copy.get("/keys").status_code == 302
        assert browser.get("/keys").status_code == 302

    def test_of_a_closed_account_opens_nothing(self) -> None:
        user = world.account()
        browser = Client()
        browser.force_login(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert browser.get("/keys").status_code == 302

    def test_cookie_is_for_this_site_and_not_for_scripts(self) -> None:
        cookie = sign_in(Client(), wallet.create()).cookies["sessionid"]
        assert (cookie["httponly"], cookie["samesite"], cookie["domain"], cookie["path"]) == (True, "Lax", "", "/")

    def test_cookies_are_secure_in_production(self) -> None:
        """Asked of the settings themselves, in a process that reads them as production does."""
        environment = {
            **os.environ,
            "FACES_PROFILE": "production",
            "FACES_SECRET_KEY": "aB3dE6gH9-" * 6,
            "FACES_PUBLIC_ORIGINS": "https://faces.example",
            "FACES_ALLOWED_HOSTS": "faces.example",
        }
        names = [
            "SESSION_COOKIE_SECURE",
            "CSRF_COOKIE_SECURE",
            "SESSION_COOKIE_HTTPONLY",
            "SESSION_COOKIE_SAMESITE",
            "SECURE_SSL_REDIRECT",
        ]
        code = (
            f"import json; from faces import settings; print(json.dumps([getattr(settings, name) for name in {names}]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert json.loads(done.stdout) == [True, True, True, "Lax", True]


class TestAppearance:
    def test_is_kept_in_a_cookie_and_written_into_every_page(self) -> None:
        browser = Client()
        browser.post("/appearance", {"theme": "dark"}, HTTP_REFERER="http://testserver/keys")
        assert 'data-theme="dark"' in browser.get("/sign-in").content.decode()
        browser.post("/appearance", {"theme": "pink"})
        assert "data-theme" not in browser.get("/sign-in").content.decode()

    @pytest.mark.parametrize("referer", THEIRS)
    def test_leads_to_no_other_site(self, referer: str) -> None:
        assert Client().post("/appearance", {"theme": "dark"}, headers={"referer": referer})["Location"] == "/"
