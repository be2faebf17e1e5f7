"""An account with a month of work behind it: keys in every state, calls on every day, payments, a call that runs now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.utils import timezone

from accounts.models import User, Wallet
from apikeys.models import ApiKey
from billing import holds, ledger, topups
from billing.models import Party, TopUp, TopUpStatus, TransferCode
from billing.rates import Usage
from faces.lib.money import NANO_PER_USD
from tests import world

USD = NANO_PER_USD
DAYS = 30
MODELS = ("gpt-4o-mini", "claude-haiku-4.5", "mistralai/mistral-small-3.2-24b-instruct")


@dataclass(frozen=True, slots=True)
class Month:
    user: User
    keys: dict[str, ApiKey]
    topup: TopUp


def lived(address: str, *, calls_a_day: int = 3, more_keys: int = 0, seed: int = 24) -> Month:
    """The account and its keys by name, committed."""
    random, now = Random(seed), timezone.now()
    user = world.account()
    Wallet.objects.create(account=user, address=address.lower())
    for number, days in enumerate((29, 5)):
        topup = _pay(user, 50 * USD, f"test-{user.id}-{number}", now - timedelta(days=days, hours=6))
    for status in (TopUpStatus.FAILED, TopUpStatus.PENDING):
        TopUp.objects.create(account=user, amount_nanousd=25 * USD, method=Party.CARD, status=status, created_at=now)
    keys = _keys(user, more_keys)
    spenders = [
        keys[name]
        for name in ("web shop", "nightly summaries", "eu-west", "a key with quite a long name, as people write them")
    ]
    for day in range(DAYS - 1, -1, -1):
        for number in range(calls_a_day):
            at = now - timedelta(days=day, minutes=10 + number)
            _call(
                user,
                random.choice(spenders),
                random,
                at,
                cost=random.randrange(20_000_000, 420_000_000) * 3 // max(3, calls_a_day),
            )
    _call(user, keys["ci-tests"], random, now, cost=5 * USD)
    _call(user, keys["nearly there"], random, now, cost=2 * USD - 1)
    _call(user, keys["web shop"], random, now, cost=480, outcome="cut")
    _call(user, keys["web shop"], random, now, cost=3_720_000, outcome="hung_up")
    placed = _hold(user, keys["web shop"], 7_000_000, now, MODELS[0])
    holds.release(account_id=user.id, hold_id=placed.hold_id, outcome="upstream_unreachable", now=now)
    ledger.post(
        account_id=user.id, amount_nanousd=USD, counterparty=Party.ADJUSTMENT, code=TransferCode.ADJUSTMENT,
        reference=f"ticket:{user.id}", reason="Goodwill for the slow Tuesday", now=now,
    )  # fmt: skip
    for amount in (191_917_500, 191_917_500):
        _hold(user, keys["web shop"], amount, now, MODELS[1])
    ApiKey.objects.filter(id=keys["paused"].id).update(is_frozen=True)
    return Month(user, keys, topup)


def _keys(user: User, more: int) -> dict[str, ApiKey]:
    rows: dict[str, Any] = {}
    used = {"last_used_at": timezone.now() - timedelta(minutes=26)}
    rows["paused"] = world.key(user, name="paused", budget=10 * USD)
    rows["under paused"] = world.key(user, name="under paused", parent=rows["paused"])
    rows["ci-tests"] = world.key(user, name="ci-tests", budget=5 * USD, **used)
    rows["nearly there"] = world.key(user, name="nearly there", budget=2 * USD)
    rows["batch"] = world.key(user, name="batch", budget=40 * USD, **used)
    rows["eu-west"] = world.key(user, name="eu-west", parent=rows["batch"], budget=30 * USD, **used)
    rows["nightly summaries"] = world.key(user, name="nightly summaries", parent=rows["eu-west"], **used)
    rows["web shop"] = world.key(
        user,
        name="web shop",
        budget=60 * USD,
        allowlist=["harbourtea.example", "*.harbourtea.example", "localhost"],
        **used,
    )
    long = "a key with quite a long name, as people write them"
    rows[long] = world.key(user, name=long, **used)
    for number in range(more):
        rows[f"more {number}"] = world.key(user, name=f"more {number}", budget=USD)
    return rows


def _pay(user: User, amount: int, payment_ref: str, now: datetime) -> TopUp:
    order = topups.Order(amount_nanousd=amount, payment_ref=payment_ref, address=None)
    return topups.record(account_id=user.id, key_id=None, recorded_by=user.id, order=order, now=now)


def _hold(user: User, key: ApiKey, amount: int, now: datetime, model: str) -> holds.Placed:
    return holds.place(world.request(user, key, rates=world.flat(amount), model=model), now=now)


def _call(user: User, key: ApiKey, random: Random, now: datetime, *, cost: int, outcome: str = "ok") -> None:
    placed = _hold(user, key, cost, now, random.choice(MODELS))
    usage = Usage(input=random.randrange(200, 9000), output=random.randrange(20, 2000))
    holds.settle(
        account_id=user.id, hold_id=placed.hold_id, cost_nanousd=cost, usage=usage, outcome=outcome,
        is_counted=outcome == "hung_up", now=now,
    )  # fmt: skip
