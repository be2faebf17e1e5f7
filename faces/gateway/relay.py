"""The upstream's answer turned into the client's, and what arrived counted on the way. No I/O here."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from billing.rates import Usage
from faces.gateway import bounds, sse
from faces.gateway import usage as usages
from faces.gateway.routing import Route
from faces.lib.drf import render_json

HEAD_MEMBERS: Final = frozenset(
    {"id", "object", "created", "model", "choices", "system_fingerprint", "service_tier", "provider", "timings"}
)
LONGEST_TOKEN_BYTES: Final = 16
"""More text than this a token is more than the limit allows, whatever the tokenizer; common ones average four."""

HALF_TOKENS: Final = 4
"""A text that stops inside a token may count as this many more than it will when the token is whole."""


class Broken(ValueError):
    """The upstream sent what is no answer: bad JSON, an error event, an event beyond all size."""


@dataclass(slots=True)
class Received:
    """Output that arrived, of all choices. `limit` is what they may be together, in tokens; `most_tokens` what they are at
    most: a byte is never more than a token, nor is a piece counted by itself less than in its place."""

    limit: int
    tokenizer: str | None
    choices: int = 1
    size_bytes: int = 0
    deltas: int = 0
    most_tokens: int = 0
    texts: dict[int, list[str]] = field(default_factory=dict)
    _unchecked: int = 0
    _calls: set[tuple[int, tuple[str, ...]]] = field(default_factory=set)

    def add(self, texts: list[str], *, choice: int = 0) -> None:
        most = 0
        for text in texts:
            if text:
                size = len(text.encode(errors="surrogatepass"))
                self.size_bytes += size
                # A delta of one character may be a part of a token; a longer one is hardly less than one.
                self.deltas += len(text) > 1
                if self.tokenizer is not None:
                    self.texts.setdefault(choice, []).append(text)
                    size = bounds.count_text(text, self.tokenizer)
                    self._unchecked += size
                most += size
        self.most_tokens += max(1, most)  # a delta that shows nothing may still be a token

    def begin(self, calls: set[tuple[str, ...]], *, choice: int) -> None:
        """Count what no server shows of tool calls, of each once: it is billed, and many small ones are mostly that."""
        begun = {(choice, call) for call in calls} - self._calls
        self._calls |= begun
        self.most_tokens += bounds.CALLED_TOKENS * len(begun)

    def add_raw(self, body: bytes) -> None:
        """Count a body that broke off before it could be read as an answer."""
        if self.size_bytes == 0:
            self.size_bytes = len(body)
            self.texts = {0: [body.decode(errors="replace")]}

    def tokens(self) -> int:
        """Counted by the model's named tokenizer, each choice by itself; else one token per four bytes, rounded up once."""
        if self.tokenizer is None:
            return -(-self.size_bytes // bounds.BYTES_PER_TOKEN)
        return sum(bounds.count_text("".join(texts), self.tokenizer) for texts in self.texts.values())

    def has_used_up_the_limit(self) -> bool:
        """Whether more arrived than the limit allows. Without the tokenizer a call within its limit must not be cut on a
        guess: it takes more deltas than tokens allowed, or more bytes than that many tokens have."""
        if self.tokenizer is None:
            over = self.size_bytes > self.limit * bounds.BYTES_PER_TOKEN
            return over and (self.deltas > self.limit or self.size_bytes > self.limit * LONGEST_TOKEN_BYTES)
        allowed = self.limit + HALF_TOKENS * min(len(self.texts), self.choices)
        if self._unchecked <= allowed:
            return False
        self._unchecked = self.tokens()
        return self._unchecked > allowed


class Answer:
    """What both kinds of answer share: usage seen, output received, edits to what the client gets."""

    def __init__(self, *, route: Route, wants_usage: bool, received: Received) -> None:
        self.route = route
        self.wants_usage = wants_usage
        self.received = received
        self.usage: Usage | None = None
        self._reported: dict[str, Any] | None = None

    def _take_usage(self, body: dict[str, Any]) -> bool:
        reported = body.get("usage")
        usage = usages.read(reported)
        if usage is not None:
            self.usage, self._reported = usage, reported
        return isinstance(reported, dict)

    def _take_text(self, choices: list[dict[str, Any]], member: str) -> None:
        """Where an upstream says one text in several ways, the first that shows something counts."""
        for choice in choices:
            index = choice.get("index", 0)
            parts = [part for name in (member, "message") if isinstance(part := choice.get(name), dict)]
            parts += [{"content": choice["text"]}] if isinstance(choice.get("text"), str) else []
            for part in parts:
                self.received.begin(bounds.begun_calls(part), choice=index)
            shown = [texts for part in parts if any(texts := bounds.received_texts(part))]
            if parts:
                self.received.add(shown[0] if shown else [], choice=index)


class PlainAnswer(Answer):
    """A whole chat completion."""

    def feed(self, body: bytes) -> None:
        """Read the upstream's body. Raises Broken."""
        data = _object(body)
        self.body = data
        self._take_usage(data)
        if data.get("error") or not data.get("choices"):
            raise Broken("the upstream sent an error, or no choices, with status 200")
        self._take_text(_choices(data), "message")

    def render(self, *, usage: Usage, cost_nanousd: int) -> bytes:
        """The client's body: the model as asked for, the cost on the usage."""
        reported = self._reported
        shown = usages.written(usage, cost_nanousd) if reported is None else usages.shown(reported, cost_nanousd)
        return render_json({**self.body, "model": self.route.model, "usage": shown})


class StreamAnswer(Answer):
    """A chat completion as events. `read` takes one event's data, `give` makes of it what the client gets now; the events
    that say what the call used wait in `held` until it is settled."""

    def __init__(self, *, route: Route, wants_usage: bool, received: Received) -> None:
        super().__init__(route=route, wants_usage=wants_usage, received=received)
        self.is_done = False
        self.is_cut = False
        self._shows = False
        self._finished: dict[int, bool] = {}
        self._head: dict[str, Any] = {}
        self._held: list[dict[str, Any]] = []

    @property
    def is_complete(self) -> bool:
        """Every choice that began has said why it ended."""
        return bool(self._finished) and all(self._finished.values())

    def read(self, data: bytes) -> dict[str, Any] | None:
        """The event as a chunk, its output counted; None if there is nothing to give: `is_done` or `is_cut` is set then.
        Raises Broken."""
        if data.strip() == sse.DONE:
            self.is_done = True
            return None
        chunk = _object(data)
        if chunk.get("error"):
            raise Broken("the upstream reported an error")
        choices = _choices(chunk)
        self._head = self._head or {name: chunk[name] for name in ("id", "created") if name in chunk}
        before = self.received.size_bytes
        self._take_text(choices, "delta")
        self._shows = self.received.size_bytes > before
        self.is_cut = self.received.has_used_up_the_limit()
        return None if self.is_cut else chunk

    def ends_with(self, chunk: dict[str, Any]) -> bool:
        """Whether this chunk, the one read last, is the end of all output. Where it shows some, every choice asked for has to
        end, and not before it: some upstreams say a finish_reason on each event, and go on."""
        ended = {choice.get("index", 0) for choice in _choices(chunk) if choice.get("finish_reason")}
        finished = {index for index, is_finished in self._finished.items() if is_finished}
        if self._shows:
            return len(finished) < self.received.choices <= len(finished | ended)
        return self.is_complete or (bool(ended) and set(self._finished) <= finished | ended)

    def give(self, chunk: dict[str, Any]) -> list[bytes]:
        """The events for the client."""
        choices = _choices(chunk)
        finishes = self._take_finishes(choices)
        has_usage = self._take_usage(chunk)
        # A usage chunk that another followed was not the last word: nobody needs it.
        ready = [self._event(held) for held in self._held if not _is_only_usage(held)]
        self._held = []
        if self.wants_usage and has_usage and (not choices or finishes or self.is_complete):
            self._held.append(chunk)
        elif self.wants_usage or not _is_only_usage(chunk):
            ready.append(self._event(chunk))
        return ready

    def last(self, *, usage: Usage, cost_nanousd: int) -> list[bytes]:
        """The end of the stream, once it is settled: a finish for what was cut, the usage if asked for, `[DONE]`."""
        final = None
        if self.wants_usage:
            reported = self._reported if self.usage == usage else None
            final = usages.written(usage, cost_nanousd) if reported is None else usages.shown(reported, cost_nanousd)
        chunks = [*self._held, self._cut()] if self.is_cut else self._held
        if self.wants_usage and (self.is_cut or not chunks):
            chunks = [*chunks, self._new_chunk([])]
        ready = [self._event(chunk) for chunk in chunks[:-1]]
        ready += [self._event(chunk, final=final) for chunk in chunks[-1:]]
        return [*ready, sse.event(sse.DONE)]

    def _event(self, chunk: dict[str, Any], *, final: dict[str, Any] | None = None) -> bytes:
        chunk["model"] = self.route.model
        has_usage = "usage" in chunk
        reported = chunk.pop("usage", None)
        if final is not None:
            chunk["usage"] = final
        elif self.wants_usage and has_usage:
            said = usages.read(reported)
            chunk["usage"] = None if said is None else usages.shown(reported, self.route.rates.cost(said))
        return sse.event(render_json(chunk))

    def _take_finishes(self, choices: list[dict[str, Any]]) -> bool:
        for choice in choices:
            index = choice.get("index", 0)
            self._finished[index] = bool(choice.get("finish_reason")) or self._finished.get(index, False)
        return any(choice.get("finish_reason") for choice in choices)

    def _cut(self) -> dict[str, Any]:
        open_choices = [index for index, finished in self._finished.items() if not finished] or [0]
        return self._new_chunk([{"index": index, "delta": {}, "finish_reason": "length"} for index in open_choices])

    def _new_chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "model": self.route.model, "choices": choices}


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Broken(f"the upstream sent bad JSON: {error}") from None
    if not isinstance(body, dict):
        raise Broken("the upstream sent JSON that is no object")
    try:
        orjson.dumps(body)
    except orjson.JSONEncodeError:  # it reads 1024 levels and writes 254
        raise Broken("the upstream sent JSON that is nested too deeply") from None
    return body


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Broken("the upstream sent choices that are no list of objects")
    if not all(isinstance(choice.get("index", 0), int) for choice in choices):
        raise Broken("the upstream sent a choice whose index is no number")
    return choices


def _is_only_usage(chunk: dict[str, Any]) -> bool:
    return isinstance(chunk.get("usage"), dict) and not chunk.get("choices") and set(chunk) - {"usage"} <= HEAD_MEMBERS
