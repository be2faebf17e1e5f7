"""What every answer of the control plane carries."""

import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers, has_vary_header
from whitenoise.middleware import WhiteNoiseMiddleware

from faces.lib.paths import is_api

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""One strict policy for the whole service, the admin included: it is the most privileged face."""

Handler = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: Handler) -> Handler:
    """Gives each request an id, puts it and the content security policy on the answer, and forbids caches to keep an API
    answer (RFC 9111 §5.2.2.5) or a page that was made for whoever is signed in, whatever its status: after signing out, the
    back button shows no money and no keys."""

    def handle(request: HttpRequest) -> HttpResponse:
        request.META["faces.request_id"] = identifier = uuid.uuid4().hex
        response = get_response(request)
        response["X-Request-Id"] = identifier
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        if is_api(request.path):
            response["Cache-Control"] = "no-store"
        elif has_vary_header(response, "Cookie"):
            add_never_cache_headers(response)
        return response

    return handle


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise under ASGI. Its synchronous file would be read whole by Django's handler, with a warning each time; here it
    is read whole without one. The files are small and browsers keep them."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:  # type: ignore[override]
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file as file:
                body = file.read()
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
