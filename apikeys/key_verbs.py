"""Freezing, unfreezing and revoking keys, as an operator is asked about them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from accounts.audit import Operator
from apikeys import issuing
from apikeys.models import ApiKey
from apikeys.visibility import KeyNotFound
from faces.lib.errors import FacesError
from faces.lib.money import usd_text
from faces.lib.verbs import Link, Question, Verb


class AlreadyRevoked(FacesError):
    status = 409
    code = "already_revoked"
    detail = "It was already revoked; nothing was done"


def _number(count: int) -> str:
    return "1 key" if count == 1 else f"{count:,} keys"


def _object(keys: Sequence[ApiKey]) -> str:
    return keys[0].name if len(keys) == 1 else _number(len(keys))


def _family(keys: Sequence[ApiKey]) -> list[ApiKey]:
    """The live ones of the keys and of all under them, each once."""
    found = {key.id: key for key in keys if key.revoked_at is None}
    for account_id in {key.account_id for key in keys}:
        ids = [key.id for key in keys if key.account_id == account_id]
        under = ApiKey.objects.filter(account_id=account_id, revoked_at=None, ancestor_ids__overlap=ids)
        found |= {key.id: key for key in under}
    return list(found.values())


def _with_under(keys: Sequence[ApiKey], family: Sequence[ApiKey]) -> str:
    under = len(family) - len([key for key in keys if key.revoked_at is None])
    if under == 0:
        return ""
    return f" and the {'key' if under == 1 else _number(under)} under {'it' if len(keys) == 1 else 'them'}"


def _running(family: Sequence[ApiKey]) -> str:
    """What is held on a key is also held on all above it: the topmost of the family count it once."""
    ids = {key.id for key in family}
    held = sum(key.held_nanousd for key in family if not ids & set(key.ancestor_ids))
    if held == 0:
        return "No call is running. One that starts before you press the button finishes and is charged."
    return f"${usd_text(held)} is held for calls still running. They finish and are charged."


def _names(keys: Sequence[ApiKey]) -> list[str]:
    return [str(key) for key in keys]


def _ask_freeze(keys: Sequence[ApiKey]) -> Question:
    family = _family(keys)
    return Question(
        title=f"Freeze {_object(keys)}{_with_under(keys, family)}?",
        facts=(
            f"Every call with {'this key' if len(family) == 1 else f'these {_number(len(family))}'} answers 402 until unfrozen.",
            _running(family),
            "Whoever owns the account may unfreeze a key. To stop an account against its owner’s will, freeze the account.",
        ),
        keep="Leave it running" if len(family) == 1 else "Leave them running",
        button=f"Freeze {_object(keys)}",
        rows=_names(keys),
    )


def _ask_unfreeze(keys: Sequence[ApiKey]) -> Question:
    return Question(
        title=f"Unfreeze {_object(keys)}?",
        facts=("Calls are answered again at once, unless a key above or the account is frozen.",),
        keep="Leave it frozen" if len(keys) == 1 else "Leave them frozen",
        button=f"Unfreeze {_object(keys)}",
        rows=_names(keys),
    )


def _ask_revoke(keys: Sequence[ApiKey]) -> Question:
    family = _family(keys)
    count = len(family)
    is_alone = len(keys) == 1 and not keys[0].is_frozen and count > 0
    return Question(
        title=f"Revoke {_object(keys)}{_with_under(keys, family)}?",
        facts=(
            f"Every call with {'this key' if count == 1 else f'these {_number(count)}'} answers 401 from now on, everywhere.",
            _running(family),
            f"This cannot be undone. What {'it' if count == 1 else 'they'} spent stays in the customer’s statement.",
        ),
        keep=f"Keep {'it' if count == 1 else 'them'}",
        instead=[Link("Freeze instead", reverse("admin:apikeys_apikey_freeze", args=[keys[0].pk]))] if is_alone else (),
        button=f"Revoke {keys[0].name if count == 1 and len(keys) == 1 else _number(count)}",
        rows=_names(family),
    )


@contextmanager
def _unless_revoked() -> Iterator[None]:
    try:
        yield
    except KeyNotFound:
        raise AlreadyRevoked from None


def _freeze(key: ApiKey, operator_id: UUID, reason: str) -> None:
    with _unless_revoked():
        issuing.freeze(account_id=key.account_id, key_id=key.id, operator=Operator(operator_id, reason))


def _unfreeze(key: ApiKey, operator_id: UUID, reason: str) -> None:
    with _unless_revoked():
        issuing.unfreeze(account_id=key.account_id, key_id=key.id, operator=Operator(operator_id, reason))


def _revoke(key: ApiKey, operator_id: UUID, reason: str) -> None:
    operator = Operator(operator_id, reason)
    with _unless_revoked():
        issuing.revoke(account_id=key.account_id, key_id=key.id, now=timezone.now(), operator=operator)


VERBS: tuple[Verb[ApiKey], ...] = (
    Verb(name="freeze", label="Freeze", done="frozen", ask=_ask_freeze, do=_freeze, needs_reason=False),
    Verb(name="unfreeze", label="Unfreeze", done="unfrozen", ask=_ask_unfreeze, do=_unfreeze, needs_reason=False),
    Verb(
        name="revoke",
        label="Revoke with all under them",
        done="revoked",
        ask=_ask_revoke,
        do=_revoke,
        needs_reason=False,
        is_final=True,
    ),
)
