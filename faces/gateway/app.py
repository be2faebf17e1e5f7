"""The data plane: a small ASGI app beside Django for the metered path. Authenticate → hold → upstream → settle."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import psycopg
from django.conf import settings
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from apikeys import authentication, credentials
from apikeys.authentication import Action, Caller
from apikeys.credentials import Credential
from billing import holds
from faces.gateway import answers, bounds, call, growth, metrics, schema
from faces.gateway.database import Database
from faces.gateway.routing import Route, Routes
from faces.gateway.upstream import Client
from faces.lib.drf import LENGTH, render_json
from faces.lib.errors import FacesError

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
BODY_SECONDS: Final = 120
LEAST_OUTPUT_TOKENS: Final = 256
"""An unaffordable output limit is lowered, but never below this."""

SETTLE_AT_EXIT_SECONDS: Final = 5

Handler = Callable[[Request], Awaitable[Any]]


class NotFound(FacesError):
    status = 404
    code = "not_found"
    detail = "Not found"


class BodyTooLarge(FacesError):
    status = 413
    code = "body_too_large"
    detail = f"The body is larger than {MAX_BODY_BYTES} bytes"


class BodyTooSlow(FacesError):
    """RFC 9110 §15.5.9. What the caller was allowed is read before the body, and must not be old when the body is there."""

    status = 408
    code = "body_too_slow"
    detail = "The body took too long to arrive; nothing was charged"


class NotJson(FacesError):
    status = 415
    code = "unsupported_media_type"
    detail = "Content-Type must be application/json"


class DatabaseAway(FacesError):
    status = 503
    code = "database_away"
    detail = "The database is away; nothing was sent and nothing was charged"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class Gateway:
    """One process's data plane. `open` before the first request, `aclose` at the end."""

    def __init__(self) -> None:
        self.database = Database()
        self.routes = Routes(self.database.connection)
        self._giving_back: set[asyncio.Task[Any]] = set()
        self._running = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.app: ASGIApp = Starlette(
            routes=[
                Path("/v1/chat/completions", self._guarded(self.chat), methods=["POST"]),
                Path("/v1/models", self._guarded(self.models), methods=["GET"]),
                Path("/v1/models/{model:path}", self._guarded(self.model), methods=["GET"]),
            ],
            exception_handlers={404: _not_found, 405: _not_allowed},
        )

    async def open(self) -> None:
        await self.database.pool.open()
        self.client = Client()

    async def aclose(self) -> None:
        """Give calls that the server interrupted a moment to settle, then close everything."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle(), SETTLE_AT_EXIT_SECONDS)
        await self.client.aclose()
        await self.database.pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["faces.request_id"] = request_id = uuid.uuid4().hex
        self._begin()
        try:
            await self.app(scope, receive, _with_headers(scope, send, request_id))
        finally:
            self._end()

    def _begin(self) -> None:
        self._running += 1
        self._is_idle.clear()

    def _end(self, done: object = None) -> None:
        self._running -= 1
        if self._running == 0:
            self._is_idle.set()

    async def idle(self) -> None:
        """Wait until no request runs, calls whose client has gone included."""
        await self._is_idle.wait()

    async def chat(self, request: Request) -> ASGIApp:
        """Admit a call; the answer that is returned runs it. Raises what refuses it, in the contract's order."""
        _check_declared_length(request)
        credential = await self._authenticate(request, Action.SPEND)
        data = schema.parse(await _json_body(request))
        passing = (await self.routes.all()).get(str(data.get("model")))
        chat = schema.validate(data, pass_fields=frozenset() if passing is None else passing.pass_fields)
        route = await self.routes.find(chat.model)
        placement, limit = _placement(request, credential, chat, route)
        placed = await self._place(placement)
        if placed.output_limit < placement.output_limit:
            limit = placed.output_limit
        body = schema.rebuild(
            chat,
            upstream_model=route.upstream_model,
            limit_field=route.limit_field,
            output_limit=limit,
        )
        return call.Call(
            request=request,
            chat=chat,
            route=route,
            placed=placed,
            placement=placement,
            upstream_body=body,
            output_limit=limit,
            database=self.database,
            client=self.client,
        )

    async def _place(self, placement: holds.Request) -> holds.Placed:
        """A hold, or none: where only its acknowledgement was lost it is given back, since no call will ever settle it."""
        hold_id = uuid7()
        try:
            row = await self.database.row(holds.place_statement(placement, hold_id=hold_id))
        except PoolTimeout:
            raise
        except (psycopg.Error, asyncio.CancelledError):
            self._give_back(placement, hold_id)
            raise
        return holds.placed(placement, hold_id, row)

    def _give_back(self, placement: holds.Request, hold_id: uuid.UUID) -> None:
        """In the background: the caller is not kept waiting for a database that is away."""
        statement = holds.settle_statement(
            account_id=placement.account_id, hold_id=hold_id, cost_nanousd=0, outcome="database_away", is_released=True
        )
        self._begin()
        task = asyncio.create_task(call.resolve(self.database, statement, request_id=placement.request_id))
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)
        task.add_done_callback(self._end)

    async def models(self, request: Request) -> Response:
        await self._authenticate(request, Action.READ_MODELS)
        routes = await self.routes.all()
        data = [_model(route) for route in routes.values()]
        return Response(render_json({"object": "list", "data": data}), media_type="application/json")

    async def model(self, request: Request) -> Response:
        if not request.path_params["model"]:
            raise NotFound
        await self._authenticate(request, Action.READ_MODELS)
        name = unquote(request.path_params["model"])
        route = (await self.routes.all()).get(request.path_params["model"]) or await self.routes.find(name)
        return Response(render_json(_model(route)), media_type="application/json")

    async def _authenticate(self, request: Request, action: Action) -> Credential:
        headers = request.headers
        caller = Caller(headers.getlist("authorization"), headers.getlist("origin"), headers.getlist("referer"))
        found = credentials.lookup(caller.authorization)
        row = None if found is None else await self.database.row((found.sql, found.parameters))
        credential = None if found is None else credentials.from_row(found, row)
        return authentication.authenticate(credential=credential, caller=caller, action=action)

    def _guarded(self, handler: Handler) -> Handler:
        """Every exception of a handler as an answer."""

        async def guarded(request: Request) -> Any:
            try:
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)  # never sent: the client went before its request was whole
            except FacesError as error:
                metrics.REFUSALS.labels(error.code).inc()
                return answers.refusal(error, request)
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
                log.error("database away: %s", error)
                return answers.refusal(DatabaseAway(), request)
            except Exception:
                identifier = request.scope["faces.request_id"]
                log.exception("request %s failed", identifier)
                return answers.refusal(FacesError(f"Internal error; quote request {identifier}"), request)

        return guarded


