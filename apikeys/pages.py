"""Pages of a list, newest first, cut by the id of the last row seen: rows made or gone meanwhile shift nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from faces.lib.errors import InvalidInput
from faces.lib.ids import uuid_of

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
EVERY_LIMIT: Final = 1000
LIMIT: Final = re.compile("[0-9]{1,3}")

Row = TypeVar("Row", bound=Model)


def page(rows: QuerySet[Row], query: Mapping[str, str]) -> tuple[list[Row], str | None]:
    """The rows that `?cursor=` and `?limit=` ask for, and the cursor of the next page or None at the end.

    The rows' ids are UUIDv7, which sort by the time they were made. Raises InvalidInput.
    """
    limit = _limit(query.get("limit", str(DEFAULT_LIMIT)))
    if "cursor" in query:
        rows = rows.filter(id__lt=_cursor(query["cursor"]))
    found = list(rows.order_by("-id")[: limit + 1])
    return found[:limit], str(found[limit - 1].pk) if len(found) > limit else None


def every(rows: QuerySet[Row], *, limit: int = EVERY_LIMIT) -> Iterator[list[Row]]:
    """All rows, the newest id first, a page at a time: neither memory nor a snapshot grows with them."""
    ordered = rows.order_by("-pk")
    found = list(ordered[:limit])
    while found:
        yield found
        found = list(ordered.filter(pk__lt=found[-1].pk)[:limit]) if len(found) == limit else []


def _limit(text: str) -> int:
    if LIMIT.fullmatch(text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidInput({"limit": [f"Write a whole number from 1 to {MAX_LIMIT}"]})
    return int(text)


def _cursor(text: str) -> UUID:
    cursor = uuid_of(text)
    if cursor is None:
        raise InvalidInput({"cursor": ['Not a cursor; write the "next" of the page before, or leave it out']})
    return cursor
