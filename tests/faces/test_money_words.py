"""Amounts as the pages write them."""

import pytest

from faces.templatetags.faces import cents_text
from tests.world import USD


class TestCents:
    @pytest.mark.parametrize(
        ("nanousd", "left", "spent"),
        [
            (0, "0.00", "0.00"),
            (USD, "1.00", "1.00"),
            (1_234_567_890_123, "1,234.56", "1,234.57"),
            (-1_500_000_000, "−1.50", "−1.50"),
            (100_000_001, "0.10", "0.11"),
            (20_000_000, "0.02", "0.02"),
            (99_999_999, "0.099999", "0.100000"),
            (600_000, "0.000600", "0.000600"),
            (91_501, "0.000091", "0.000092"),
            (1, "0.000000", "0.000001"),
            (-600_500, "−0.000601", "−0.000600"),
        ],
    )
    def test_promise_no_more_than_there_is_and_show_the_smallest(self, nanousd: int, left: str, spent: str) -> None:
        assert (cents_text(nanousd), cents_text(nanousd, up=True)) == (left, spent)
