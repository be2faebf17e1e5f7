"""The published prices that can be kept, with the data of the installed package, and those that cannot."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
)

from billing import price_import
from billing.models import Price, Upstream
from billing.price_import import ImportRefused
from faces import checks
from tests.billing.test_commands import refused, run

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
USD = 10**9
OPENAI = "https://api.openai.com/v1"


def find(model: str, *, base_url: str = OPENAI, upstream: str = "u", provider: str | None = None) -> Any:
    return price_import.find(model=model, upstream=upstream, base_url=base_url, provider=provider, now=NOW)


def why_not(model: str, **named: Any) -> str:
    with pytest.raises(ImportRefused) as caught:
        find(model, **named)
    return str(caught.value.detail)


class TestFind:
    def test_takes_a_plain_price(self) -> None:
        """One price for the prompt, one for the answer, none for a cache: its tokens cost as the others."""
        found = find("gpt-4", base_url=OPENAI)
        assert (found.provider, found.model, found.input, found.output) == ("openai", "gpt-4", 30, 60)
        assert (found.cached_input, found.cache_write, found.request) == (None, None, 0)

    def test_takes_the_price_of_a_cache(self) -> None:
        found = find("gpt-4o-mini-2024-07-18")
        assert (found.input, found.cached_input, found.output) == (Decimal("0.15"), Decimal("0.075"), Decimal("0.6"))
        assert (found.model, found.context_tokens) == ("gpt-4o-mini", 128_000)

    def test_takes_the_price_of_a_cache_write_and_the_tier_that_no_prompt_reaches(self) -> None:
        found = find("claude-sonnet-4-5", base_url="https://api.anthropic.com/v1/")
        assert (found.input, found.output) == (3, 15)
        assert (found.cached_input, found.cache_write) == (Decimal("0.3"), Decimal("3.75"))
        assert found.context_tokens == 200_000

    def test_takes_the_price_of_a_call(self) -> None:
        found = find("sonar-pro", base_url="https://api.perplexity.ai")
        assert (found.request, found.input, found.output) == (Decimal("0.014"), 3, 15)

    @pytest.mark.parametrize(
        ("model", "base_url", "reason"),
        [
            ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai", "length of the prompt"),
            ("deepseek-chat", "https://api.deepseek.com", "time of day"),
            ("gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/openai", "input audio"),
            ("whisper-1", OPENAI, "audio"),
            ("text-embedding-3-small", OPENAI, "no chat model"),
            ("gpt-4o-mini-search-preview", OPENAI, "searches the web"),
        ],
    )
    def test_refuses_what_no_price_of_ours_says(self, model: str, base_url: str, reason: str) -> None:
        assert reason in why_not(model, base_url=base_url)

    def test_offers_what_is_near_a_misspelt_name(self) -> None:
        assert "near it: gpt-4o-mini," in why_not("gpt-4o-minni")

    def test_says_that_nothing_is_near(self) -> None:
        assert "nor for anything like it" in why_not("§§§")

    def test_goes_by_the_address_then_by_the_name(self) -> None:
        assert find("gpt-4o", base_url="https://llm.example/v1", upstream="openai").provider == "openai"
        assert find("gpt-4o", base_url="https://x.openai.azure.com/v1", upstream="openai").provider == "azure"
        assert find("gpt-4o", base_url="https://x.openai.azure.com/v1", provider="openai").provider == "openai"

    def test_asks_whose_price_where_nothing_tells(self) -> None:
        assert "say --provider, one of: anthropic," in why_not("gpt-4o", base_url="http://127.0.0.1:9/v1")

    def test_offers_what_is_near_a_misspelt_provider(self) -> None:
        assert "near it: openai" in why_not("gpt-4o", provider="opnai")


class TestFindInOtherData:
    """What the published data may say one day."""

    @staticmethod
    def provide(monkeypatch: pytest.MonkeyPatch, *providers: tuple[str, Any]) -> None:
        rows = [
            Provider(
                id=name,
                name=name,
                api_pattern=r"https://one\.example",
                models=[ModelInfo(id="m", match=ClauseEquals("m"), context_window=1000, prices=prices)],
            )
            for name, prices in providers
        ]
        snapshot = type("Snapshot", (), {"providers": rows})()
        monkeypatch.setattr(price_import, "get_snapshot", lambda: snapshot)

    def test_refuses_two_prices_at_one_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cheap, dear = (ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (1, 2))
        self.provide(monkeypatch, ("cheap", cheap), ("dear", dear))
        assert "say --provider, one of: cheap, dear" in why_not("m", base_url="https://one.example/v1")
        assert find("m", base_url="https://one.example/v1", provider="dear").input == 2

    def test_takes_the_same_price_of_two_at_one_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))
        self.provide(monkeypatch, ("a", price), ("b", price))
        assert find("m", base_url="https://one.example/v1").output == 2

    def test_takes_the_price_that_is_in_force(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old, new, later = (ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (1, 2, 3))
        prices = [
            ConditionalPrice(prices=old),
            ConditionalPrice(StartDateConstraint(NOW.date()), prices=new),
            ConditionalPrice(StartDateConstraint(datetime(2027, 1, 1, tzinfo=UTC).date()), prices=later),
        ]
        self.provide(monkeypatch, ("a", prices))
        assert find("m", base_url="https://one.example/v1").input == 2

    @pytest.mark.parametrize(("start", "is_taken"), [(999, False), (1000, True)])
    def test_takes_a_tier_only_past_what_the_model_takes(
        self, monkeypatch: pytest.MonkeyPatch, start: int, is_taken: bool
    ) -> None:
        tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=start, price=Decimal(2))])
        self.provide(monkeypatch, ("a", ModelPrice(input_mtok=tiered, output_mtok=Decimal(3))))
        if is_taken:
            assert find("m", base_url="https://one.example/v1").input == 1
        else:
            assert "length of the prompt (past 999 tokens)" in why_not("m", base_url="https://one.example/v1")

    def test_refuses_a_unit_it_does_not_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2), moods_mtok=Decimal(3))
        self.provide(monkeypatch, ("a", price))
        assert "a price of its own for moods" in why_not("m", base_url="https://one.example/v1")

    def test_rounds_price_and_cost_up_each_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        price = ModelPrice(input_mtok=Decimal("0.0000000011"), output_mtok=Decimal("0.00000001"))
        self.provide(monkeypatch, ("a", price))
        found = find("m", base_url="https://one.example/v1")
        assert found.costs()["input_cost_nanousd"] == 2
        assert found.prices(Decimal("0.05"))["input_price_nanousd"] == 2  # 1.155, not 2 × 1.05
        assert found.costs()["output_cost_nanousd"] == 10
        assert found.prices(Decimal("0.05"))["output_price_nanousd"] == 11


@pytest.mark.django_db
class TestPriceCommand:
    @pytest.fixture(autouse=True)
    def upstream(self) -> None:
        Upstream.objects.create(name="openai", base_url=OPENAI)
        Upstream.objects.create(name="u", base_url="http://127.0.0.1:9/v1")

    def test_keeps_price_and_cost(self, settings: Any) -> None:
        settings.FACES_MARKUP = Decimal("0.05")
        said = run("price", "gpt-4o-mini", "--upstream", "openai", "--import")
        row = Price.objects.get(model="gpt-4o-mini")
        assert (row.input_cost_nanousd, row.output_cost_nanousd) == (150_000_000, 600_000_000)
        assert (row.cached_input_cost_nanousd, row.cache_write_cost_nanousd, row.request_cost_nanousd) == (
            75_000_000,
            None,
            0,
        )
        assert (row.input_price_nanousd, row.output_price_nanousd) == (157_500_000, 630_000_000)
        assert (row.cached_input_price_nanousd, row.cache_write_price_nanousd) == (78_750_000, None)
        assert (row.context_tokens, row.upstream_id) == (128_000, "openai")
        assert "input: 0.1575 USD a million tokens, costs you 0.15 USD" in said

    def test_goes_by_the_markup(self, settings: Any) -> None:
        settings.FACES_MARKUP = Decimal("0")
        run("price", "gpt-4", "--upstream", "openai", "--import")
        row = Price.objects.get(model="gpt-4")
        assert (row.input_price_nanousd, row.input_cost_nanousd) == (30 * USD, 30 * USD)

    def test_looks_up_the_name_at_the_upstream(self) -> None:
        run("price", "fast", "--upstream", "openai", "--upstream-model", "gpt-4o-mini", "--import")
        assert Price.objects.get(model="fast").input_cost_nanousd == 150_000_000
        run("price", "fast", "--import")
        assert Price.objects.get(model="fast").upstream_model == "gpt-4o-mini"

    def test_lets_named_prices_win_and_keeps_the_cost(self) -> None:
        run("price", "gpt-4o-mini", "--upstream", "openai", "--import", "--input-usd", "1", "--context", "4096")
        row = Price.objects.get(model="gpt-4o-mini")
        assert (row.input_price_nanousd, row.input_cost_nanousd, row.context_tokens) == (USD, 150_000_000, 4096)
        assert row.output_price_nanousd == 630_000_000

    def test_takes_back_a_cache_price_that_is_no_longer_published(self) -> None:
        run(
            "price", "gpt-4", "--upstream", "openai", "--input-usd", "1", "--output-usd", "1", "--cached-input-usd", "1"
        )
        run("price", "gpt-4", "--import")
        assert Price.objects.get(model="gpt-4").cached_input_price_nanousd is None

    def test_takes_the_provider_named(self) -> None:
        code, message = refused("price", "gpt-4o", "--upstream", "u", "--import")
        assert (code, "--provider" in message) == (1, True)
        run("price", "gpt-4o", "--upstream", "u", "--import", "--provider", "openai")
        assert Price.objects.get(model="gpt-4o").input_cost_nanousd == 2_500_000_000

    @pytest.mark.parametrize(
        ("options", "code", "word"),
        [
            (["gpt-4o-minni", "--upstream", "openai", "--import"], 1, "gpt-4o-mini"),
            (["gpt-4o", "--import"], 2, "--upstream"),
            (["gpt-4o", "--upstream", "nope", "--import"], 1, "nope"),
            (["gpt-4o", "--upstream", "u", "--provider", "openai"], 2, "--import"),
            (["gemini-2.5-pro", "--upstream", "u", "--import", "--provider", "google"], 1, "length of the prompt"),
        ],
    )
    def test_refuses_and_changes_nothing(self, options: list[str], code: int, word: str) -> None:
        found, message = refused("price", *options)
        assert (found, word in message) == (code, True)
        assert not Price.objects.exists()

    def test_asks_for_a_context_that_is_not_published(self, monkeypatch: pytest.MonkeyPatch) -> None:
        price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
        model = ModelInfo(id="m", match=ClauseEquals("m"), prices=price)
        rows = [Provider(id="p", name="p", api_pattern=OPENAI, models=[model])]
        snapshot = type("Snapshot", (), {"providers": rows})()
        monkeypatch.setattr(price_import, "get_snapshot", lambda: snapshot)
        assert "--context" in refused("price", "m", "--upstream", "openai", "--import")[1]
        run("price", "m", "--upstream", "openai", "--import", "--context", "1000")
        assert Price.objects.get(model="m").context_tokens == 1000


class TestMarkup:
    @pytest.mark.parametrize("value", ["-0.01", "10.1", "NaN", "Infinity", "0.0000001"])
    def test_that_is_none_stops_the_start(self, settings: Any, value: str) -> None:
        settings.FACES_MARKUP = Decimal(value)
        assert [found.id for found in checks.money_settings(None)] == ["faces.E010"]

    @pytest.mark.parametrize("value", ["0", "0.05", "10", "1E+1", "0.000001"])
    def test_that_is_one_does_not(self, settings: Any, value: str) -> None:
        settings.FACES_MARKUP = Decimal(value)
        assert checks.money_settings(None) == []
