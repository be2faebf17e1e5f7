"""Money set aside before a call and settled after it: two-phase, resolved exactly once by whoever comes first.

Each operation is one call of an SQL function in `migrations/sql` (growth.sql, settle.sql, holds.sql), which takes the locks
(credit account → keys, root ancestor first → hold → account row → price) and holds every rule. Here a call is turned into a
statement and its row into an answer; `place` and the others run it on Django's connection, the gateway runs the same statement on its own pool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from apikeys.authentication import PaymentRequired, Unauthorized
from billing.models import Hold, HoldStatus
from billing.rates import Rates, Usage
from faces.lib.money import parse_usd

EXPIRE_BATCH: Final = 500

PLACE_SQL: Final = """
SELECT reason, amount, output_limit FROM faces_hold_place(
    %(account_id)s, %(hold_id)s, %(key_ids)s::uuid[], %(fixed)s, %(per_output)s, %(limit)s, %(lowest)s, %(life)s, %(now)s,
    %(request_id)s, %(model)s, %(upstream)s, %(input)s, %(output)s, %(cached_input)s, %(cache_write)s, %(request)s,
    %(prompt_bound)s, %(choices)s, %(grows)s)
"""
EXTEND_SQL: Final = "SELECT reason, amount FROM faces_hold_extend(%s, %s, %s)"
SETTLE_SQL: Final = """
SELECT state, charged, lost FROM faces_hold_settle(
    %(account_id)s, %(hold_id)s, %(transfer_id)s, %(status)s, %(outcome)s, %(cost)s, %(input)s, %(cached_input)s,
    %(cache_write)s, %(output)s, %(is_counted)s, %(now)s, %(account_loss_limit)s, %(model_loss_limit)s,
    %(upstream_cost)s)
"""
EXPIRE_SQL: Final = "SELECT faces_hold_expire(%s, %s, %s)"

Statement = tuple[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks to be held: `prompt_bound` tokens at most, and `choices` × up to `output_limit` tokens, which may be
    lowered to `lowest_limit`. `key_ids` is the chain the call counts on, root first; `life` how long the hold lasts.

    A hold that `grows` is extended while the call runs: `output_limit` is its first slice, and is lowered only if less than
    that is left; where the rest is merely held by other calls, it is refused for the moment."""

    account_id: UUID
    key_ids: Sequence[UUID]
    rates: Rates
    request_id: str
    model: str
    life: timedelta
    prompt_bound: int = 0
    output_limit: int = 0
    lowest_limit: int = 0
    choices: int = 1
    grows: bool = False
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    hold_id: UUID
    account_id: UUID
    amount_nanousd: int
    output_limit: int


@dataclass(frozen=True, slots=True)
class Extended:
    """`reason` is empty when granted, else why not, as in X-Faces-Reason. `amount_nanousd` is what is held now."""

    reason: str
    amount_nanousd: int


SettleState = Literal["settled", "already", "late", "unknown"]


@dataclass(frozen=True, slots=True)
class Settled:
    state: SettleState
    charged_nanousd: int
    lost_nanousd: int


def place_statement(request: Request, *, hold_id: UUID, now: datetime | None = None) -> Statement:
    """The statement of `place`. `now` is for tests: in service the database's clock is the only one."""
    rates = request.rates
    return PLACE_SQL, {
        "account_id": request.account_id,
        "hold_id": hold_id,
        "key_ids": list(request.key_ids),
        "fixed": rates.weighted_prompt(request.prompt_bound),
        "per_output": request.choices * rates.output,
        "limit": request.output_limit,
        "lowest": min(request.lowest_limit, request.output_limit),
        "life": request.life,
        "now": now,
        "request_id": request.request_id,
        "model": request.model,
        "upstream": request.upstream,
        "input": rates.input,
        "output": rates.output,
        "cached_input": rates.cached_input,
        "cache_write": rates.cache_write,
        "request": rates.request,
        "prompt_bound": request.prompt_bound,
        "choices": request.choices,
        "grows": request.grows,
    }


def placed(request: Request, hold_id: UUID, row: Sequence[Any]) -> Placed:
    """The answer of `place_statement`. Raises Unauthorized if the key or account is gone, PaymentRequired if frozen or short."""
    reason, amount, output_limit = row
    if reason == "revoked":
        raise Unauthorized
    if reason:
        raise PaymentRequired(reason)
    return Placed(hold_id, request.account_id, amount, output_limit)


