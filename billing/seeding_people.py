"""Who the demonstration's customers are: how they call, with which keys, and when. Drawn from a seed, before anything is
written."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Final, Literal

from faces.lib.money import parse_usd_text

HOUR: Final = timedelta(hours=1)
WEEKEND: Final = 0.35
BY_HOUR: Final = (2, 1, 1, 1, 1, 2, 4, 7, 12, 17, 20, 20, 17, 19, 21, 20, 18, 14, 10, 8, 7, 6, 4, 3)
SIGNED_IN: Final = -1
"""The number of the key of calls made without one."""

Kind = Literal["busy", "steady", "refunded", "broke", "frozen", "new", "funded"]
Cap = Literal["none", "roomy", "reached"]
KINDS: Final[tuple[Kind, ...]] = (
    "busy", "steady", "refunded", "frozen", "steady", "new", "broke", "steady", "funded", "steady",
    "new", "steady", "busy", "steady", "new", "steady", "steady", "broke", "steady", "funded",
)  # fmt: skip
"""In turn, so that eight accounts have one of each."""
IDLE: Final = frozenset({"new", "funded"})
FROZEN_REASON: Final = "Card payment disputed; frozen until it is cleared up"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the history. Costs are nano-USD per million tokens, null where the operator runs it himself; lengths are the
    natural logarithm of a usual number of tokens."""

    name: str
    upstream: str
    input: int
    output: int
    cached_input: int
    cache_write: int
    has_cost: bool
    weight: int
    prompt_length: float
    output_length: float


def _model(row: str) -> Model:
    name, upstream, *prices, weight, prompt, output = row.split()
    plain, out, cached, write = (parse_usd_text(prices[0] if text == "=" else text) for text in prices)
    has_cost = upstream not in ("smollm2", "echo")
    return Model(name, upstream, plain, out, cached, write, has_cost, int(weight), float(prompt), float(output))


MODELS: Final = tuple(
    _model(row)
    for row in (
        "gpt-4.1-mini           openai    0.40 1.60  0.10  =    52 6.6 5.4",
        "gpt-4o-mini            openai    0.15 0.60  0.075 =    40 6.4 5.2",
        "claude-sonnet-4-5      anthropic 3.00 15.00 0.30  3.75 28 7.4 6.0",
        "gpt-4.1                openai    2.00 8.00  0.50  =    17 7.0 5.8",
        "llama-3.3-70b          together  0.88 0.88  =     =    16 6.8 5.5",
        "claude-haiku-4-5       anthropic 1.00 5.00  0.10  1.25 14 7.0 5.4",
        "deepseek-chat          deepseek  0.27 1.10  0.07  =    12 7.1 6.1",
        "mistral-small          mistral   0.10 0.30  =     =    8  6.5 5.3",
        "smollm2-135m-instruct  smollm2   0.10 0.40  =     =    6  4.4 4.6",
        "qwen2.5-coder-32b      together  0.80 0.80  =     =    4  7.6 6.3",
        "llama-guard-4          together  0.20 0.20  =     =    3  6.2 2.0",
        "command-r              cohere    0.15 0.60  =     =    2  7.2 5.4",
        "echo                   echo      1.00 2.00  =     =    2  3.4 3.4",
        "gpt-4-turbo            openai    10.0 30.0  =     =    1  6.9 5.9",
    )
)
"""Names and prices of a long tail. The rows of calls carry both as they were; nothing here makes a model callable."""


@dataclass(slots=True)
class Key:
    """`parent` is the position of the key above in the account's list; parents come first."""

    name: str
    parent: int | None = None
    share: int = 10
    cap: Cap = "none"
    allowlist: tuple[str, ...] = ()
    is_frozen: bool = False
    is_revoked: bool = False
    model: int = 0
    hours: Counter[datetime] = field(default_factory=Counter)
    """Calls in the hour that starts then."""

    @property
    def may_run(self) -> bool:
        """Whether it may have calls under way: nothing stops it, and no cap of its own or above is near."""
        return self.parent is None and self.cap != "reached" and not self.is_frozen and not self.is_revoked


@dataclass(slots=True)
class Person:
    """One account to be. `opened_at` is when its history begins."""

    kind: Kind
    address: str
    opened_at: datetime
    calls: int
    keys: list[Key]
    running: int
    """Calls under way now."""
    signed_in_hours: Counter[datetime] = field(default_factory=Counter)


