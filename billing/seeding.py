"""Believable accounts, keys and history, for looking at pages and for growth tests. Only adds: rows of money are never deleted.

Each account is one transaction, so that a run that is stopped leaves whole accounts whose books add up. Its history runs from
an empty balance; on an account that has one already it ends before the first of its own movements, back at zero.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Min

from accounts.models import User, Wallet
from apikeys import keygen
from apikeys.models import ApiKey, KeyDirectory
from billing import seeding_sql as sql
from billing import totals
from billing.models import CreditAccount, Hold, Party, TopUpStatus, Transfer
from billing.seeding_people import FROZEN_REASON, MODELS, SIGNED_IN, Key, Kind, Person, draw, person
from faces.lib.money import NANO_PER_USD

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CENT: Final = NANO_PER_USD // 100
TOPUP_SIZES: Final = tuple(usd * NANO_PER_USD for usd in (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000))
MARKUP_PERCENT: Final = 105
ANALYZE: Final = """
ANALYZE accounts_user, accounts_wallet, apikeys_apikey, billing_creditaccount, billing_hold, billing_transfer, billing_topup,
    billing_transferreference
"""
"""So that the next page is planned for the rows that are there now."""


Chain = tuple[UUID, list[UUID]]
"""A key's id, and the ids from its root down to itself."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """One account that was written."""

    account_id: UUID
    address: str
    kind: Kind
    keys: int
    calls: int


def accounts(*, calls: int, count: int, days: int, seed: int, now: datetime) -> Iterator[Seeded]:
    """Write `count` new accounts with this many calls in all over the last `days`, one transaction each; answers each when it
    is there. Their wallets and keys belong to nobody, so nobody can sign in to them or call with them."""
    rng = Random(seed)
    until = now - timedelta(minutes=1)
    for planned in draw(rng=rng, accounts=count, calls=calls, days=days, until=until):
        while Wallet.objects.filter(address=planned.address).exists():
            planned.address = f"0x{secrets.token_hex(20)}"  # the same seed was used here before
        with transaction.atomic(durable=True):
            account_id = _open(planned, seen=max(planned.opened_at, until - timedelta(minutes=rng.randrange(6000))))
            _write(planned, account_id=account_id, salt=rng.getrandbits(48), until=until, now=now)
        yield Seeded(account_id, planned.address, planned.kind, len(planned.keys), planned.calls)
    with connection.cursor() as cursor:
        cursor.execute(ANALYZE)


def history(*, wallet: Wallet, calls: int, days: int, seed: int, now: datetime) -> Seeded:
    """Give an account that is there keys and `days` of calls. If it has moved money before, they lie before that and end at a
    balance of zero, so that its balance and its statement stay right. Locks its credit account."""
    rng = Random(seed)
    account_id = wallet.account_id
    with transaction.atomic(durable=True):
        CreditAccount.objects.get_or_create(account_id=account_id)
        CreditAccount.objects.select_for_update(no_key=True).get(account_id=account_id)
        first = _first_movement(account_id)
        until = (now if first is None else first) - timedelta(minutes=1)
        opened = until - timedelta(days=days)
        planned = person(rng=rng, kind="busy", address=wallet.address, calls=calls, opened_at=opened, until=until)
        if first is not None:
            planned.running = 0
        salt = rng.getrandbits(48)
        _write(planned, account_id=account_id, salt=salt, until=until, now=now, is_closed=first is not None)
    with connection.cursor() as cursor:
        cursor.execute(ANALYZE)
    return Seeded(account_id, wallet.address, planned.kind, len(planned.keys), calls)


def _first_movement(account_id: UUID) -> datetime | None:
    moved = Transfer.objects.filter(account_id=account_id).aggregate(at=Min("created_at"))["at"]
    called = Hold.objects.filter(account_id=account_id).aggregate(at=Min("placed_at"))["at"]
    return min((at for at in (moved, called) if at is not None), default=None)


def _open(planned: Person, *, seen: datetime) -> UUID:
    account = User.objects.create_user(
        id=_id_at(planned.opened_at),
        is_frozen=planned.kind == "frozen",
        frozen_reason=FROZEN_REASON if planned.kind == "frozen" else "",
    )
    Wallet.objects.create(account=account, address=planned.address)
    User.objects.filter(id=account.id).update(created_at=planned.opened_at)
    Wallet.objects.filter(account=account).update(created_at=planned.opened_at, last_sign_in_at=seen)
    return account.id


