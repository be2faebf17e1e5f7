"""Whether a growing hold delays the tokens of its stream: gaps between tokens with extensions and without, in the same run.

Pairs of streams of one model run side by side through the whole service on a database of its own: one grows, its twin says
`X-Faces-Lower: no` and holds its full limit from the start. The upstream sends a token every few milliseconds. A short slice
makes the worst of it: of 64 tokens, counted as bytes, more is asked for every thirteenth token.

    .venv/bin/python -m benchmarks.token_gaps
"""

import argparse
import asyncio
import os
import tempfile
import time
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final

VAR = tempfile.TemporaryDirectory(prefix="faces-bench-")
os.environ.pop("DATABASE_URL", None)
os.environ["FACES_VAR"] = VAR.name
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "faces.settings")
Path(VAR.name, "static").mkdir()

import aiohttp
import django
from aiohttp import web

django.setup()

from django.core.management import call_command
from django.db.models import Sum

from billing import reconcile
from billing.models import Hold
from tests import service, world

WORD: Final = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
END: Final = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class Upstream:
    """Sends tokens at an even pace."""

    def __init__(self, *, tokens: int, pause_seconds: float) -> None:
        self.tokens = tokens
        self.pause_seconds = pause_seconds

    async def chat(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        began = time.perf_counter()
        for number in range(1, self.tokens + 1):
            await response.write(WORD)
            await asyncio.sleep(max(0, began + number * self.pause_seconds - time.perf_counter()))
        await response.write(END)
        return response

    async def start(self) -> str:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.chat)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


async def gaps(session: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any], **headers: str) -> list[float]:
    """Seconds between the tokens of one stream, as the client sees them."""
    arrived = []
    headers = {"Authorization": f"Bearer {key}", **headers}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if b'"word "' in line:
                arrived.append(time.perf_counter())
    return [later - earlier for earlier, later in pairwise(arrived)]


async def run(url: str, key: str, body: dict[str, Any], pairs: int) -> tuple[list[float], list[float]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        growing = [gaps(session, url, key, body) for _ in range(pairs)]
        full = [gaps(session, url, key, body, **{"X-Faces-Lower": "no"}) for _ in range(pairs)]
        found = await asyncio.gather(*(one for pair in zip(growing, full, strict=True) for one in pair))
    return list(chain(*found[::2])), list(chain(*found[1::2]))


def shown(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    picked = [ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999)]
    return (
        f"| {name} | {len(ordered)} | " + " | ".join(f"{1000 * value:.2f}" for value in (*picked, ordered[-1])) + " |"
    )


async def measured(options: argparse.Namespace, url: str) -> tuple[str, list[float], list[float]]:
    upstream = Upstream(tokens=options.tokens, pause_seconds=options.pause_ms / 1000)
    base_url = await upstream.start()
    model, key = await asyncio.to_thread(prepare, base_url, options.slice)
    messages = [{"role": "user", "content": "Go on"}]
    body = {"model": model, "messages": messages, "stream": True, "max_tokens": 2 * 5 * options.tokens}
    return model, *await run(url, key, body, options.pairs)


def prepare(base_url: str, slice_: int) -> tuple[str, str]:
    price = world.model(
        base_url,
        upstream={"on_hangup": "cancel"},
        visible_output=True,
        default_output_tokens=slice_,
        max_output_tokens=100_000,
    )
    return price.model, world.key(world.account(credit=1000 * world.USD)).text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4, help="streams of each kind at once")
    parser.add_argument("--tokens", type=int, default=1000, help="a stream")
    parser.add_argument("--pause-ms", type=float, default=20, help="between two tokens")
    parser.add_argument("--slice", type=int, default=64, help="tokens")
    options = parser.parse_args()
    call_command("migrate", interactive=False, verbosity=0)
    with service.running() as faces:
        model, growing, full = asyncio.run(measured(options, faces.url))
    extended = Hold.objects.filter(model=model).aggregate(tokens=Sum("output_limit_tokens"))["tokens"]
    print(
        f"{options.pairs} pairs, a token every {options.pause_ms} ms, slice {options.slice}; output held in all {extended}"
    )
    print("| holds | gaps | p50, ms | p99, ms | p99.9, ms | longest, ms |\n|---|--:|--:|--:|--:|--:|")
    print(shown("growing", growing))
    print(shown("full", full))
    if reconcile.differences():
        raise SystemExit("the ledger does not add up")


if __name__ == "__main__":
    main()
