"""The pages of keys: the list, making one, changing, freezing and revoking it. One key's own page is in `billing.key_page`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import apnumber
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import public_origins
from accounts.sessions import account_of, signed_in
from apikeys import budgets, issuing, listing, once
from apikeys.forms import KeyForm
from apikeys.listing import Counts
from apikeys.models import MAX_LEVELS, ApiKey
from apikeys.standing import Standing
from apikeys.visibility import KeyNotFound
from faces.lib.errors import FacesError, InvalidInput

MOST_PARENTS: Final = 200
MOST_LISTED: Final = 100


@signed_in
@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """The keys of the account, children under their parents, in pages of 50 roots."""
    account_id = account_of(request).pk
    try:
        found = listing.page(account_id=account_id, query=request.GET)
    except InvalidInput:
        raise Http404 from None
    counts = listing.count(account_id)
    context = {"place": "keys", "listing": found, "counts": counts, "sentence": _sentence(counts)}
    return render(request, "apikeys/keys.html", context)


@signed_in
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponseBase:
    """Make a key. It is shown in the answer to the form and nowhere else; sending the form again makes no second one."""
    if request.method == "GET":
        return _new(request, KeyForm(parent=request.GET.get("parent", "")))
    if not once.take(request):
        text = "This form was sent before, or its page is old. No key was made now. A key is shown once: if you did not see yours, revoke it and make another."
        messages.add_message(request, messages.WARNING, text, extra_tags="wait")
        return HttpResponseRedirect(reverse("keys"))
    form = KeyForm.of_post(request.POST)
    if not form.is_valid:
        return _new(request, form)
    try:
        key, text = issuing.issue(account_id=account_of(request).pk, parent_id=form.parent_id, **form.values)
    except FacesError as error:
        form.refuse(error)
        return _new(request, form)
    return _made(request, key, text)


@signed_in
@require_POST
def change(request: HttpRequest, key_id: UUID) -> HttpResponse:
    key = _find(request, key_id)
    form = KeyForm.of_post(request.POST)
    if form.is_valid:
        try:
            with _or_404():
                issuing.change(account_id=key.account_id, key_id=key.id, changes=form.changes)
        except FacesError as error:
            form.refuse(error)
    if not form.is_valid:
        context = {"place": "keys", "key": key, "form": form}
        return render(request, "apikeys/edit.html", context, status=400)
    return _back(request, key, "Saved." if form.changes else "Nothing to save: the form was as before.")


@signed_in
@require_POST
def freeze(request: HttpRequest, key_id: UUID) -> HttpResponse:
    key = _find(request, key_id)
    with _or_404():
        issuing.freeze(account_id=key.account_id, key_id=key.id)
    return _back(request, key, f"{key.name} is frozen. Its calls, and those of every key under it, answer 402.")


@signed_in
@require_POST
def unfreeze(request: HttpRequest, key_id: UUID) -> HttpResponse:
    key = _find(request, key_id)
    with _or_404():
        issuing.unfreeze(account_id=key.account_id, key_id=key.id)
    return _back(request, key, f"{key.name} is no longer frozen.")


@signed_in
@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """What revoking means, and then doing it."""
    account_id = account_of(request).pk
    if request.method == "POST":
        key = _find(request, key_id)
        with _or_404():
            ended = issuing.revoke(account_id=account_id, key_id=key_id, now=timezone.now())
        what = f"{key.name} is" if ended == 1 else f"{key.name} and {_keys(ended - 1)} under it are"
        _say(request, f"{what} revoked. Calls with {'it' if ended == 1 else 'them'} answer 401 from now on.")
        return HttpResponseRedirect(reverse("keys"))
    rows = listing.family(account_id=account_id, key_id=key_id)
    if not rows:
        raise Http404
    context: dict[str, Any] = {"place": "keys", "key": rows[0].key, "rows": rows[:MOST_LISTED], "count": len(rows)}
    context |= {
        "more": len(rows) - MOST_LISTED,
        "under": "key" if len(rows) == 2 else _keys(len(rows) - 1),
        "all": _keys(len(rows)),
    }
    return render(request, "apikeys/revoke.html", context)


def _new(request: HttpRequest, form: KeyForm) -> HttpResponse:
    parents = _parents(request, form)
    context = {"place": "keys", "form": form, "token": once.token(request), "parents": parents}
    context["is_cut"] = len(parents) >= MOST_PARENTS
    return render(request, "apikeys/new.html", context, status=200 if form.is_valid else 400)


def _parents(request: HttpRequest, form: KeyForm) -> list[ApiKey]:
    """Keys that another may be made under, with what is left of them: the newest, and the one asked for."""
    live = ApiKey.objects.filter(account_id=account_of(request).pk, revoked_at=None)
    frozen = list(live.filter(is_frozen=True).values_list("id", flat=True))
    usable = live.filter(ancestor_ids__len__lt=MAX_LEVELS - 1).exclude(id__in=frozen)
    usable = budgets.with_remaining(usable.exclude(ancestor_ids__overlap=frozen))
    found = list(usable.order_by("-id")[:MOST_PARENTS])
    if form.parent_id is not None and all(key.id != form.parent_id for key in found):
        found += usable.filter(id=form.parent_id)
    return sorted(found, key=lambda key: (key.name.casefold(), key.id))


def _made(request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
    """The one page that shows the key."""
    above = ApiKey.objects.filter(account_id=key.account_id, id__in=key.ancestor_ids).order_by("ancestor_ids__len")
    standing = Standing((*above, key))
    listed = standing.listed
    context = {
        "place": "keys",
        "key": key,
        "standing": standing,
        "text": text,
        "base_url": f"{public_origins.known()[0]}/v1",
        "origin": "" if listed is None else _page_at(listed.allowlist[0]),
        "model": "echo" if settings.DEVELOPMENT else "MODEL",
    }
    return render(request, "apikeys/made.html", context, status=201)


def _page_at(entry: str) -> str:
    """A web origin that an entry of an allowlist lets in."""
    host = entry.replace("*.", "www.", 1)
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}" if host == "localhost" else f"https://{host}"


def _find(request: HttpRequest, key_id: UUID) -> ApiKey:
    key = ApiKey.objects.filter(account_id=account_of(request).pk, id=key_id, revoked_at=None).first()
    if key is None:
        raise Http404
    return key


@contextmanager
def _or_404() -> Iterator[None]:
    """A key that was there a moment ago may be gone."""
    try:
        yield
    except KeyNotFound:
        raise Http404 from None


def _back(request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
    _say(request, text)
    return HttpResponseRedirect(reverse("key", args=[key.id]))


def _say(request: HttpRequest, text: str) -> None:
    messages.add_message(request, messages.SUCCESS, text, extra_tags="ok")


def _keys(count: int) -> str:
    return f"{apnumber(count) if count < 10 else f'{count:,}'} key{'' if count == 1 else 's'}"


def _sentence(counts: Counts) -> str:
    """How many keys there are, and how many of them are stopped."""
    parts = [f"{_keys(counts.keys).capitalize()}."]
    if counts.spent:
        parts.append(f"{_keys(counts.spent).capitalize()} can spend nothing more: a cap is reached.")
    if counts.frozen:
        parts.append(f"{_keys(counts.frozen).capitalize()} {'is' if counts.frozen == 1 else 'are'} frozen.")
    if counts.nested:
        parts.append(
            "A child counts against itself and every key above it, so no chain spends more than any of its links allows."
        )
    return " ".join(parts)