def draw(*, rng: Random, accounts: int, calls: int, days: int, until: datetime) -> Iterator[Person]:
    """This many people who made this many calls together, the busiest first: each with about two thirds of what the one
    before made."""
    kinds: list[Kind] = [KINDS[i % len(KINDS)] for i in range(accounts)]
    weights = [0 if kind in IDLE else 1 / (i + 1) for i, kind in enumerate(kinds)]
    shares = _shared(calls, weights)
    for kind, share in zip(kinds, shares, strict=True):
        first = rng.randrange(days) if kind in ("new", "funded") else 0
        opened = until - timedelta(days=days - first) + timedelta(minutes=rng.randrange(600))
        yield person(rng=rng, kind=kind, address=_address(rng), calls=share, opened_at=min(opened, until), until=until)


def person(*, rng: Random, kind: Kind, address: str, calls: int, opened_at: datetime, until: datetime) -> Person:
    """One of them, with keys and the hours of their calls."""
    keys = [] if kind == "funded" else _keys(rng, kind)
    ended = until - timedelta(days=2, hours=3) if kind == "frozen" else until
    running = rng.randint(1, 4) if kind in ("busy", "steady", "refunded") else 0
    made = Person(kind, address, opened_at, calls, keys, running)
    shift = rng.randrange(-7, 8)
    noise: dict[date, float] = {}
    shares = _shared(calls, [*(key.share for key in keys), 1])
    for key, share in zip([*keys, None], shares, strict=True):
        last = ended - timedelta(days=4) if key is not None and key.is_revoked else ended
        slots = _hours(opened_at, max(last, opened_at + HOUR))
        for slot in slots:
            noise.setdefault(slot.date(), rng.lognormvariate(0, 0.35))
        weights = [
            BY_HOUR[(slot.hour + shift) % 24] * (WEEKEND if slot.weekday() > 4 else 1) * noise[slot.date()]
            * (1 + i / len(slots))
            for i, slot in enumerate(slots)
        ]  # fmt: skip
        counted = Counter(rng.choices(slots, weights, k=share))
        if key is None:
            made.signed_in_hours = counted
        else:
            key.hours = counted
    return made


def _keys(rng: Random, kind: Kind) -> list[Key]:
    """The first has no cap: it also makes the calls for which the others' caps leave nothing."""
    models = range(len(MODELS))
    favourites = rng.choices(models, [model.weight for model in MODELS], k=12)
    production = Key("production", share=40, model=favourites[0])
    if kind == "new":
        return [production]
    keys = [
        production,
        Key("staging", share=9, cap="roomy", model=favourites[1]),
        Key("ci-tests", share=6, cap="reached", model=favourites[2]),
        Key("web-demo", share=8, cap="roomy", allowlist=("demo.example", "*.preview.example"), model=favourites[3]),
        Key("batch-summaries", share=4, cap="roomy", model=favourites[4]),
        Key("batch-eu", parent=4, share=12, cap="roomy", model=favourites[4]),
        Key("batch-us", parent=4, share=9, model=favourites[5]),
        Key("batch-eu-nightly", parent=5, share=5, model=favourites[6]),
        Key("old-laptop", share=3, is_revoked=True, model=favourites[7]),
        Key("contractor", share=2, is_frozen=True, model=favourites[8]),
    ]
    if kind == "busy":
        tenants = [Key(f"tenant-{n:02}", parent=0, share=1 + 12 // n, cap="roomy", model=n % 9) for n in range(1, 13)]
        return [*keys, Key("notebook", share=1, cap="reached", model=favourites[9]), *tenants]
    return keys[: rng.choice((4, 7, 8, 9, 10))]


def _shared(total: int, weights: list[float] | list[int]) -> list[int]:
    """`total` split by weight into whole numbers that add up to it; all of it falls away only where no weight is above 0."""
    whole = sum(weights)
    if whole <= 0:
        return [0] * len(weights)
    parts = [int(total * weight / whole) for weight in weights]
    parts[max(range(len(weights)), key=lambda i: weights[i])] += total - sum(parts)
    return parts


def _hours(first: datetime, last: datetime) -> list[datetime]:
    start = first.replace(minute=0, second=0, microsecond=0) + HOUR
    return [start + i * HOUR for i in range(max(1, int((last - start) / HOUR)))]


def _address(rng: Random) -> str:
    """An address drawn at random: no private key of it was ever made."""
    return "0x" + rng.randbytes(20).hex()
