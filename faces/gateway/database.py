"""The gateway's way to the database: a pool of its own, beside Django's, since the two share no event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
from django.conf import settings
from psycopg_pool import AsyncConnectionPool

from billing import holds

WAIT_SECONDS: Final = 30
"""How long a caller queues for a connection."""
WAIT_WHILE_AWAY_SECONDS: Final = 2
EXTENDING_PART: Final = 4
"""Extensions use at most this part of the connections: hundreds may be asked for at once, and settlements must not wait."""


class Database:
    """The gateway's own connections. A caller waits for one rather than being turned away, unless the database was away when
    it was last asked: then all would wait in vain."""

    def __init__(self) -> None:
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            conninfo(),
            kwargs={"autocommit": True, "application_name": "faces gateway"},
            min_size=2,
            max_size=settings.FACES_GATEWAY_CONNECTIONS,
            open=False,
            name="gateway",
        )
        self.extending = asyncio.Semaphore(max(1, settings.FACES_GATEWAY_CONNECTIONS // EXTENDING_PART))
        self._is_away = False
        self._mending: asyncio.Task[None] | None = None

    async def row(self, statement: holds.Statement) -> Any:
        """The one row of a statement, committed when this returns."""
        try:
            async with self.connection() as connection:
                cursor = await connection.execute(*statement)
                return await cursor.fetchone()
        except psycopg.OperationalError:
            self._mend()
            raise

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of the pool's. Raises PoolTimeout if there is none in time."""
        try:
            async with self.pool.connection(WAIT_WHILE_AWAY_SECONDS if self._is_away else WAIT_SECONDS) as connection:
                yield connection
        except psycopg.OperationalError:
            self._is_away = True
            raise
        self._is_away = False

    def _mend(self) -> None:
        """One dead connection may mean that all the idle ones are dead: replace them before callers find out one by one."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self.pool.check())

    async def mended(self) -> None:
        """Wait until dead connections that were noticed are replaced."""
        if self._mending is not None:
            await self._mending


def conninfo() -> str:
    """The address of Django's database, for a driver of our own."""
    database = settings.DATABASES["default"]
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    options = {key: value for key, value in database["OPTIONS"].items() if key != "pool"}
    parts = {key: database[name] for key, name in named.items() if database[name]}
    return psycopg.conninfo.make_conninfo(**parts, **options)