def _write(
    planned: Person, *, account_id: UUID, salt: int, until: datetime, now: datetime, is_closed: bool = False
) -> None:
    """All of one account, the rows of money last. `is_closed`: its balance ends at zero."""
    given: dict[str, Any] = {
        "account": account_id,
        "salt": salt,
        "mark": secrets.randbits(48),
        "until": until,
        "now": now,
        "opened": planned.opened_at,
    }
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute(sql.FUNCTIONS)
        keys = _make_keys(cursor, planned, account_id)
        _load_plan(cursor, planned, keys)
        wheel = [no for no, model in enumerate(MODELS) for _ in range(model.weight)]
        cursor.execute(sql.CALLS, {**given, "wheel": wheel, "spokes": len(wheel)})
        caps = _reach_caps(cursor, planned.keys, keys)
        _pay(cursor, planned, given, is_closed=is_closed)
        if planned.running:
            able = [no for no, key in enumerate(planned.keys) if key.may_run]
            cursor.execute(sql.RUNNING, {**given, "running": planned.running, "able": able})
        _keep_credit(cursor, account_id)
        cursor.execute(sql.HOLDS, given)
        cursor.execute(sql.TRANSFERS, given)
        _keep_keys(cursor, planned.keys, keys, caps, account_id, until)
    totals.forget()


def _make_keys(cursor: CursorWrapper, planned: Person, account_id: UUID) -> list[Chain]:
    """Each key's id and its chain, root first. Their texts are thrown away: nobody can call with them."""
    made: list[Chain] = []
    for no, key in enumerate(planned.keys):
        new, created = keygen.generate(), planned.opened_at + timedelta(minutes=3 + 7 * no)
        key_id = _id_at(created)
        above = [] if key.parent is None else made[key.parent][1]
        row = [key_id, account_id, above[-1] if above else None, above, key.name, new.public_id, new.digest]
        cursor.execute(sql.KEY, [*row, list(key.allowlist), created])
        KeyDirectory.objects.create(public_id=new.public_id, account_id=account_id, key_id=key_id)
        made.append((key_id, [*above, key_id]))
    return made


