"""The published price of a model, from the data in the `genai-prices` package: nothing is downloaded.

Only prices that a `Price` row says exactly are taken: so much a token of each kind, and so much a call. What would make a call
dearer than the row says (a tier by prompt length, a time of day, audio) is refused with its reason. What the gateway never lets
through may be priced besides: web search (`web_search_options` is refused), batches, other service tiers (`default` is sent).
"""

import difflib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices

from faces.lib.errors import FacesError
from faces.lib.money import NANO_PER_USD

TOKEN_KINDS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
PER_CALL: Final = "requests_kcount"
CALLS_PER_PRICE: Final = 1000
NEVER_BILLED: Final = frozenset({"web_searches_kcount", "storage_searches_kcount", "cache_write_1h_mtok"})
"""Only what a request asks for in fields that the gateway refuses."""
SEARCHES: Final = re.compile(r"\bsearch\b|\bsonar\b")
CONTEXT: Final = {"service_tier": "default"}
NEAR: Final = 5


class ImportRefused(FacesError):
    """The published price cannot be found, or not be said exactly; the text says why and what to do."""

    status = 400
    code = "import_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a provider publishes for one model: exact USD, per million tokens and per call. None of a cache kind: as input."""

    provider: str
    model: str
    input: Decimal
    output: Decimal
    cached_input: Decimal | None
    cache_write: Decimal | None
    request: Decimal
    context_tokens: int | None

    def costs(self) -> dict[str, int | None]:
        """The columns of what the operator pays, in nano-USD, rounded up."""
        return self._columns("cost", Decimal(1))

    def prices(self, markup: Decimal) -> dict[str, int | None]:
        """The columns of what the customer pays: this × (1 + markup), in nano-USD, rounded up once."""
        return self._columns("price", 1 + markup)

    def _columns(self, kind: str, factor: Decimal) -> dict[str, int | None]:
        amounts = {name: getattr(self, name) for name in (*TOKEN_KINDS, "request")}
        return {
            f"{name}_{kind}_nanousd": None if amount is None else _nanousd(amount * factor)
            for name, amount in amounts.items()
        }


def find(*, model: str, upstream: str, base_url: str, provider: str | None = None, now: datetime) -> Published:
    """What `model` costs at an upstream now. Whose prices apply is told by `provider`, else by the upstream's base URL, else by
    its name. Raises ImportRefused."""
    candidates = _providers(upstream, base_url, provider)
    everyone = get_snapshot().providers
    found = [(one, info) for one in candidates if (info := one.find_model(model, all_providers=everyone)) is not None]
    if not found:
        raise ImportRefused(_unknown(model, candidates))
    published = [_published(one, info, model, now) for one, info in found]
    first = published[0]
    if any(replace(other, provider=first.provider, model=first.model) != first for other in published):
        names = ", ".join(one.id for one, _ in found)
        raise ImportRefused(f"{model!r} has several published prices; say --provider, one of: {names}")
    return first


def _providers(upstream: str, base_url: str, named: str | None) -> list[Provider]:
    everyone = get_snapshot().providers
    if named is not None:
        found = [one for one in everyone if one.id == named.lower()]
        if not found:
            ids = [one.id for one in everyone]
            near = difflib.get_close_matches(named.lower(), ids, n=NEAR, cutoff=0.5) or sorted(ids)
            raise ImportRefused(f"There is no provider {named!r}; near it: {', '.join(near)}")
        return found
    found = [one for one in everyone if re.match(one.api_pattern, base_url)]
    found = found or [one for one in everyone if one.id == upstream.lower()]
    if not found:
        raise ImportRefused(
            f"Neither the address {base_url} nor the name {upstream!r} tells whose prices apply; say --provider, one of: "
            + ", ".join(sorted(one.id for one in everyone))
        )
    return found


def _unknown(model: str, providers: list[Provider]) -> str:
    ids = {info.id: one.id for one in providers for info in one.models}
    near = difflib.get_close_matches(model.lower(), ids, n=NEAR, cutoff=0.5)
    whose = " or ".join(one.id for one in providers)
    if not near:
        return f"{whose} publishes no price for {model!r}, nor for anything like it; give its price by the options"
    return f"{whose} publishes no price for {model!r}; near it: {', '.join(near)} (say --upstream-model, or give its price)"


def _published(provider: Provider, info: ModelInfo, asked: str, now: datetime) -> Published:
    price = _now(info, now)
    values = {name: value for name, value in vars(price).items() if value is not None}
    for name, value in values.items():
        if name not in (*TOKEN_KINDS.values(), PER_CALL, *NEVER_BILLED):
            raise _refused(info, f"it has a price of its own for {_words(name)}")
        if isinstance(value, TieredPrices) and name not in NEVER_BILLED and _reaches_tier(info, value):
            starts = ", ".join(f"{tier.start:,}" for tier in value.tiers)
            raise _refused(info, f"its price rises with the length of the prompt (past {starts} tokens)")
    if "web_searches_kcount" in values and SEARCHES.search(asked.lower()):
        raise _refused(info, "it searches the web at every call and is billed for that apart")
    plain, output, cached, written = (_amount(values.get(name)) for name in TOKEN_KINDS.values())
    if plain is None or output is None:
        raise _refused(info, "it has no price for both prompt and output tokens, so it is no chat model")
    return Published(
        provider=provider.id,
        model=info.id,
        input=plain,
        output=output,
        cached_input=cached,
        cache_write=written,
        request=(_amount(values.get(PER_CALL)) or Decimal(0)) / CALLS_PER_PRICE,
        context_tokens=info.context_window,
    )


def _now(info: ModelInfo, now: datetime) -> ModelPrice:
    """The price in force, at the service tier that is always asked for. Refuses one that a time of day decides."""
    if not isinstance(info.prices, ModelPrice):
        for one in reversed(info.prices):
            if one.constraint is None or (
                isinstance(one.constraint, StartDateConstraint) and one.constraint.active(now)
            ):
                break
            if not isinstance(one.constraint, StartDateConstraint):
                raise _refused(info, "its price depends on the time of day")
    return info.get_prices(now.astimezone(UTC), CONTEXT)


def _reaches_tier(info: ModelInfo, price: TieredPrices) -> bool:
    """Whether a prompt can be long enough for a tier: a model that takes no more tokens than the first starts at never is."""
    return info.context_window is None or any(tier.start < info.context_window for tier in price.tiers)


def _amount(value: Any) -> Decimal | None:
    """The price; of a tiered one, the price before its first tier."""
    amount: Decimal | None = value.base if isinstance(value, TieredPrices) else value
    return amount


def _nanousd(usd: Decimal) -> int:
    return int((usd * NANO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def _refused(info: ModelInfo, why: str) -> ImportRefused:
    return ImportRefused(
        f"The published price of {info.id} cannot be kept: {why}. Give a price that covers it by the options"
    )


def _words(name: str) -> str:
    return re.sub(r"_(mtok|kcount|hours|kpages|mchars)$", "", name).replace("_", " ")
