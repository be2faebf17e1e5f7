"""Tables as CSV (RFC 4180) that a spreadsheet opens without running anything."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, StreamingHttpResponse

from faces.lib.money import usd_text
from faces.lib.wire import Money

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
LINES: Final = 1000
"""As many go out in one piece."""


def stream(
    request: HttpRequest, filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]
) -> StreamingHttpResponse:
    """A download of any length, in pieces and as fast as it is taken: never more than one piece is in memory. `rows` is read
    on the request's own thread, where its database connection is, and should ask for a page at a time. Amounts are exact
    decimals; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    pieces = _pieces(chain([head], rows))
    return StreamingHttpResponse(
        _one_by_one(pieces) if isinstance(request, ASGIRequest) else pieces,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def _pieces(lines: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    left = iter(lines)
    while piece := list(islice(left, LINES)):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_cell(value) for value in line] for line in piece)
        yield text.getvalue().encode()


async def _one_by_one(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Under ASGI Django would put what is iterated without `await` into one list first. Between pieces the request has no
    connection to the database: who reads slowly would keep one of the pool's few for as long."""

    @sync_to_async
    def following() -> bytes | None:
        try:
            return next(pieces, None)
        finally:
            close_old_connections()

    while (piece := await following()) is not None:
        yield piece


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Money):
        return usd_text(value.nanousd)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return str(value)