def _load_plan(cursor: CursorWrapper, planned: Person, keys: list[Chain]) -> None:
    for no, (key, (key_id, path)) in enumerate(zip(planned.keys, keys, strict=True)):
        cursor.execute("INSERT INTO seed_key VALUES (%s, %s, %s::uuid[], %s)", [no, key_id, path, key.model])
    for no, model in enumerate(MODELS):
        published = (model.input, model.output, model.cached_input, model.cache_write)
        prices = [-(-amount * MARKUP_PERCENT // 100) for amount in published] if model.has_cost else published
        costs = published if model.has_cost else (None,) * 4
        row = [no, model.name, model.upstream, *prices, *costs, model.prompt_length, model.output_length]
        cursor.execute(f"INSERT INTO seed_model VALUES ({', '.join(['%s'] * len(row))})", row)  # noqa: S608 - places only
    with cursor.copy("COPY seed_slot FROM STDIN") as copy:
        hours = [*enumerate(key.hours for key in planned.keys), (SIGNED_IN, planned.signed_in_hours)]
        for no, counted in hours:
            for starts, count in sorted(counted.items()):
                copy.write_row((no, starts, count))


def _reach_caps(cursor: CursorWrapper, keys: list[Key], made: list[Chain]) -> dict[UUID, int]:
    """Let the calls of some keys end at their caps."""
    caps: dict[UUID, int] = {}
    spending = _spending(cursor)
    for key, (key_id, _) in zip(keys, made, strict=True):
        spent = spending.get(key_id, 0)
        if key.cap == "reached" and spent > 2 * CENT:
            caps[key_id] = _round_below(spent * 4 // 5)
            cursor.execute(sql.CAP, {"key_id": key_id, "cap": caps[key_id], "other_id": made[0][0]})
    return caps


def _pay(cursor: CursorWrapper, planned: Person, given: dict[str, Any], *, is_closed: bool) -> None:
    """Top-ups for all of it, and what else moves an account's money: corrections, a refund, payments that did not come."""
    until: datetime = given["until"]
    spent = _sum(cursor, "charged", "seed_call")
    size = next((size for size in TOPUP_SIZES if size * 6 >= spent), TOPUP_SIZES[-1])
    if planned.kind != "new":
        cursor.execute(sql.TOPUPS, {**given, "size": size, "margin": size * 3 // 10})
    unpaid = {**given, "size": size, "method": Party.CARD.value}
    if planned.kind in ("busy", "broke"):
        at = planned.opened_at + (until - planned.opened_at) / 3
        cursor.execute(sql.UNPAID, {**unpaid, "status": TopUpStatus.FAILED.value, "at": at})
    if planned.kind == "new" or (planned.kind == "busy" and not is_closed):
        at, method = until - timedelta(minutes=4), Party.USDC.value
        cursor.execute(sql.UNPAID, {**unpaid, "status": TopUpStatus.PENDING.value, "at": at, "method": method})
    if planned.kind in ("steady", "busy"):
        _correct(cursor, given, 2 * NANO_PER_USD, until - timedelta(days=1), "Goodwill for slow answers on Tuesday")
    rest = _sum(cursor, "amount", "seed_move") - spent
    if planned.kind == "refunded" and not is_closed:
        refund = {
            **given,
            "amount": rest // 2 // CENT * CENT,
            "at": until + timedelta(seconds=10),
            "reason": "Asked for",
        }
        cursor.execute(sql.REFUND, refund)
    if planned.kind == "broke":
        _correct(cursor, given, -rest, until + timedelta(seconds=20), "A top-up credited twice by mistake, taken back")
    if is_closed and rest:
        _correct(cursor, given, -rest, until + timedelta(seconds=30), "End of the demonstration's history")


def _correct(cursor: CursorWrapper, given: dict[str, Any], amount: int, at: datetime, reason: str) -> None:
    reference = f"credit:demo-{_id_at(at)}"
    cursor.execute(sql.CORRECTION, {**given, "amount": amount, "at": at, "reason": reason, "reference": reference})


def _keep_credit(cursor: CursorWrapper, account_id: UUID) -> None:
    balance = _sum(cursor, "amount", "seed_move") - _sum(cursor, "charged", "seed_call")
    held = _sum(cursor, "amount", "seed_call WHERE status = 'pending'")
    cursor.execute(sql.CREDIT, {"account": account_id, "balance": balance, "held": held})


def _keep_keys(
    cursor: CursorWrapper,
    keys: list[Key],
    made: list[Chain],
    caps: dict[UUID, int],
    account_id: UUID,
    until: datetime,
) -> None:
    """What each key and all below it spent and hold, and a cap that fits."""
    cursor.execute(sql.KEY_SUMS, {"account": account_id})
    spending = _spending(cursor)
    for key, (key_id, path) in zip(keys, made, strict=True):
        spent = spending.get(key_id, 0)
        if key.cap == "roomy" or (key.cap == "reached" and key_id not in caps):
            above = [caps[one] for one in path[:-1] if one in caps]
            caps[key_id] = min([_round_above(spent * 6 // 5 + NANO_PER_USD // 2), *above])
        ApiKey.objects.filter(account_id=account_id, id=key_id).update(
            budget_nanousd=caps.get(key_id),
            is_frozen=key.is_frozen,
            revoked_at=until - timedelta(days=3) if key.is_revoked else None,
        )


def _spending(cursor: CursorWrapper) -> dict[UUID, int]:
    """What the calls of each key and of those below it were charged."""
    cursor.execute(sql.SPENDING)
    return dict(cursor.fetchall())


def _round_below(nanousd: int) -> int:
    """The last of 1, 2, 5 × 10ⁿ cents up to this; a cent at least."""
    return max((step for step in _steps(nanousd) if step <= nanousd), default=CENT)


def _round_above(nanousd: int) -> int:
    return next(step for step in _steps(nanousd * 10) if step >= nanousd)


def _steps(most: int) -> list[int]:
    found, power = [CENT], CENT
    while power <= most:
        found += [power * 2, power * 5, power * 10]
        power *= 10
    return found


def _sum(cursor: CursorWrapper, column: str, rows: str) -> int:
    cursor.execute(f"SELECT coalesce(sum({column}), 0)::bigint FROM {rows}")  # noqa: S608 - both are ours
    return int(cursor.fetchone()[0])


def _id_at(moment: datetime) -> UUID:
    """A new UUIDv7 of that moment, with its microseconds where `seeding_sql` has them."""
    thousands, micros = divmod((moment - EPOCH) // timedelta(microseconds=1), 1000)
    return UUID(int=thousands << 80 | 7 << 76 | micros * 4 << 64 | 2 << 62 | secrets.randbits(62))
