"""A cell of a download is what the row says, and nothing a spreadsheet would run."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncRequestFactory, RequestFactory

from accounts.models import User
from billing import csv_files
from faces.lib.wire import Money


class Counted:
    """Rows that count how many were asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked = 0

    def __iter__(self) -> Iterator[list[Any]]:
        for number in range(self.most):
            self.asked += 1
            yield [number, Money(number), datetime(2026, 11, 24, 9, tzinfo=UTC)]


def cells(*row: Any) -> list[str]:
    answer = csv_files.stream(RequestFactory().get("/"), "x.csv", ["head"], [row])
    return list(csv.reader(io.StringIO(answer.getvalue().decode(), newline="")))[1]


class TestCells:
    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
    def test_puts_an_apostrophe_before_what_would_run(self, start: str) -> None:
        assert cells(f"{start}1+1", f"a{start}1") == [f"'{start}1+1", f"a{start}1"]

    @pytest.mark.parametrize(
        ("nanousd", "text"),
        [
            (1, "0.000000001"),
            (-1, "-0.000000001"),
            (-1_500_000_000, "-1.50"),
            (0, "0.00"),
            (999_999_999_999_999, "999999.999999999"),
            (9_007_199_254_740_993, "9007199.254740993"),
        ],
    )
    def test_writes_amounts_exactly_and_negative_ones_as_numbers(self, nanousd: int, text: str) -> None:
        assert cells(Money(nanousd)) == [text]

    def test_keeps_quotes_commas_lines_and_other_scripts(self) -> None:
        row = ['say "no"', "a,b", "one\ntwo", "Grüße, 世界", ""]
        assert cells(*row) == row

    def test_leaves_what_is_not_known_empty(self) -> None:
        assert cells(None, 0, False) == ["", "0", "False"]


class TestStream:
    """Whichever way the service runs, a piece is made when it is asked for and not before."""

    def test_asks_for_rows_as_they_are_taken(self) -> None:
        rows = Counted(10 * csv_files.LINES)
        answer = csv_files.stream(RequestFactory().get("/"), "x.csv", ["n", "usd", "at"], rows)
        pieces = iter(answer.streaming_content)
        first = next(pieces)
        assert rows.asked < csv_files.LINES
        self.check(first + b"".join(pieces), rows)

    async def test_asks_for_rows_as_they_are_taken_under_asgi(self) -> None:
        rows = Counted(10 * csv_files.LINES)
        answer = csv_files.stream(AsyncRequestFactory().get("/"), "x.csv", ["n", "usd", "at"], rows)
        assert answer.is_async
        pieces = aiter(answer)
        first = await anext(pieces)
        assert rows.asked < csv_files.LINES
        self.check(first + b"".join([piece async for piece in pieces]), rows)

    @pytest.mark.django_db(transaction=True)
    async def test_keeps_no_connection_while_a_piece_is_taken(self) -> None:
        def rows() -> Iterator[list[int]]:
            for _ in range(csv_files.LINES + 1):
                yield [User.objects.count()]

        pieces = aiter(csv_files.stream(AsyncRequestFactory().get("/"), "x.csv", ["n"], rows()))
        await anext(pieces)
        assert await sync_to_async(lambda: connection.connection is None)()
        assert (await anext(pieces)).isascii()

    @staticmethod
    def check(text: bytes, rows: Counted) -> None:
        lines = list(csv.reader(io.StringIO(text.decode(), newline="")))
        assert lines[0] == ["n", "usd", "at"]
        assert lines[-1] == ["9999", "0.000009999", "2026-11-24T09:00:00Z"]
        assert len(lines) == 1 + rows.most == 1 + rows.asked

    def test_of_nothing_has_its_head(self) -> None:
        answer = csv_files.stream(RequestFactory().get("/"), "x.csv", ["n"], [])
        assert b"".join(answer.streaming_content) == b"n\r\n"