def place(request: Request, *, now: datetime | None = None) -> Placed:
    """Hold the most the call can cost, or refuse. Raises Unauthorized, PaymentRequired.

    Locks the credit account and the chain of keys.
    """
    hold_id = uuid7()
    return placed(request, hold_id, _row(place_statement(request, hold_id=hold_id, now=now)))


def extend_statement(*, account_id: UUID, hold_id: UUID, output_limit: int) -> Statement:
    return EXTEND_SQL, (account_id, hold_id, output_limit)


def extend(*, account_id: UUID, hold_id: UUID, output_limit: int) -> Extended:
    """Raise a pending hold until it pays for `output_limit` tokens a choice, whole or not at all. Looks only at caps and
    balance. Asking again changes nothing, so a lost answer may simply be asked for once more.

    Locks the credit account, the chain of keys and the hold.
    """
    return Extended(*_row(extend_statement(account_id=account_id, hold_id=hold_id, output_limit=output_limit)))


def settle_statement(
    *,
    account_id: UUID,
    hold_id: UUID,
    cost_nanousd: int,
    usage: Usage = Usage(),
    outcome: str = "ok",
    is_counted: bool = False,
    is_released: bool = False,
    upstream_cost_nanousd: int | None = None,
    now: datetime | None = None,
) -> Statement:
    """The statement of `settle` and, with `is_released`, of `release`."""
    return SETTLE_SQL, {
        "account_id": account_id,
        "hold_id": hold_id,
        "transfer_id": None,
        "status": HoldStatus.RELEASED.value if is_released else HoldStatus.SETTLED.value,
        "outcome": outcome,
        "cost": cost_nanousd,
        "input": usage.input,
        "cached_input": usage.cached_input,
        "cache_write": usage.cache_write,
        "output": usage.output,
        "is_counted": is_counted,
        "now": now,
        "account_loss_limit": parse_usd(settings.FACES_LOSS_LIMIT_ACCOUNT),
        "model_loss_limit": parse_usd(settings.FACES_LOSS_LIMIT_MODEL),
        "upstream_cost": 0 if is_released else upstream_cost_nanousd,
    }


def settle(
    *,
    account_id: UUID,
    hold_id: UUID,
    cost_nanousd: int,
    usage: Usage = Usage(),
    outcome: str = "ok",
    is_counted: bool = False,
    now: datetime | None = None,
) -> Settled:
    """Charge the real cost and give the rest of the hold back. What the hold does not cover is charged as far as every cap
    and the balance allow; the rest is lost, stored on the hold, and counted towards the loss limits.

    Settling twice answers the first settlement. Locks the credit account, the chain of keys, the hold and, past a loss
    limit, the account row.
    """
    statement = settle_statement(
        account_id=account_id,
        hold_id=hold_id,
        cost_nanousd=cost_nanousd,
        usage=usage,
        outcome=outcome,
        is_counted=is_counted,
        now=now,
    )
    return Settled(*_row(statement))


def release(*, account_id: UUID, hold_id: UUID, outcome: str, now: datetime | None = None) -> Settled:
    """Give a whole hold back: nothing was used. Locks as `settle`."""
    statement = settle_statement(
        account_id=account_id, hold_id=hold_id, cost_nanousd=0, outcome=outcome, is_released=True, now=now
    )
    return Settled(*_row(statement))


def expire_overdue(*, now: datetime | None = None, most: int = EXPIRE_BATCH) -> list[UUID]:
    """End holds past their life without a charge, each in a statement of its own; answers the ids of those it ended. What
    they held is shown to the operator as possibly lost. Safe beside settlements and other expirers."""
    overdue = Hold.objects.filter(status=HoldStatus.PENDING, expires_at__lte=now or Now())
    rows = list(overdue.order_by("expires_at").values_list("account_id", "id")[:most])
    return [hold_id for account_id, hold_id in rows if _row((EXPIRE_SQL, (account_id, hold_id, now)))[0]]


def _row(statement: Statement) -> Sequence[Any]:
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        row: Sequence[Any] = cursor.fetchone()
    return row
