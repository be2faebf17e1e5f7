from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces.lib.money import InvalidMoney, parse_usd, parse_usd_text, token_cost, usd_text
from faces.lib.wire import Money, parse_json, render_json


class TestParseUsd:
    @pytest.mark.parametrize(
        ("value", "nanousd"),
        [
            (0, 0),
            (5, 5_000_000_000),
            (Decimal("0.000000001"), 1),
            (Decimal("5.00"), 5_000_000_000),
            (Decimal("999999.999999999"), 999_999_999_999_999),
            (Decimal("1E+2"), 100_000_000_000),
            (Decimal("-1.5"), -1_500_000_000),
        ],
    )
    def test_is_exact(self, value: Any, nanousd: int) -> None:
        assert parse_usd(value) == nanousd

    @pytest.mark.parametrize(
        "value",
        [
            True,
            False,
            5.0,
            "5",
            None,
            [],
            {},
            Decimal("NaN"),
            Decimal("Infinity"),
            Decimal("0.0000000001"),
            Decimal("1000000"),
            10**6,
            Decimal("999999.9999999991"),
            Decimal("1e400"),
            Decimal("1e-400"),
            Decimal("1.0000000000"),
            Decimal("1.00000000000000000000000000001"),
        ],
    )
    def test_refuses(self, value: Any) -> None:
        with pytest.raises(InvalidMoney):
            parse_usd(value)

    @pytest.mark.parametrize(
        "text", ["", "x", "5,00", "0x5", "nan", "1_000.0.0", "٣x", "1_0", "٣", "1e2", "NaN", "--5", "1 000"]
    )
    def test_refuses_text_that_is_no_amount(self, text: str) -> None:
        with pytest.raises(InvalidMoney):
            parse_usd_text(text)


class TestUsdText:
    @pytest.mark.parametrize(
        ("nanousd", "text"),
        [
            (0, "0.00"),
            (1, "0.000000001"),
            (50_000_000_000, "50.00"),
            (25_000, "0.000025"),
            (-1_500_000_000, "-1.50"),
            (-1, "-0.000000001"),
            (123_456_789, "0.123456789"),
            (10**18, "1000000000.00"),
        ],
    )
    def test_is_plain_decimal(self, nanousd: int, text: str) -> None:
        assert usd_text(nanousd) == text

    @given(st.integers(-999_999_999_999_999, 999_999_999_999_999))
    def test_comes_back_exactly(self, nanousd: int) -> None:
        assert parse_json(render_json({"a": Money(nanousd)}))["a"] * 10**9 == nanousd
        assert parse_usd_text(usd_text(nanousd)) == nanousd


class TestTokenCost:
    @pytest.mark.parametrize(("weighted", "nanousd"), [(0, 0), (1, 1), (10**6, 1), (10**6 + 1, 2)])
    def test_rounds_up_once(self, weighted: int, nanousd: int) -> None:
        assert token_cost(weighted=weighted) == nanousd
