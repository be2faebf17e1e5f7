"""Ranges of UTC days, both ends included."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from faces.lib.errors import InvalidInput

DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DEFAULT_DAYS: Final = 30
EARLIEST: Final = date(1970, 1, 1)
SLACK: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Days:
    first: date
    last: date

    @property
    def start(self) -> datetime:
        """The first moment of the first day."""
        return datetime.combine(self.first, time.min, UTC)

    @property
    def end(self) -> datetime:
        """The first moment after the last day."""
        return datetime.combine(self.last, time.min, UTC) + timedelta(days=1)

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """The UUIDv7s between which rows of these days have theirs (RFC 9562 §5.7: they begin with the time). An hour wide of
        them at both ends, since an id is made a moment before its row's time is taken, by another clock: to narrow a range by
        an index, not to decide it."""
        return _floor(self.start - SLACK), _floor(self.end + SLACK)


def of_query(query: Mapping[str, str], *, today: date) -> Days:
    """The days of `?start_date=` and `?end_date=`; the last 30 where they are not named. Raises InvalidInput."""
    last = _day(query, "end_date") or today
    return _range(_day(query, "start_date") or last - timedelta(days=DEFAULT_DAYS - 1), last)


def open_of_query(query: Mapping[str, str], *, today: date) -> Days | None:
    """The days of `?start_date=` and `?end_date=`, open on the side that is not named: a statement up to a day starts at the
    beginning. None if neither is. Raises InvalidInput."""
    first, last = _day(query, "start_date"), _day(query, "end_date")
    return None if first is None and last is None else _range(first or EARLIEST, last or today)


def _floor(moment: datetime) -> UUID:
    """The least UUIDv7 of a millisecond."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _range(first: date, last: date) -> Days:
    if first > last:
        raise InvalidInput({"start_date": [f"Write a day up to {last}, the end of the range"]})
    return Days(first, last)


def _day(query: Mapping[str, str], name: str) -> date | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not 1970 <= day.year < 9999:
        raise InvalidInput({name: ["Write a day as YYYY-MM-DD, for example 2026-11-24"]})
    return day
