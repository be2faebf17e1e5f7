"""How much of a cap can be spent before somebody is refused: the full hold against the hold that grows.

Eight agents share one key. Each sends a prompt of 20,000 tokens with an output limit of 32,000, reads an answer of about 400
tokens (log-normal, with a long tail), and goes on until the cap is spent; whoever is refused for the moment asks again after a
second. Prices are 3 and 15 USD per million tokens. The rules that decide are the service's own (`faces.gateway.growth`), on
books kept here or, as `tests/races/test_fleet.py` does it, in PostgreSQL. Time is simulated, so the figures are exact.

    .venv/bin/python -m benchmarks.growing_holds
"""

import argparse
import heapq
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean
from typing import Any, Final, Protocol

os.environ.setdefault("DATABASE_URL", "postgresql:///unused")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "faces.settings")

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from billing.rates import Rates, Usage
from faces.gateway import bounds
from faces.gateway.growth import Growth

NANO: Final = 10**9
AGENTS: Final = 8
PROMPT_TOKENS: Final = 20_000
LIMIT: Final = 32_000
LOWEST: Final = 256
MEAN_ANSWER_TOKENS: Final = 400
SPREAD: Final = 1.0
BYTES_A_TOKEN: Final = 4
RATES: Final = Rates(input=3 * NANO, output=15 * NANO, cached_input=3 * NANO, cache_write=3 * NANO)
FIRST_TOKEN_SECONDS: Final = 1.5
TOKEN_SECONDS: Final = 0.0125
RETRY_SECONDS: Final = 1.0
SEEDS: Final = 20
CAPS_USD: Final = (1, 2, 5, 20)
SLICES: Final = (4096, 2048, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How calls are held. `slice` None is the full hold, lowered to what is free unless the caller forbids it. With
    `is_exact` the model's tokenizer counts, else bytes do."""

    slice: int | None
    may_lower: bool = True
    is_exact: bool = True

    @property
    def prompt_bound(self) -> int:
        overhead = bounds.CALL_TOKENS + bounds.MESSAGE_TOKENS
        if self.is_exact:
            return -(-PROMPT_TOKENS * bounds.MARGIN[0] // bounds.MARGIN[1]) + overhead
        return PROMPT_TOKENS * BYTES_A_TOKEN + overhead

    @property
    def first(self) -> int:
        return LIMIT if self.slice is None else min(LIMIT, self.slice)

    @property
    def lowest(self) -> int:
        return LOWEST if self.may_lower else LIMIT

    def __str__(self) -> str:
        if self.slice is not None:
            return f"{self.slice} tokens, growing"
        return "the full limit" if self.may_lower else "the full limit, never lowered"


class Books(Protocol):
    """One key with a cap. What a call id stands for is the books' own affair."""

    def place(self, plan: Plan) -> tuple[str, Any, int]:
        """Why not, or '' with the call and the output limit held for."""

    def extend(self, call: Any, output_limit: int) -> str: ...

    def settle(self, call: Any, cost_nanousd: int) -> int:
        """What was charged."""


@dataclass(slots=True)
class Held:
    amount: int
    prompt_bound: int


@dataclass(slots=True)
class PaperBooks:
    """The rules of `faces_hold_place`, `_extend` and `_settle` for one key whose account is rich."""

    cap: int
    spent: int = 0
    held: int = 0

    def place(self, plan: Plan) -> tuple[str, Any, int]:
        limit, grows = plan.first, plan.slice is not None
        full, lowest = most(plan.prompt_bound, limit), most(plan.prompt_bound, plan.lowest)
        needed = full if grows and self.cap - self.spent >= full else lowest
        free = self.cap - self.spent - self.held
        if self.cap - self.spent < lowest:
            return "budget_exhausted", None, 0
        if free < needed:
            return "budget_held", None, 0
        if full > free:
            limit = (free * 10**6 - RATES.weighted_prompt(plan.prompt_bound)) // RATES.output
        call = Held(most(plan.prompt_bound, limit), plan.prompt_bound)
        self.held += call.amount
        return "", call, limit

    def extend(self, call: Any, output_limit: int) -> str:
        more = most(call.prompt_bound, output_limit) - call.amount
        if self.cap - self.spent < more + call.amount:
            return "budget_exhausted"
        if self.cap - self.spent - self.held < more:
            return "budget_held"
        call.amount += more
        self.held += more
        return ""

    def settle(self, call: Any, cost_nanousd: int) -> int:
        free = self.cap - self.spent - self.held
        charged = cost_nanousd
        if charged > call.amount:
            charged = call.amount + min(charged - call.amount, max(0, free))
        self.held -= call.amount
        self.spent += charged
        return charged


def most(prompt_bound: int, output_limit: int) -> int:
    """What a call of one choice can cost, in nano-USD."""
    return -(-(RATES.weighted_prompt(prompt_bound) + RATES.output * output_limit) // 10**6)


@dataclass(slots=True)
class Result:
    """`at_first_refusal` and `at_end` are nano-USD spent."""

    cap: int
    spent: int = 0
    lost: int = 0
    calls: int = 0
    cut: int = 0
    refused: int = 0
    at_first_refusal: int | None = None

    @property
    def share_at_first_refusal(self) -> float:
        return (self.spent if self.at_first_refusal is None else self.at_first_refusal) / self.cap

    @property
    def share_used(self) -> float:
        return self.spent / self.cap

    @property
    def share_cut(self) -> float:
        return self.cut / self.calls if self.calls else 0.0


@dataclass(slots=True)
class Fleet:
    """The agents, and the one clock they share."""

    books: Books
    plan: Plan
    result: Result
    chance: random.Random
    clock: Iterator[int] = field(default_factory=count)

    def run(self) -> Result:
        queue = [(0.01 * agent, next(self.clock), self.agent()) for agent in range(AGENTS)]
        heapq.heapify(queue)
        while queue:
            now, _, agent = heapq.heappop(queue)
            pause = next(agent, None)
            if pause is not None:
                heapq.heappush(queue, (now + pause, next(self.clock), agent))
        return self.result

    def agent(self) -> Iterator[float]:
        """Calls, one after the other; yields for how many seconds it waits."""
        while True:
            reason, call, limit = self.books.place(self.plan)
            if reason:
                self.refused()
                if reason == "budget_exhausted":
                    return
                yield RETRY_SECONDS
            else:
                yield FIRST_TOKEN_SECONDS
                tokens = yield from self.stream(call, limit)
                self.settle(call, tokens)

    def stream(self, call: Any, held: int) -> Iterator[float]:
        """One answer as it arrives, to its end or its cut; gives the tokens that arrived."""
        is_lowered = held < self.plan.first
        limit = held if is_lowered else LIMIT
        growth = Growth(choices=1, slice=self.plan.first, limit=limit, held=held)
        wanted = self.answer_tokens()
        size = 1 if self.plan.is_exact else BYTES_A_TOKEN
        self.result.calls += 1
        for tokens in range(1, min(wanted, limit) + 1):
            yield TOKEN_SECONDS
            if tokens < wanted and not self.covers(growth, call, tokens * size):
                self.result.cut += 1
                return tokens
        self.result.cut += wanted > limit
        return min(wanted, limit)

    def covers(self, growth: Growth, call: Any, arrived: int) -> bool:
        """As `faces.gateway.growth.Grower`, with a database that answers at once."""
        if not growth.is_due(arrived):
            return True
        while True:
            target = growth.target(arrived)
            reason = self.books.extend(call, target)
            if reason:
                growth.refuse(reason, arrived)
            else:
                growth.grant(target)
            if not growth.is_past(arrived):
                return True
            if growth.is_least_refused:
                return False

    def answer_tokens(self) -> int:
        mean = self.chance.lognormvariate(0, SPREAD) / 2.718281828 ** (SPREAD**2 / 2)
        return max(1, round(MEAN_ANSWER_TOKENS * mean))

    def settle(self, call: Any, tokens: int) -> None:
        cost = RATES.cost(Usage(input=PROMPT_TOKENS, output=tokens))
        charged = self.books.settle(call, cost)
        self.result.spent += charged
        self.result.lost += cost - charged
        if self.result.spent > self.result.cap:
            raise ArithmeticError(f"the cap of {self.result.cap} was passed: {self.result.spent}")

    def refused(self) -> None:
        self.result.refused += 1
        if self.result.at_first_refusal is None:
            self.result.at_first_refusal = self.result.spent


def simulate(books: Books, *, plan: Plan, cap_nanousd: int, seed: int) -> Result:
    """One fleet until its cap is spent."""
    return Fleet(books, plan, Result(cap_nanousd), random.Random(seed)).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N")
    seeds = range(parser.parse_args().seeds)
    print(f"means over seeds 0 to {len(seeds) - 1}; shares of the cap in percent\n")
    print(
        "| cap, USD | prompts and output bounded by | held at first | spent at first refusal | spent at the end | answers cut |"
    )
    print("|--:|---|---|--:|--:|--:|")
    for cap_usd in CAPS_USD:
        for is_exact in (True, False):
            plans = [Plan(slice=None, may_lower=may_lower, is_exact=is_exact) for may_lower in (False, True)]
            for plan in plans + [Plan(slice=tokens, is_exact=is_exact) for tokens in SLICES]:
                cap = cap_usd * NANO
                results = [simulate(PaperBooks(cap), plan=plan, cap_nanousd=cap, seed=seed) for seed in seeds]
                print(
                    f"| {cap_usd} | {'tokenizer' if is_exact else 'bytes'} | {plan} "
                    f"| {fmean(100 * result.share_at_first_refusal for result in results):.1f} "
                    f"| {fmean(100 * result.share_used for result in results):.1f} "
                    f"| {fmean(100 * result.share_cut for result in results):.1f} |"
                )


if __name__ == "__main__":
    main()
