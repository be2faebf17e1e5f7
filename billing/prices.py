"""The price table: what a customer pays for a model, and where it is routed."""

import re
from typing import Any, Final

from billing.models import Price
from billing.tokenizers import BYTES, TOKENIZERS
from faces.lib.errors import InvalidInput
from faces.lib.money import LARGEST_NANOUSD

MODEL: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
LIMIT_FIELDS: Final = ("max_tokens", "max_completion_tokens")
LARGEST_TOKENS: Final = 100_000_000
PRICES: Final = (
    "input_price_nanousd",
    "output_price_nanousd",
    "cached_input_price_nanousd",
    "cache_write_price_nanousd",
    "request_price_nanousd",
    "input_cost_nanousd",
    "output_cost_nanousd",
    "cached_input_cost_nanousd",
    "cache_write_cost_nanousd",
    "request_cost_nanousd",
)


def check(price: Price) -> None:
    """Refuses a price that could not be charged or a limit that could not be kept. Raises InvalidInput naming the fields."""
    errors: dict[str, list[str]] = {}
    if not MODEL.fullmatch(price.model):
        errors["model"] = ["Write 1 to 200 characters without blanks"]
    for field in PRICES:
        value = getattr(price, field)
        if value is not None and not 0 <= value <= LARGEST_NANOUSD:
            errors[field] = ["Write an amount from 0 to 999999.999999999 USD"]
    if (price.input_cost_nanousd is None) != (price.output_cost_nanousd is None):
        errors["output_cost_nanousd"] = ["Say what both input and output cost you, or neither"]
    if not 1 <= price.context_tokens <= LARGEST_TOKENS:
        errors["context_tokens"] = [f"Write whole tokens from 1 to {LARGEST_TOKENS}"]
    if not 1 <= price.max_output_tokens <= price.context_tokens:
        errors["max_output_tokens"] = ["Write whole tokens from 1 to the context size"]
    if not 1 <= price.default_output_tokens <= price.max_output_tokens:
        errors["default_output_tokens"] = ["Write whole tokens from 1 to the largest output"]
    if price.upstream_model and not MODEL.fullmatch(price.upstream_model):
        errors["upstream_model"] = [
            "Write at most 200 characters without blanks, or nothing if its name is the same there"
        ]
    if price.limit_field not in LIMIT_FIELDS:
        errors["limit_field"] = [f"Write one of {', '.join(LIMIT_FIELDS)}"]
    if price.prompt_bound != BYTES and price.prompt_bound not in TOKENIZERS:
        errors["prompt_bound"] = [f"Write {BYTES} or one of {', '.join(sorted(TOKENIZERS))}"]
    if errors:
        raise InvalidInput(errors)


def save(*, model: str, changes: dict[str, Any]) -> tuple[Price, bool]:
    """Add the model or change what is named in `changes`; the row, and whether it is new. An operator who sets a price has
    looked, so a suspension for losses ends here. Output limits not named are kept within the ones that are.

    Raises InvalidInput.
    """
    price = Price.objects.filter(model=model).first()
    is_new = price is None
    if price is None:
        price = Price(model=model)
    for field, value in changes.items():
        setattr(price, field, value)
    if "max_output_tokens" not in changes:
        price.max_output_tokens = min(price.max_output_tokens, price.context_tokens)
    if "default_output_tokens" not in changes:
        price.default_output_tokens = min(price.default_output_tokens, price.max_output_tokens)
    price.suspended_at = None
    check(price)
    price.save()
    return price, is_new


def serve(*, model: str) -> bool:
    """End the suspension of a model for its losses: an operator has looked. False if it was not suspended."""
    return Price.objects.filter(model=model, suspended_at__isnull=False).update(suspended_at=None) > 0
