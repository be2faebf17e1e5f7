"""Integer nano-dollars inside, decimal text at the edges. The only module that knows the scale.

1 USD = 10⁹ nano-USD. Token prices are nano-USD per million tokens, so that the cheapest published price is an integer.
"""

import re
from decimal import Decimal
from typing import Any, Final

NANO_PER_USD: Final = 10**9
TOKENS_PER_PRICE: Final = 10**6
LARGEST_NANOUSD: Final = 999_999_999_999_999
"""999,999.999999999 USD: the most any one amount in a request may be."""
DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
LARGEST_USD: Final = Decimal(LARGEST_NANOUSD).scaleb(-9)


class InvalidMoney(ValueError):
    """Not an amount of USD that Faces can keep exactly."""


def parse_usd(value: Any) -> int:
    """Nano-USD of a JSON number (`int` or `Decimal`, never a float, a string or a boolean).

    Raises InvalidMoney, whose text says what is wrong: not a number, NaN or infinite, more than nine decimals, or more
    than 999,999.999999999 either way. The sign is kept; whether a negative amount makes sense is the caller's rule.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidMoney("A number is required, for example 5.00")
    amount = Decimal(value)
    if not amount.is_finite():
        raise InvalidMoney("A finite number is required, for example 5.00")
    if amount.copy_abs() > LARGEST_USD:
        raise InvalidMoney("At most 999999.999999999 is allowed")
    if int(amount.as_tuple().exponent) < -9:
        raise InvalidMoney("At most 9 decimals are allowed")
    return int(amount.scaleb(9))


def parse_usd_text(text: str) -> int:
    """Nano-USD of a plain decimal written by a person, as in a command line or a form. Raises InvalidMoney."""
    kept = text.strip()
    if DECIMAL.fullmatch(kept) is None:  # Decimal takes more: 1_0 and ٥ too
        raise InvalidMoney(f"{text!r} is not an amount in USD; write for example 5.00")
    return parse_usd(Decimal(kept))


def usd_text(nanousd: int) -> str:
    """Plain decimal USD with two to nine decimals and no exponent: `50.00`, `0.000025`, `-1.50`."""
    sign = "-" if nanousd < 0 else ""
    whole, part = divmod(abs(nanousd), NANO_PER_USD)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def token_cost(*, weighted: int) -> int:
    """Nano-USD for Σ tokens × (nano-USD per million tokens), rounded up: the one rounding of a charge."""
    return -(-weighted // TOKENS_PER_PRICE)
