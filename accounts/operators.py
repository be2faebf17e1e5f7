"""Who operates the service. Whatever is changed, somebody is left who may do everything, and nobody shuts themselves out."""

from collections.abc import Mapping
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.groups import ROLES, Role
from accounts.models import User
from faces.lib.errors import FacesError

SENTENCES = {
    "is_active": "deactivate it",
    "is_staff": "take the admin away from it",
}


class OwnAccount(FacesError):
    status = 409
    code = "own_account"
    detail = "This is your own account"


class LastSuperuser(FacesError):
    status = 409
    code = "last_superuser"
    detail = "This is the last superuser; make another one first. Nothing was done"


def may_change(operator: User, account: User) -> bool:
    """Whether the operator may change this account, if accounts at all: those of operators are for superusers."""
    return operator.is_superuser or not (account.is_staff or account.is_superuser)


def check(*, account_id: UUID, flags: Mapping[str, bool], operator_id: UUID | None) -> None:
    """Whether an account's `is_active`, `is_staff` and `is_superuser` may become `flags` (those not named stay).

    Raises OwnAccount, LastSuperuser. Locks the accounts of all superusers, in the order of their ids, so that of two who
    take each other's rights away at once the second is refused; call it in the transaction of the change.
    """
    taken = {name for name, value in flags.items() if not value}
    if account_id == operator_id:
        for name in sorted(taken & SENTENCES.keys()):
            raise OwnAccount(f"This is your own account; ask another operator to {SENTENCES[name]}. Nothing was done")
    if not taken:
        return
    superusers = User.objects.select_for_update(no_key=True).order_by("pk")
    able = superusers.filter(is_superuser=True, is_staff=True, is_active=True)
    if list(able.values_list("pk", flat=True)) == [account_id]:
        raise LastSuperuser


@transaction.atomic
def make(*, account_id: UUID, role: Role | None) -> None:
    """Make the account an operator with exactly this role: a superuser (None), or a member of one of the role groups. Other
    groups it is in stay.

    Raises LastSuperuser. Locks the accounts of all superusers.
    """
    if role is not None:
        check(account_id=account_id, flags={"is_superuser": False}, operator_id=None)
    User.objects.filter(pk=account_id).update(is_staff=True, is_superuser=role is None)
    account = User.objects.get(pk=account_id)
    account.groups.remove(*Group.objects.filter(name__in=[name for name in ROLES if name != role]))
    if role is not None:
        account.groups.add(Group.objects.get(name=role))
