"""Pages that belong to no app, and the answers to paths nobody owns."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from psycopg_pool import PoolTimeout

from billing import balances, overview
from faces.lib.drf import render_json
from faces.lib.paths import is_api

AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What a database that cannot be reached raises."""


def home(request: HttpRequest) -> HttpResponse:
    """The overview; for who is not signed in, the way in."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("sign-in"))
    account_id = request.user.pk
    found = overview.read(account_id, balances.read(account_id), today=timezone.now().date())
    context = {"place": "overview", "overview": found, "title": "Spend per day"}
    return render(request, "faces/overview.html", context)


@csrf_exempt
def unknown_api_path(request: HttpRequest) -> HttpResponse:
    """Without the check of cookies that pages need: a POST to a path that is not there is a 404 in JSON, not a 403 in HTML."""
    return _json(404, "Not found")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_api(request.path):
        return _json(404, "Not found")
    return render(request, "faces/not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """A bug, or the database away. The page is made without the request: who is signed in could not be read either."""
    identifier = request.META.get("faces.request_id", "")
    if is_api(request.path):
        return _json(500, f"Internal error; quote request {identifier}")
    status = 503 if isinstance(sys.exc_info()[1], AWAY) else 500
    context = {"status": status, "request_id": identifier, "again": request.get_full_path()}
    response = HttpResponse(render_to_string("faces/error.html", context), status=status)
    if status == 503:
        response["Retry-After"] = "2"
    return response


def _json(status: int, detail: str) -> HttpResponse:
    return HttpResponse(render_json({"detail": detail}), content_type="application/json", status=status)
