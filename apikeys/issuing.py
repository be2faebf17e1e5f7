"""Making, changing and revoking keys.

Rows are locked keys first (root ancestor first), then the account row, as in `billing/migrations/sql/holds.sql`. Making a
key only takes FOR KEY SHARE on the keys above it, so calls running on them never wait for it; revoking takes FOR UPDATE,
the one lock that excludes it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts import audit
from accounts.audit import Operator
from accounts.models import User
from apikeys import keygen, origins
from apikeys.authentication import PaymentRequired, Unauthorized
from apikeys.models import MAX_LEVELS, MAX_LIVE_KEYS, ApiKey, KeyDirectory
from apikeys.visibility import KeyNotFound
from faces.lib.errors import InvalidInput
from faces.lib.money import usd_text

CHAIN_SQL: Final = """
SELECT k.* FROM apikeys_apikey p
JOIN apikeys_apikey k ON k.account_id = p.account_id AND k.id = ANY (p.ancestor_ids || p.id)
WHERE p.account_id = %s AND p.id = %s
ORDER BY cardinality(k.ancestor_ids), k.id FOR KEY SHARE OF k
"""


class TooManyKeys(InvalidInput):
    code = "too_many_keys"


class TooManyLevels(InvalidInput):
    code = "too_many_levels"


class Widening(InvalidInput):
    """A key asks for more than the keys above it allow."""

    code = "widening"


class Changes(TypedDict, total=False):
    """What may change of a key. A null budget or an empty allowlist means that of the keys above it, if any."""

    name: str
    budget_nanousd: int | None
    allowlist: list[str]
    is_frozen: bool


def issue(
    *,
    account_id: UUID,
    parent_id: UUID | None = None,
    name: str,
    budget_nanousd: int | None = None,
    allowlist: Sequence[str] = (),
) -> tuple[ApiKey, str]:
    """A new key and its text, which is stored nowhere. With a parent it is that key's child and may only narrow it.

    `allowlist` holds canonical entries (`origins.parse_entry`). Raises KeyNotFound if there is no such parent, Unauthorized
    if the account is closed or a key above is revoked, PaymentRequired if one of them is frozen, Widening, TooManyLevels,
    TooManyKeys. Locks the keys above (FOR KEY SHARE), so that none is revoked meanwhile, then the account row, so that the
    limit holds between racing calls.
    """
    new = keygen.generate()
    with transaction.atomic(durable=True):
        chain = _locked_chain(account_id, parent_id)
        _refuse_unusable(_locked_account(account_id), chain)
        _refuse_widening(chain, budget_nanousd, allowlist)
        _refuse_past_limits(account_id, chain)
        key = ApiKey.objects.create(
            account_id=account_id,
            parent_id=parent_id,
            ancestor_ids=[above.id for above in chain],
            name=name,
            public_id=new.public_id,
            digest=new.digest,
            budget_nanousd=budget_nanousd,
            allowlist=list(allowlist),
        )
        KeyDirectory.objects.create(public_id=new.public_id, account_id=account_id, key_id=key.id)
    return key, new.text


def change(*, account_id: UUID, key_id: UUID, changes: Changes) -> None:
    """Apply `changes` to a live key. What stays as it is is not judged: a parent may have been narrowed since.

    Raises KeyNotFound, Widening. Locks the key; not those above it, because their limits bind again at every use.
    """
    _change(account_id, key_id, changes)


def freeze(*, account_id: UUID, key_id: UUID, operator: Operator | None = None) -> None:
    """Stop the key and all below it until it is unfrozen; calls already running finish. An operator's act is noted in the
    audit log. Raises and locks as `change`."""
    _change(account_id, key_id, {"is_frozen": True}, operator, "Frozen.")


def unfreeze(*, account_id: UUID, key_id: UUID, operator: Operator | None = None) -> None:
    """Undo `freeze`. Notes, raises and locks as that."""
    _change(account_id, key_id, {"is_frozen": False}, operator, "Unfrozen.")


def revoke(*, account_id: UUID, key_id: UUID, now: datetime, operator: Operator | None = None) -> int:
    """End a key and all below it, for good; the rows stay for audit. How many ended. What an operator revoked is noted in
    the audit log, each key.

    Raises KeyNotFound if it had ended before. Locks the key (FOR UPDATE), then with all its descendants in the order
    of levels. The key is locked in a statement of its own, so that the next sees every child whose making it waited for.
    """
    with transaction.atomic(durable=True):
        live = ApiKey.objects.filter(account_id=account_id, revoked_at=None)
        if live.select_for_update().filter(id=key_id).first() is None:
            raise KeyNotFound
        family = live.filter(Q(id=key_id) | Q(ancestor_ids__contains=[key_id]))
        locked = family.select_for_update(no_key=True).order_by("ancestor_ids__len", "id")
        ended = list(locked)
        ApiKey.objects.filter(account_id=account_id, id__in=[key.id for key in ended]).update(revoked_at=now)
        if operator is not None:
            top, *under = ended
            audit.note(operator, [top], f"Revoked with {len(under)} under it." if under else "Revoked.")
            audit.note(operator, under, f"Revoked with {top}, which is above it.")
    return len(ended)


def _change(account_id: UUID, key_id: UUID, changes: Changes, operator: Operator | None = None, what: str = "") -> None:
    with transaction.atomic(durable=True):
        live = ApiKey.objects.select_for_update(no_key=True).filter(account_id=account_id, revoked_at=None)
        key = live.filter(id=key_id).first()
        if key is None:
            raise KeyNotFound
        asked: dict[str, Any] = {field: value for field, value in changes.items() if getattr(key, field) != value}
        above = list(ApiKey.objects.filter(account_id=account_id, id__in=key.ancestor_ids))
        _refuse_widening(above, asked.get("budget_nanousd"), asked.get("allowlist", ()))
        if asked:
            ApiKey.objects.filter(account_id=account_id, id=key_id).update(**asked)
            if operator is not None:
                audit.note(operator, [key], what)


def _locked_chain(account_id: UUID, key_id: UUID | None) -> list[ApiKey]:
    """The key and all above it, root first, each kept from being revoked until the transaction ends."""
    if key_id is None:
        return []
    chain = list(ApiKey.objects.raw(CHAIN_SQL, [account_id, key_id]))
    if not chain:
        raise KeyNotFound
    return chain


def _locked_account(account_id: UUID) -> User | None:
    return User.objects.select_for_update(no_key=True).only("is_active", "is_frozen").filter(id=account_id).first()


def _refuse_unusable(account: User | None, chain: Sequence[ApiKey]) -> None:
    if account is None or not account.is_active or any(key.revoked_at is not None for key in chain):
        raise Unauthorized
    if account.is_frozen:
        raise PaymentRequired("account_frozen")
    if any(key.is_frozen for key in chain):
        raise PaymentRequired("key_frozen")


def _refuse_widening(chain: Sequence[ApiKey], budget_nanousd: int | None = None, allowlist: Sequence[str] = ()) -> None:
    """Judged against every key above, not only the nearest: what any of them would refuse at use is not promised here."""
    most = min((key.budget_nanousd for key in chain if key.budget_nanousd is not None), default=None)
    if budget_nanousd is not None and most is not None and budget_nanousd > most:
        message = f"A key above allows {usd_text(most)} USD; write at most {usd_text(most)}, or no cap of its own"
        raise Widening({"budget_usd": [message]})
    for key in chain:
        if wider := origins.uncovered(allowlist, key.allowlist):
            message = f"Not allowed by a key above: {', '.join(wider)}; write entries within {', '.join(key.allowlist)}"
            raise Widening({"allowlist": [message]})


def _refuse_past_limits(account_id: UUID, chain: Sequence[ApiKey]) -> None:
    if len(chain) >= MAX_LEVELS:
        raise TooManyLevels(f"Keys may be nested {MAX_LEVELS} levels deep; make this one with a key further up")
    if ApiKey.objects.filter(account_id=account_id, revoked_at=None).count() >= MAX_LIVE_KEYS:
        raise TooManyKeys(f"An account may have {MAX_LIVE_KEYS} live keys; revoke one that is no longer used")
