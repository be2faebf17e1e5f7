"""Which models there are, what they cost and where they go: the price and upstream tables, re-read every two seconds."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from billing import upstream_secrets
from billing.rates import Rates
from faces.lib.errors import FacesError

FRESH_SECONDS: Final = 2.0

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]

ROUTES_SQL: Final = """
SELECT p.*, u.base_url, u.api_key_env, u.api_key_file, u.timeout_seconds, u.on_hangup, u.pass_fields
FROM billing_price p JOIN billing_upstream u ON u.name = p.upstream_id
WHERE u.is_enabled ORDER BY p.model
"""


class ModelNotFound(FacesError):
    status = 404
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"Model '{model}' not found")


class ModelSuspended(FacesError):
    status = 503
    code = "model_suspended"

    def __init__(self, model: str) -> None:
        super().__init__(f"Model '{model}' is suspended until the operator has looked at its losses")
        self.headers["x-should-retry"] = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A model as the operator set it up: prices, limits in tokens, and the upstream that serves it."""

    model: str
    upstream: str
    upstream_model: str
    base_url: str
    api_key_env: str
    api_key_file: str
    timeout_seconds: int
    cancels_on_hangup: bool
    pass_fields: frozenset[str]
    rates: Rates
    costs: Rates | None
    context_tokens: int
    max_output_tokens: int
    default_output_tokens: int
    limit_field: str
    prompt_bound: str
    visible_output: bool
    is_suspended: bool

    @property
    def tokenizer(self) -> str | None:
        """The model's exact tokenizer, where the operator named it."""
        return None if self.prompt_bound == "bytes" else self.prompt_bound

    def secret(self) -> str | None:
        """The upstream's API key, or None if it needs none. Raises SecretMissing."""
        return upstream_secrets.read(env=self.api_key_env, file=self.api_key_file)


def route_of(row: dict[str, Any]) -> Route:
    """A row of ROUTES_SQL as a Route."""
    return Route(
        model=row["model"],
        upstream=row["upstream_id"],
        upstream_model=row["upstream_model"] or row["model"],
        base_url=row["base_url"].rstrip("/"),
        api_key_env=row["api_key_env"],
        api_key_file=row["api_key_file"],
        timeout_seconds=row["timeout_seconds"],
        cancels_on_hangup=row["on_hangup"] == "cancel",
        pass_fields=frozenset(row["pass_fields"]),
        rates=_rates(row, "price"),
        costs=None if row["input_cost_nanousd"] is None or row["output_cost_nanousd"] is None else _rates(row, "cost"),
        context_tokens=row["context_tokens"],
        max_output_tokens=row["max_output_tokens"],
        default_output_tokens=row["default_output_tokens"],
        limit_field=row["limit_field"],
        prompt_bound=row["prompt_bound"],
        visible_output=row["visible_output"],
        is_suspended=row["suspended_at"] is not None,
    )


def _rates(row: dict[str, Any], kind: str) -> Rates:
    """What the customer pays (`price`) or the operator does (`cost`); an empty cached or cache-write one is the input's."""
    plain = row[f"input_{kind}_nanousd"]
    cached, written = row[f"cached_input_{kind}_nanousd"], row[f"cache_write_{kind}_nanousd"]
    return Rates(
        input=plain,
        output=row[f"output_{kind}_nanousd"],
        cached_input=plain if cached is None else cached,
        cache_write=plain if written is None else written,
        request=row[f"request_{kind}_nanousd"],
    )


class Routes:
    """The routes of one process. A reading older than FRESH_SECONDS is replaced before it is used, once for all who wait."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = asyncio.Lock()
        self._read_at = -math.inf
        self._routes: dict[str, Route] = {}

    def forget(self) -> None:
        """Read the tables again before the next use."""
        self._read_at = -math.inf

    async def all(self) -> dict[str, Route]:
        """Every model that can be called, by name."""
        if time.monotonic() - self._read_at >= FRESH_SECONDS:
            async with self._lock:
                started_at = time.monotonic()
                if started_at - self._read_at >= FRESH_SECONDS:
                    self._routes = await self._read()
                    self._read_at = started_at
        return self._routes

    async def find(self, model: str) -> Route:
        """The route of a model. Raises ModelNotFound, ModelSuspended."""
        route = (await self.all()).get(model)
        if route is None:
            raise ModelNotFound(model)
        if route.is_suspended:
            raise ModelSuspended(model)
        return route

    async def _read(self) -> dict[str, Route]:
        async with self._connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(ROUTES_SQL)
            return {row["model"]: route_of(row) for row in await cursor.fetchall()}
