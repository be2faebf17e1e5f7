"""Pages of a list, newest first, cut by the id of the last row seen: rows made or gone meanwhile shift nothing."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from faces.lib.errors import InvalidInput
from faces.lib.ids import uuid_of as uuid_of

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
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


def _limit(text: str) -> int:
    if LIMIT.fullmatch(text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidInput({"limit": [f"Write a whole number from 1 to {MAX_LIMIT}"]})
    return int(text)


def _cursor(text: str) -> UUID:
    cursor = uuid_of(text)
    if cursor is None:
        raise InvalidInput({"cursor": ['Not a cursor; write the "next" of the page before, or leave it out']})
    return cursor
