import asyncio
from typing import Any, Final

from django.core.management.base import BaseCommand
from procrastinate.contrib.django import app

JOBS_AT_ONCE: Final = 3
"""So that a check of a large ledger does not keep overdue holds waiting."""


class Command(BaseCommand):
    help = "Runs the periodic and queued jobs until SIGTERM or Ctrl-C; a job under way is finished first."

    def handle(self, *args: Any, **options: Any) -> None:
        with app.replace_connector(app.connector.get_worker_connector()) as worker:  # type: ignore[attr-defined]
            asyncio.run(_work(worker))


async def _work(worker: Any) -> None:
    async with worker.open_async():
        await worker.run_worker_async(concurrency=JOBS_AT_ONCE, delete_jobs="always", shutdown_graceful_timeout=10)
