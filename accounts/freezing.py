"""Stopping an account and letting it go on. The gateway reads the freeze under its locks, so it binds the next call."""

from uuid import UUID

from django.db import transaction

from accounts import audit
from accounts.audit import Operator
from accounts.models import User
from faces.lib.errors import FacesError, InvalidInput

REASON_LENGTH = 200


class AccountNotFound(FacesError):
    status = 404
    code = "account_not_found"
    detail = "No such account; nothing was done"


class OwnAccount(FacesError):
    status = 409
    code = "own_account"
    detail = "This is your own account; ask another operator to freeze it. Nothing was done"


class NotFrozen(FacesError):
    status = 409
    code = "not_frozen"
    detail = "It is not frozen; nothing was done"


@transaction.atomic
def freeze(*, account_id: UUID, operator: Operator) -> None:
    """Stop chat and key making of the account at once; running calls finish and are charged. The operator's reason is kept
    on the account, in place of the one it has if it is frozen already, and with an entry in the audit log.

    Raises InvalidInput without a reason or with more than 200 characters, AccountNotFound, OwnAccount. Locks the account.
    """
    if not 0 < len(operator.reason) <= REASON_LENGTH:
        raise InvalidInput({"reason": [f"Write 1 to {REASON_LENGTH} characters"]})
    account = _locked(account_id)
    if account_id == operator.id:
        raise OwnAccount
    User.objects.filter(pk=account_id).update(is_frozen=True, frozen_reason=operator.reason)
    before = (
        f"It was frozen already, for “{account.frozen_reason}”; it stays frozen." if account.is_frozen else "Frozen."
    )
    audit.note(operator, [account], before)


@transaction.atomic
def unfreeze(*, account_id: UUID, operator: Operator) -> None:
    """Undo `freeze`, or the freeze of an account that passed its loss limit, with an entry in the audit log.

    Raises AccountNotFound, NotFrozen. Locks the account.
    """
    account = _locked(account_id)
    if not account.is_frozen:
        raise NotFrozen
    User.objects.filter(pk=account_id).update(is_frozen=False, frozen_reason="")
    audit.note(operator, [account], f"Unfrozen; it was frozen for “{account.frozen_reason}”.")


def _locked(account_id: UUID) -> User:
    account = User.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise AccountNotFound
    return account
