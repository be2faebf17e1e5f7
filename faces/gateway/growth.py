"""A hold that grows with its stream: it pays for the prompt and a slice of output, and is raised ahead of need.

Only where what arrives tells what is billed, and where stopping stops the bill: see `may_grow`. What arrived is counted as an
upper bound, so the cap stays hard; `Growth` decides, `Grower` asks the database while the stream goes on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import psycopg

from billing import holds
from faces.gateway import metrics
from faces.gateway.fields import CHECKS
from faces.gateway.routing import Route
from faces.gateway.schema import ChatRequest

log = logging.getLogger(__name__)

MARGIN_TOKENS: Final = 128
"""A choice: what may be made between the cut and the upstream's stop, and what a template writes around a tool call."""
AHEAD_TOKENS: Final = 256
"""A choice: how long before the wall more is asked for. At a thousand tokens a second a quarter of a second."""
MARGIN_PART: Final = 4
AHEAD_PART: Final = 2
"""Neither is more than this part of a slice, else a short one would be all margin."""
LEAST_PART: Final = 16
"""Where a slice is refused, less is asked for, by halves, down to this part of one."""
WAIT_SECONDS: Final = 2
"""At the wall a stream waits this long for the database; then it is cut."""
AWAY: Final = "database_away"
SAMPLING: Final = frozenset(
    {
        "top_k",
        "min_p",
        "top_a",
        "typical_p",
        "repetition_penalty",
        "repeat_penalty",
        "no_repeat_ngram_size",
        "min_tokens",
    }
)
"""Fields an operator may let through that change which tokens are made, and hide none that are."""


def may_grow(route: Route, chat: ChatRequest, *, may_lower: bool) -> bool:
    """Whether the hold of this call may start with less than its full limit: the upstream streams, shows all it bills, and
    stops charging when it is left; and the caller did not forbid it, nor sends a field let through that may hide output
    (`include_reasoning`, `separate_reasoning`)."""
    is_known = chat.fields.keys() <= CHECKS.keys() | SAMPLING
    return chat.stream and route.visible_output and route.cancels_on_hangup and may_lower and is_known


@dataclass(slots=True)
class Growth:
    """What is held and when to ask for more. `limit` and `held` are tokens a choice; what `arrived` is counted over all
    choices, at most. At `limit` the upstream's own stop keeps the call within its hold: then there is no wall."""

    choices: int
    slice: int
    limit: int
    held: int
    refusal: str = ""
    is_least_refused: bool = False
    _step: int = field(init=False)
    _next_try: int = field(init=False)

    def __post_init__(self) -> None:
        self._step = self.slice
        self.grant(self.held)

    @property
    def _wall(self) -> int:
        return self.choices * (self.held - min(MARGIN_TOKENS, self.slice // MARGIN_PART))

    def wants_more(self, arrived: int) -> bool:
        return self.held < self.limit and arrived >= self._next_try

    def is_due(self, arrived: int) -> bool:
        """Whether something has to be done before more is given: nearly always nothing."""
        return self.wants_more(arrived) or self.is_past(arrived)

    def is_past(self, arrived: int) -> bool:
        """Whether this may be more than the hold pays for, its margin included."""
        return self.held < self.limit and arrived > self._wall

    def target(self, arrived: int) -> int:
        """The limit a choice to ask for: a slice more, or as many as what arrived at once needs; after refusals, less."""
        steps = 1 + max(0, arrived - self._wall) // (self.choices * self._step)
        return min(self.held + steps * self._step, self.limit)

    def grant(self, held: int) -> None:
        self.held = held
        self.refusal = ""
        self.is_least_refused = False
        self._step = min(self.slice, 2 * self._step)
        self._next_try = self._wall - self.choices * min(AHEAD_TOKENS, self.slice // AHEAD_PART)

    def refuse(self, reason: str, arrived: int) -> None:
        """Less may still be had, and money that other calls hold may come back: asked again half way to the wall."""
        self.refusal = reason
        self.is_least_refused = self._step <= max(1, self.slice // LEAST_PART)
        if not self.is_least_refused:
            self._step //= 2
        self._next_try = arrived + max(1, (self._wall - arrived) // 2)


class Grower:
    """Raises the hold of one call beside its stream. `extend` asks for a limit a choice."""

    def __init__(self, growth: Growth, extend: Callable[[int], Awaitable[holds.Extended]], *, model: str) -> None:
        self.growth = growth
        self._extend = extend
        self._model = model
        self._task: asyncio.Task[None] | None = None
        self._asked_at = -1

    async def covers(self, arrived: int) -> bool:
        """Whether what arrived is paid for. Asks ahead and goes on; only at the wall it waits, and asks for what is left."""
        growth = self.growth
        if self._task is None and growth.wants_more(arrived):
            self._ask(arrived)
        while growth.is_past(arrived):
            if self._task is None:
                if self._asked_at >= arrived and (growth.is_least_refused or growth.refusal == AWAY):
                    return False
                self._ask(arrived)
            if self._task is not None:
                await asyncio.wait({self._task}, timeout=WAIT_SECONDS)
                if self._task is not None:
                    growth.refusal = AWAY
                    return False
        return True

    async def aclose(self) -> None:
        """Wait for a question still on its way: a connection given up in the middle would be lost to the pool."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def _ask(self, arrived: int) -> None:
        self._asked_at = arrived
        self._task = asyncio.create_task(self._raise(self.growth.target(arrived), arrived))

    async def _raise(self, target: int, arrived: int) -> None:
        try:
            extended = await self._extend(target)
            reason = extended.reason
        except psycopg.Error as error:  # whether it was granted is not known; the settlement knows
            log.error("a hold is not extended: %s", error)
            reason = AWAY
        except Exception:  # a fault of ours: unanswered, `covers` would ask again for ever
            log.exception("a hold is not extended")
            reason = AWAY
        finally:
            self._task = None
        metrics.EXTENSIONS.labels(self._model, reason or "granted").inc()
        if reason:
            self.growth.refuse(reason, arrived)
        else:
            self.growth.grant(target)
