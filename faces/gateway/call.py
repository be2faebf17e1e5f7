"""One admitted call from its hold to its settlement. Whatever happens in between, the hold is resolved here, once."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import psycopg
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from billing import holds
from billing.rates import Usage
from faces.gateway import answers, bounds, metrics, sse
from faces.gateway.database import Database
from faces.gateway.growth import Grower, Growth
from faces.gateway.relay import Broken, PlainAnswer, Received, StreamAnswer
from faces.gateway.routing import Route
from faces.gateway.schema import ChatRequest
from faces.gateway.upstream import Answer as UpstreamAnswer
from faces.gateway.upstream import Attempt, Client, Failed, Refused, Unreachable
from faces.lib.drf import render_json
from faces.lib.errors import FacesError
from faces.lib.money import usd_text

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
STALL_SECONDS: Final = 30
"""A client that takes nothing for this long is gone: it must not keep the usage from being read."""
SLOW_SEND_SECONDS: Final = 0.005
BEHIND_SECONDS: Final = 0.25
"""A client waited for this long in all, in sends that were slow, has more of its answer waiting in buffers."""
CATCH_UP_SECONDS: Final = 2
"""When it goes, that is still read, and paid for: this long at most, or until nothing comes for QUIET_SECONDS."""
QUIET_SECONDS: Final = 0.1
SETTLE_ATTEMPT_SECONDS: Final = (0.1, 0.3, 1, 3, 10, 30)


class NotSettled(FacesError):
    status = 503
    code = "not_settled"
    detail = "The answer is there but could not be charged, so it cannot be given; try again later"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5", "x-should-retry": "false"})


class Call:
    """The ASGI answer to an admitted chat request."""

    def __init__(
        self,
        *,
        request: Request,
        chat: ChatRequest,
        route: Route,
        placed: holds.Placed,
        placement: holds.Request,
        upstream_body: dict[str, Any],
        output_limit: int,
        database: Database,
        client: Client,
    ) -> None:
        self.request = request
        self.chat = chat
        self.route = route
        self.placed = placed
        self.placement = placement
        self.upstream_body = upstream_body
        self.output_limit = output_limit
        self.database = database
        self.client = client
        self.began = time.monotonic()
        self.patience_seconds = route.timeout_seconds / 2
        self.waited_seconds = 0.0
        self.giving_since: float | None = None
        self.heard_at = self.began
        self.leaving: asyncio.Task[None] | None = None
        self.attempt = Attempt()
        self.is_hung_up = False
        self.is_resolved = False
        self.has_started = False
        self.cut_outcome = "cut"
        received = Received(limit=output_limit * chat.n, tokenizer=route.tokenizer, choices=chat.n)
        kind = StreamAnswer if chat.stream else PlainAnswer
        self.answer: StreamAnswer | PlainAnswer = kind(route=route, wants_usage=chat.include_usage, received=received)
        slice_ = route.default_output_tokens
        growth = Growth(choices=chat.n, slice=slice_, limit=output_limit, held=placed.output_limit)
        self.grower = Grower(growth, self._extend, model=route.model)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.current_task()
        if work is None:
            raise RuntimeError("a call runs in a task of its own")
        watcher = asyncio.create_task(self._watch(receive, work))
        metrics.RUNNING.inc()
        try:
            await self._run(send)
        except asyncio.CancelledError:
            await self._resolve_unfinished("hung_up" if self.is_hung_up else "interrupted")
            if not self.is_hung_up:
                raise
            work.uncancel()
        except FacesError as error:
            await self._end_with(error, send)
        except Exception:
            log.exception("call %s failed", self.placement.request_id)
            await self._end_with(self._bug(), send)
        finally:
            metrics.RUNNING.dec()
            watcher.cancel()
            if self.leaving is not None:
                self.leaving.cancel()
            await self.grower.aclose()

    async def _watch(self, receive: Receive, work: asyncio.Task[Any]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self.is_hung_up:
            self.is_hung_up = True
            await self._leave(work)

    async def _leave(self, work: asyncio.Task[Any]) -> None:
        """End the work of a client that has gone, where the upstream then stops. What was made while it took nothing waits in
        buffers and is billed: that is read first, while nothing is sent any more, and counted as ever."""
        if not self.route.cancels_on_hangup or self.is_resolved:
            return
        now = self.heard_at = time.monotonic()
        if self.waited_seconds + (0 if self.giving_since is None else now - self.giving_since) > BEHIND_SECONDS:
            while time.monotonic() - now < CATCH_UP_SECONDS and time.monotonic() - self.heard_at < QUIET_SECONDS:
                await asyncio.sleep(QUIET_SECONDS / 4)
        if not self.is_resolved:
            work.cancel()

    async def _run(self, send: Send) -> None:
        upstream = await self._converse(send)
        try:
            await self._finish(send)
        finally:
            await upstream.release()

    async def _converse(self, send: Send) -> UpstreamAnswer:
        """All that the upstream says, to its end or to the cut. The connection is dropped unless it may be used again."""
        try:
            async with asyncio.timeout(self.route.timeout_seconds):
                upstream = await self.client.send(self.route, self.upstream_body, self.attempt)
                is_whole = False
                try:
                    if isinstance(self.answer, StreamAnswer):
                        await self._relay(self.answer, upstream.chunks(), send)
                        is_whole = not self.answer.is_cut
                    else:
                        await self._collect(self.answer, upstream.chunks())
                        is_whole = True
                finally:
                    if not is_whole:
                        upstream.close()
                return upstream
        except TimeoutError:
            raise Failed(is_timeout=True) if self.attempt.is_sent else Unreachable() from None
        except (Broken, sse.Oversized) as error:
            log.warning("call %s: %s", self.placement.request_id, error)
            raise Failed from None

    async def _relay(self, answer: StreamAnswer, chunks: AsyncIterator[bytes], send: Send) -> None:
        await self._start(send, "text/event-stream; charset=utf-8")
        async for data in sse.events(chunks):
            self.heard_at = time.monotonic()
            chunk = answer.read(data)
            if chunk is not None and not await self._is_paid_for(answer, chunk):
                answer.is_cut = True
                self.cut_outcome = f"cut_{self.grower.growth.refusal}"
            if chunk is None or answer.is_cut:
                break
            for event in answer.give(chunk):
                await self._send(send, event, more=True)
        if not (answer.is_cut or answer.is_complete):
            raise Failed

    async def _is_paid_for(self, answer: StreamAnswer, chunk: dict[str, Any]) -> bool:
        said = answer.usage
        arrived = answer.received.most_tokens if said is None else max(answer.received.most_tokens, said.output)
        if not self.grower.growth.is_due(arrived):
            return True
        return answer.ends_with(chunk) or await self.grower.covers(arrived)

    async def _extend(self, output_limit: int) -> holds.Extended:
        statement = holds.extend_statement(
            account_id=self.placed.account_id, hold_id=self.placed.hold_id, output_limit=output_limit
        )
        async with self.database.extending:
            return holds.Extended(*await self.database.row(statement))

    async def _collect(self, answer: PlainAnswer, chunks: AsyncIterator[bytes]) -> None:
        body = bytearray()
        try:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise Broken(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            answer.feed(bytes(body))
        except BaseException:
            answer.received.add_raw(bytes(body))
            raise

    async def _finish(self, send: Send) -> None:
        """Settle, and only then give away the last of the answer."""
        is_cut = isinstance(self.answer, StreamAnswer) and self.answer.is_cut
        usage = self._unfinished_usage() if is_cut or self.answer.usage is None else self.answer.usage
        outcome = self.cut_outcome if is_cut else "hung_up" if self.is_hung_up else "ok"
        settled = await self._settle(usage, outcome=outcome, is_counted=usage != self.answer.usage)
        if settled is None:
            raise NotSettled
        cost = settled.charged_nanousd
        if isinstance(self.answer, StreamAnswer):
            await self._send(send, b"".join(self.answer.last(usage=usage, cost_nanousd=cost)), more=False)
        else:
            body = self.answer.render(usage=usage, cost_nanousd=cost)
            await self._start(send, "application/json", length=len(body))
            await self._send(send, body, more=False)

    async def _end_with(self, error: FacesError, send: Send) -> None:
        """Resolve the hold for an error, then tell the client: before the answer began with a status, after it in the stream."""
        await self._resolve_unfinished(error.code, is_free=isinstance(error, Refused))
        if not self.has_started:
            await answers.refusal(error, self.request)(self.request.scope, self.request.receive, send)
        else:
            event = sse.event(render_json({"error": answers.error_object(error)}))
            await self._send(send, event, more=False)

    def _bug(self) -> FacesError:
        """A 500, which SDKs repeat unless told not to: each time the customer would pay."""
        headers = {"x-should-retry": "false"} if self.attempt.is_sent else None
        return FacesError(f"Internal error; quote request {self.placement.request_id}", headers=headers)

    def _unfinished_usage(self) -> Usage:
        """The prompt and what arrived, counted, neither above its bound; nor below what the upstream said so far."""
        prompt = min(bounds.count_prompt(self.chat, self.route.tokenizer), self.placement.prompt_bound)
        received = self.answer.received
        output = min(received.tokens(), received.limit)
        said = self.answer.usage
        if said is None:
            return Usage(input=prompt, output=output)
        return replace(said, input=max(prompt, said.input), output=max(output, said.output))

    async def _resolve_unfinished(self, outcome: str, *, is_free: bool = False) -> None:
        """Resolve the hold of a call that did not come to its end: nothing is charged for what was refused or never left."""
        if self.is_resolved:
            return
        if is_free or not self.attempt.is_sent:
            await self._resolve(
                holds.settle_statement(
                    account_id=self.placed.account_id,
                    hold_id=self.placed.hold_id,
                    cost_nanousd=0,
                    outcome=outcome,
                    is_released=True,
                )
            )
        else:
            usage = self._unfinished_usage()
            await self._settle(usage, outcome=outcome, is_counted=usage != self.answer.usage)

    async def _settle(self, usage: Usage, *, outcome: str, is_counted: bool) -> holds.Settled | None:
        return await self._resolve(
            holds.settle_statement(
                account_id=self.placed.account_id,
                hold_id=self.placed.hold_id,
                cost_nanousd=self.route.rates.cost(usage),
                usage=usage,
                outcome=outcome,
                is_counted=is_counted,
                upstream_cost_nanousd=None if self.route.costs is None else self.route.costs.cost(usage),
            )
        )

    async def _resolve(self, statement: holds.Statement) -> holds.Settled | None:
        """Run a settlement to its end even if this request is cancelled; None if the database stayed away."""
        if self.is_resolved:
            return None
        self.is_resolved = True
        task = asyncio.create_task(resolve(self.database, statement, request_id=self.placement.request_id))
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
        settled = task.result()
        self._count(settled, outcome=statement[1]["outcome"])
        return settled

    def _count(self, settled: holds.Settled | None, *, outcome: str) -> None:
        model = self.route.model
        metrics.CALLS.labels(model, outcome if settled is not None else "not_settled").inc()
        metrics.SECONDS.labels(model).observe(time.monotonic() - self.began)
        if settled is not None:
            metrics.CHARGED.labels(model).inc(settled.charged_nanousd)
            metrics.LOST.labels(model).inc(settled.lost_nanousd)

    async def _start(self, send: Send, content_type: str, *, length: int | None = None) -> None:
        self.has_started = True
        headers = [
            (b"content-type", content_type.encode()),
            (b"x-faces-output-limit", str(self.output_limit).encode()),
            (b"x-faces-held", usd_text(self.placed.amount_nanousd).encode()),
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._give(send, {"type": "http.response.start", "status": 200, "headers": headers})

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        await self._give(send, {"type": "http.response.body", "body": body, "more_body": more})

    async def _give(self, send: Send, message: Message) -> None:
        """Hand a message to the client, if it is still there. All waiting for it together may take half the deadline: one
        that sips would else keep the usage from being read, and pay only for what it took."""
        if self.is_hung_up:
            return
        began = self.giving_since = time.monotonic()
        try:
            async with asyncio.timeout(min(STALL_SECONDS, self.patience_seconds)):
                await send(message)
        except TimeoutError:
            work = asyncio.current_task()
            if work is not None and not self.is_hung_up:
                self.leaving = asyncio.create_task(self._leave(work))
            self.is_hung_up = True
        except OSError:
            self.is_hung_up = True
        finally:
            took = time.monotonic() - began
            self.giving_since = None
            self.patience_seconds -= took
            self.waited_seconds += took if took > SLOW_SEND_SECONDS else 0


async def resolve(database: Database, statement: holds.Statement, *, request_id: str) -> holds.Settled | None:
    """Run a settlement or release until the database takes it; None if it never did. Settling twice answers the first
    settlement, so a lost acknowledgement may simply be tried again. So may any other error: a standby after a fail-over,
    for one, refuses to write, which is no OperationalError. A cost whose hold is gone, as after a fail-over that lost the
    last commits, is charged to nobody: that is None too."""
    cost_nanousd = statement[1]["cost"]
    for pause in (*SETTLE_ATTEMPT_SECONDS, None):
        try:
            settled = holds.Settled(*await database.row(statement))
            if settled.state != "unknown" or cost_nanousd == 0:
                return settled
            log.error("call %s has no hold", request_id)
            break
        except psycopg.Error as error:
            log.error("call %s is not settled yet: %s", request_id, error)
            if pause is not None:
                await asyncio.sleep(pause)
    log.critical("call %s cost %d nano-USD and is not charged", request_id, cost_nanousd)
    return None


def life(route: Route, margin_seconds: int) -> timedelta:
    """How long a hold lasts: always longer than its call may."""
    return timedelta(seconds=route.timeout_seconds + margin_seconds)