def _placement(
    request: Request, credential: Credential, chat: schema.ChatRequest, route: Route
) -> tuple[holds.Request, int]:
    """What is to be held, and the output limit for the upstream, which a hold that grows does not pay for yet."""
    bound = bounds.prompt_bound(chat, tokenizer=route.tokenizer)
    asked = route.default_output_tokens if chat.output_limit is None else chat.output_limit
    limit = min(asked, route.max_output_tokens)
    may_lower = request.headers.get("x-faces-lower", "").strip().lower() != "no"
    grows = growth.may_grow(route, chat, may_lower=may_lower)
    first = min(limit, route.default_output_tokens) if grows else limit
    placement = holds.Request(
        account_id=credential.account_id,
        key_ids=credential.key_ids,
        rates=route.rates,
        request_id=request.scope["faces.request_id"],
        model=route.model,
        upstream=route.upstream,
        life=call.life(route, settings.FACES_HOLD_MARGIN_SECONDS),
        prompt_bound=min(bound, route.context_tokens),
        output_limit=first,
        lowest_limit=min(limit, LEAST_OUTPUT_TOKENS) if may_lower else limit,
        choices=chat.n,
        grows=grows,
    )
    return placement, limit


def _check_declared_length(request: Request) -> None:
    declared = request.headers.get("content-length", "0")
    if LENGTH.fullmatch(declared) is None or int(declared) > MAX_BODY_BYTES:
        raise BodyTooLarge


async def _json_body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise BodyTooLarge
    except TimeoutError:
        raise BodyTooSlow from None
    return bytes(body)


def _model(route: Route) -> dict[str, Any]:
    return {
        "id": route.model,
        "object": "model",
        "created": 0,
        "owned_by": route.upstream,
        "context_length": route.context_tokens,
        "max_output_tokens": route.max_output_tokens,
    }


def _with_headers(scope: Scope, send: Send, request_id: str) -> Send:
    """What every answer carries. The CORS headers are django-cors-headers' own on the other plane; a test compares the two."""
    common = [
        (b"x-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"origin"),
    ]
    if any(name == b"origin" for name, _ in scope["headers"]):
        common += [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-expose-headers", ", ".join(settings.CORS_EXPOSE_HEADERS).encode()),
        ]

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *common]}
        await send(message)

    return with_headers


async def _not_found(request: Request, error: Exception) -> Response:
    return answers.refusal(NotFound(), request)


async def _not_allowed(request: Request, error: Exception) -> Response:
    refusal = FacesError(f"Method {request.method!r} not allowed", headers=getattr(error, "headers", None))
    refusal.status, refusal.code = 405, "method_not_allowed"
    return answers.refusal(refusal, request)


@contextlib.asynccontextmanager
async def opened(gateway: Gateway) -> Any:
    """The gateway, open for the length of a block."""
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.aclose()
