"""Whether an upstream answers, and whether it has the models that are sold: one real GET of its list of models."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp

from billing import upstream_secrets
from billing.models import Price, Upstream
from billing.upstream_secrets import SecretMissing
from billing.upstreams import ECHO_URL

SECONDS: Final = 10
BYTES: Final = 1024 * 1024
LONGEST_NAME: Final = 200
BUILT_IN: Final = "This is the service's own echo: nothing is sent anywhere, and every model routed here answers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`sentence` says what happened and, where something is wrong, what to do. `status` is None if no answer came; `models`
    None if the answer names none. `missing` are the models that are sold and not among them."""

    is_good: bool
    sentence: str
    status: int | None = None
    milliseconds: int | None = None
    models: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    milliseconds: int
    body: bytes


def probe(upstream: Upstream, *, sold: Sequence[Price]) -> Probe:
    """Ask an upstream for its models with the stored secret, as a call would reach it: at most 10 seconds, no redirect
    followed, nothing retried. Blocks, and must not run inside a transaction. Never raises, and never says the secret."""
    if upstream.base_url == ECHO_URL:
        return Probe(is_good=True, sentence=BUILT_IN)
    try:
        secret = upstream_secrets.read(env=upstream.api_key_env, file=upstream.api_key_file)
    except SecretMissing as error:
        return Probe(
            is_good=False, sentence=f"Nothing was sent: {error}. Set it where the service runs, or name another."
        )
    if secret is not None and not (secret.isascii() and secret.isprintable()):
        return Probe(is_good=False, sentence="Nothing was sent: the API key has characters that no header can carry.")
    try:
        answer = asyncio.run(_get(f"{upstream.base_url}/models", secret))
    except TimeoutError:
        return Probe(
            is_good=False,
            sentence=f"No answer within {SECONDS} seconds. It is down, or a firewall drops what is sent to it.",
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Probe(is_good=False, sentence=_unreachable(error))
    return _judged(answer, [price.upstream_model or price.model for price in sold], secret)


async def _get(url: str, secret: str | None) -> _Answer:
    headers = {"Accept": "application/json"} | ({} if secret is None else {"Authorization": f"Bearer {secret}"})
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        started = time.monotonic()
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            milliseconds = round((time.monotonic() - started) * 1000)
            body = b""
            while len(body) <= BYTES and (more := await response.content.read(BYTES)):
                body += more
            return _Answer(response.status, milliseconds, body)


def _unreachable(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "Its host name has no address. Look for a slip in the base URL, or mend the name service."
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "Its TLS certificate is not one this machine trusts. Mend it there, or use its right host name."
    if isinstance(error, aiohttp.ClientConnectorError):
        return (
            "The connection was refused. It does not run, or listens at another address or port than the base URL says."
        )
    return "The connection broke before an answer was complete. Look at its own log."


def _judged(answer: _Answer, wanted: Sequence[str], secret: str | None) -> Probe:
    judge = partial(Probe, status=answer.status, milliseconds=answer.milliseconds)
    said = f"It answered {answer.status} in {answer.milliseconds} ms"
    if answer.status != 200:
        return judge(is_good=False, sentence=f"{said}. {_advice(answer.status)}")
    models = _names(answer.body, secret)
    if models is None:
        sentence = f"{said}, but not with a list of models. Calls may still work: not every upstream has one."
        return judge(is_good=False, sentence=sentence)
    missing = tuple(name for name in wanted if name not in models)
    listed = f"{said} and names {len(models)} model{'' if len(models) == 1 else 's'}"
    if missing:
        sentence = (
            f"{listed}. Not among them: {', '.join(missing)}. Calls for what it lacks will be refused: mend the model's "
            "name there in its price, or remove the price."
        )
        return judge(is_good=False, sentence=sentence, models=models, missing=missing)
    sold = f", all {len(wanted)} that are sold among them" if wanted else "; none is sold yet: add a price"
    return judge(is_good=True, sentence=f"{listed}{sold}.", models=models)


def _advice(status: int) -> str:
    if status in (401, 403):
        return "It refuses the API key: look whether it was revoked, or belongs to another provider."
    if status == 404:
        return "It has no list of models there: a base URL usually ends in /v1."
    if 300 <= status < 400:
        return "It sends callers elsewhere, which is not followed with a key in hand: write the address it names."
    if status == 429:
        return "It is reached and the key is known, but it wants fewer requests. Try again in a minute."
    return "It is reached, but has trouble of its own. Look at its status page or log."


def _names(body: bytes, secret: str | None) -> tuple[str, ...] | None:
    """The ids of OpenAI's `{"data": [{"id": …}, …]}`, but none that has our secret in it: an upstream that sends it back must
    not bring it onto a page or into the log."""
    data: Any = None
    if len(body) <= BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            data = json.loads(body)
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    names = (row.get("id") for row in rows if isinstance(row, dict))
    texts = (name for name in names if isinstance(name, str) and name.isprintable())
    return tuple(name[:LONGEST_NAME] for name in texts if not secret or secret not in name)
