"""Being signed in to the pages: a Django session, opened by a wallet's signature."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"

Page = Callable[..., HttpResponseBase]


def open_session(request: HttpRequest, account: User) -> None:
    """Sign the browser in; its session key is replaced (session fixation)."""
    login(request, account, backend=BACKEND)


def close_session(request: HttpRequest) -> None:
    logout(request)


def signed_in(page: Page) -> Page:
    """The page is for who is signed in; others go to the sign-in page and come back."""

    @wraps(page)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            query = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
            return HttpResponseRedirect(f"{reverse('sign-in')}?{query}" if query else reverse("sign-in"))
        return page(request, *args, **kwargs)

    return guarded


def next_page(request: HttpRequest) -> str:
    """Where `next` leads, if that is a page of ours; else the start."""
    return _ours(request, request.POST.get("next") or request.GET.get("next") or "")


def page_before(request: HttpRequest) -> str:
    """The page a form was sent from, if that is one of ours; else the start."""
    return _ours(request, request.headers.get("Referer", ""))


def _ours(request: HttpRequest, target: str) -> str:
    is_ours = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if is_ours else reverse("home")


def account_of(request: HttpRequest) -> User:
    """The account that is signed in; only for pages behind `signed_in`."""
    if not isinstance(request.user, User):
        raise TypeError("this page is not behind signed_in")
    return request.user
