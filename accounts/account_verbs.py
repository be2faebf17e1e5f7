"""Freezing and unfreezing, as an operator is asked about them."""

from collections.abc import Sequence
from uuid import UUID

from accounts import freezing, lookup
from accounts.audit import Operator
from accounts.models import User
from faces.lib.verbs import Question, Verb


def _object(accounts: Sequence[User]) -> str:
    return lookup.label(accounts[0]) if len(accounts) == 1 else f"{len(accounts)} accounts"


def _ask_freeze(accounts: Sequence[User]) -> Question:
    is_one = len(accounts) == 1
    frozen = [
        f"{lookup.label(account)} is frozen already: {account.frozen_reason}"
        for account in accounts
        if account.is_frozen
    ]
    return Question(
        title=f"Freeze {_object(accounts)}?",
        facts=(
            f"Every call with {'its' if is_one else 'their'} keys answers 402 from now on, and no key can be made.",
            "Calls that are running finish and are charged.",
            f"Balance and keys stay as they are. {'It' if is_one else 'They'} can be unfrozen at any time.",
            *frozen,
        ),
        keep="Leave it running" if is_one else "Leave them running",
        button="Freeze account" if is_one else f"Freeze {_object(accounts)}",
        rows=[lookup.label(account) for account in accounts],
    )


def _ask_unfreeze(accounts: Sequence[User]) -> Question:
    is_one = len(accounts) == 1
    return Question(
        title=f"Unfreeze {_object(accounts)}?",
        facts=(
            "Keys work again at once, but for those that are frozen or revoked themselves.",
            *(
                f"{lookup.label(account)} was frozen for: {account.frozen_reason}"
                for account in accounts
                if account.is_frozen
            ),
        ),
        keep="Leave it frozen" if is_one else "Leave them frozen",
        button="Unfreeze account" if is_one else f"Unfreeze {_object(accounts)}",
        rows=[lookup.label(account) for account in accounts],
    )


def _freeze(account: User, operator_id: UUID, reason: str) -> None:
    freezing.freeze(account_id=account.pk, operator=Operator(operator_id, reason))


def _unfreeze(account: User, operator_id: UUID, reason: str) -> None:
    freezing.unfreeze(account_id=account.pk, operator=Operator(operator_id, reason))


VERBS: tuple[Verb[User], ...] = (
    Verb(name="freeze", label="Freeze accounts", done="frozen", ask=_ask_freeze, do=_freeze),
    Verb(name="unfreeze", label="Unfreeze accounts", done="unfrozen", ask=_ask_unfreeze, do=_unfreeze),
)
