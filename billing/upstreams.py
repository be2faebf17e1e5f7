"""The upstreams an operator set up."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from billing.models import OnHangup, Upstream
from faces.lib.errors import InvalidInput

ECHO_URL: Final = "echo:"
"""The development profile's own model, inside the service."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MONEY_FIELDS: Final = frozenset(
    {
        "model",
        "messages",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "service_tier",
        "usage",
    }
)
LONGEST_TIMEOUT_SECONDS: Final = 86_400
OWN_SETTINGS: Final = ("FACES_", "DATABASE_URL", "PGPASSWORD")
"""How the names of the service's own settings begin. As an upstream's API key they would leave with the first call."""
LONGEST_PATH: Final = 500
"""What the columns of addresses and file names take."""


def check(upstream: Upstream) -> None:
    """Refuses what no call could use or what would escape the price table. Raises InvalidInput naming the fields."""
    errors: dict[str, list[str]] = {}
    if not NAME.fullmatch(upstream.name):
        errors["name"] = ["Write letters, digits, dots, dashes and underscores, at most 100"]
    problem = _url_problem(upstream.base_url)
    if problem:
        errors["base_url"] = [problem]
    if len(upstream.api_key_file) > LONGEST_PATH or not upstream.api_key_file.isprintable():
        errors["api_key_file"] = [f"Write a path of at most {LONGEST_PATH} printable characters"]
    if upstream.api_key_env and upstream.api_key_file:
        errors["api_key_file"] = ["Name an environment variable or a file for the API key, not both"]
    if upstream.api_key_env and not FIELD.fullmatch(upstream.api_key_env):
        errors["api_key_env"] = [
            "Write the name of an environment variable, such as OPENAI_API_KEY, never the key itself"
        ]
    if upstream.api_key_env.startswith(OWN_SETTINGS):
        errors["api_key_env"] = [f"{upstream.api_key_env} is the service's own and is sent to nobody; name another"]
    if not 1 <= upstream.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        errors["timeout_seconds"] = [f"Write whole seconds from 1 to {LONGEST_TIMEOUT_SECONDS}"]
    if upstream.on_hangup not in OnHangup.values:
        errors["on_hangup"] = [f"Write one of {', '.join(OnHangup.values)}"]
    wrong = [field for field in upstream.pass_fields if not FIELD.fullmatch(field) or field in MONEY_FIELDS]
    if wrong:
        errors["pass_fields"] = [f"{field!r} may not be let through unchecked" for field in wrong]
    if errors:
        raise InvalidInput(errors)


def save(*, name: str, changes: dict[str, Any]) -> tuple[Upstream, bool]:
    """Add the upstream or change what is named in `changes`; the row, and whether it is new. Raises InvalidInput."""
    upstream = Upstream.objects.filter(name=name).first()
    is_new = upstream is None
    if upstream is None:
        if "base_url" not in changes:
            raise InvalidInput({"base_url": [f"There is no upstream {name!r} yet: a new one needs its address"]})
        upstream = Upstream(name=name)
    for field, value in changes.items():
        setattr(upstream, field, value)
    check(upstream)
    upstream.save()
    return upstream, is_new


def _url_problem(url: str) -> str:
    if url == ECHO_URL:
        return "" if settings.DEVELOPMENT else "echo: is for the development profile only"
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username is not None or not url.isprintable():
        return "Write an address such as https://api.openai.com/v1, without user, query or fragment"
    if len(url) > LONGEST_PATH:
        return f"Write an address of at most {LONGEST_PATH} characters"
    return ""
