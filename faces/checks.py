"""Settings that would be unsafe, as system checks with IDs. The server refuses to start on an error."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from accounts import public_origins
from faces.lib.money import InvalidMoney, parse_usd

AMOUNTS = ("FACES_LOSS_LIMIT_ACCOUNT", "FACES_LOSS_LIMIT_MODEL", "FACES_TOPUP_MAX", "FACES_KEY_TOPUP_DAILY")


def production_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """faces.E001 to E007. Nothing is checked in the development profile."""
    if settings.FACES_PROFILE == "development":
        return []
    found = [
        (
            settings.FACES_PROFILE != "production",
            "E001",
            f"FACES_PROFILE is {settings.FACES_PROFILE!r}",
            "Set it to development or production.",
        ),
        (
            len(settings.SECRET_KEY) < 50 or settings.SECRET_KEY == settings.INSECURE_SECRET_KEY,
            "E002",
            "FACES_SECRET_KEY is missing, short, or the development one",
            "Set it to at least 50 random characters.",
        ),
        (settings.DEBUG, "E003", "FACES_DEBUG is on", "Unset it."),
        (
            settings.FACES_TEST_PAYMENTS,
            "E004",
            "FACES_TEST_PAYMENTS is on: anybody could credit themselves",
            "Unset it.",
        ),
        (
            not settings.DATABASE_URL,
            "E005",
            "DATABASE_URL is not set",
            "Set it to postgresql://user:password@host:5432/name; the embedded database is for development only.",
        ),
        (
            not _are_public(),
            "E006",
            "FACES_PUBLIC_ORIGINS must name the https origins people open, such as https://faces.example",
            "Separate several by commas; no path, no trailing slash.",
        ),
        (
            not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS,
            "E007",
            "FACES_ALLOWED_HOSTS must name the hosts this service answers for",
            "Separate several by commas, such as faces.example.",
        ),
    ]
    return [Error(message, hint=hint, id=f"faces.{code}") for is_wrong, code, message, hint in found if is_wrong]


def money_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """faces.E008 to E010, in every profile: an amount that is none would stop every settlement, not only the start."""
    found: list[CheckMessage] = [
        Error(f"{name} is {getattr(settings, name)}", hint="Write USD from 0 to 999999.999999999.", id="faces.E008")
        for name in AMOUNTS
        if not _is_amount(getattr(settings, name))
    ]
    if settings.FACES_HOLD_MARGIN_SECONDS < 1:
        hint = "Write whole seconds from 1: a hold must outlast its call."
        found.append(Error("FACES_HOLD_MARGIN_SECONDS is too small", hint=hint, id="faces.E009"))
    if not _is_markup(settings.FACES_MARKUP):
        hint = "Write a part of the published price from 0 to 10, with at most 6 decimals: 0.05 adds five percent."
        found.append(Error(f"FACES_MARKUP is {settings.FACES_MARKUP}", hint=hint, id="faces.E010"))
    return found


def _is_amount(value: Any) -> bool:
    try:
        return parse_usd(value) >= 0
    except InvalidMoney:
        return False


def _is_markup(value: Decimal) -> bool:
    """Few decimals, so that its product with any published price is exact."""
    return value.is_finite() and 0 <= value <= 10 and int(value.as_tuple().exponent) >= -6


def _are_public() -> bool:
    try:
        return all(origin.scheme == "https" for origin in public_origins.known())
    except ImproperlyConfigured:
        return False
