from contextlib import asynccontextmanager
from typing import Any

import pytest

from billing.rates import Rates
from faces.gateway import routing
from faces.gateway.routing import ModelNotFound, ModelSuspended, Routes, route_of

ROW: dict[str, Any] = {
    "model": "vendor/model",
    "upstream_id": "vendor",
    "upstream_model": "",
    "base_url": "https://a.example/v1/",
    "api_key_env": "",
    "api_key_file": "",
    "timeout_seconds": 600,
    "on_hangup": "drain",
    "pass_fields": [],
    "input_price_nanousd": 3,
    "output_price_nanousd": 5,
    "cached_input_price_nanousd": None,
    "cache_write_price_nanousd": None,
    "request_price_nanousd": 0,
    "input_cost_nanousd": None,
    "output_cost_nanousd": None,
    "cached_input_cost_nanousd": None,
    "cache_write_cost_nanousd": None,
    "request_cost_nanousd": 0,
    "context_tokens": 1000,
    "max_output_tokens": 100,
    "default_output_tokens": 50,
    "limit_field": "max_tokens",
    "prompt_bound": "bytes",
    "visible_output": False,
    "suspended_at": None,
}


class Table:
    """The price table, as the gateway's connection reads it."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.readings = 0

    @asynccontextmanager
    async def connection(self) -> Any:
        yield self

    @asynccontextmanager
    async def cursor(self, **_: Any) -> Any:
        yield self

    async def execute(self, statement: str) -> None:
        self.readings += 1

    async def fetchall(self) -> list[dict[str, Any]]:
        return self.rows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(routing.time, "monotonic", lambda: now[0])
    return now


class TestRouteOf:
    def test_takes_the_input_price_where_a_cache_price_is_empty(self) -> None:
        assert route_of(ROW).rates == Rates(input=3, output=5, cached_input=3, cache_write=3)
        free = {**ROW, "cached_input_price_nanousd": 0, "cache_write_price_nanousd": 0}
        assert route_of(free).rates == Rates(input=3, output=5, cached_input=0, cache_write=0)

    def test_knows_no_cost_unless_the_operator_said_it(self) -> None:
        assert route_of(ROW).costs is None
        said = {**ROW, "input_cost_nanousd": 0, "output_cost_nanousd": 4, "cached_input_cost_nanousd": 1}
        assert route_of(said).costs == Rates(input=0, output=4, cached_input=1, cache_write=0)

    def test_asks_for_the_models_own_name_unless_it_has_another_there(self) -> None:
        assert route_of(ROW).upstream_model == "vendor/model"
        assert route_of({**ROW, "upstream_model": "m"}).upstream_model == "m"

    def test_ends_the_address_without_a_slash(self) -> None:
        assert route_of(ROW).base_url == "https://a.example/v1"

    def test_names_a_tokenizer_only_if_the_operator_did(self) -> None:
        assert route_of(ROW).tokenizer is None
        assert route_of({**ROW, "prompt_bound": "o200k"}).tokenizer == "o200k"


class TestRoutes:
    async def test_are_read_again_after_two_seconds(self, clock: list[float]) -> None:
        table = Table(ROW)
        routes = Routes(table.connection)
        await routes.find("vendor/model")
        table.rows = [{**ROW, "model": "another"}]
        clock[0] += 1.9
        assert (await routes.find("vendor/model")).model == "vendor/model"
        clock[0] += 0.2
        with pytest.raises(ModelNotFound, match="Model 'vendor/model' not found"):
            await routes.find("vendor/model")
        assert table.readings == 2

    async def test_are_read_at_once_when_forgotten(self, clock: list[float]) -> None:
        table = Table()
        routes = Routes(table.connection)
        assert await routes.all() == {}
        table.rows = [ROW]
        routes.forget()
        assert set(await routes.all()) == {"vendor/model"}

    async def test_of_a_suspended_model_are_refused_by_name(self) -> None:
        routes = Routes(Table({**ROW, "suspended_at": "2026-11-24"}).connection)
        with pytest.raises(ModelSuspended, match="'vendor/model' is suspended") as caught:
            await routes.find("vendor/model")
        assert (caught.value.status, caught.value.headers) == (503, {"x-should-retry": "false"})

    async def test_are_not_kept_when_they_cannot_be_read(self, clock: list[float]) -> None:
        """A model that was removed must not go on for want of a database."""
        table = Table(ROW)
        routes = Routes(table.connection)
        await routes.all()
        clock[0] += 5
        table.execute = broken
        with pytest.raises(OSError, match="away"):
            await routes.all()


async def broken(statement: str) -> None:
    raise OSError("away")
