"""What stands on an account's page in the admin beside its form: why it is stopped, its money, and where the rest is.

Accounts know nothing of keys and money: the lists of the layers above are linked by the names of their pages.
"""

from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse

from accounts import lookup
from accounts.models import User
from faces.lib.verbs import Link

LISTS: Final = (
    ("Keys", "apikeys", "apikey"),
    ("Calls", "billing", "hold"),
    ("Transfers", "billing", "transfer"),
    ("Top-ups", "billing", "topup"),
)


def context(account: User, operator: Any, *, may: bool) -> dict[str, Any]:
    """For the template. `may` is whether the operator may freeze this account."""
    credit = getattr(account, "credit", None)
    balance, held = (0, 0) if credit is None else (credit.balance_nanousd, credit.held_nanousd)
    return {
        "account": account,
        "label": lookup.label(account),
        "may_freeze": may and account.pk != operator.pk,
        "is_own": account.pk == operator.pk,
        "balance_nanousd": balance,
        "held_nanousd": held,
        "available_nanousd": balance - held,
        "lists": [
            Link(text, _list(app, model, account))
            for text, app, model in LISTS
            if operator.has_perm(f"{app}.view_{model}")
        ],
        "log": _list("admin", "logentry", account) if operator.has_perm("admin.view_logentry") else None,
        "grant": _grant(account) if operator.has_perm("billing.adjust_credit") else None,
    }


def _list(app: str, model: str, account: User) -> str:
    """The list of what belongs to the account: every list of ours is searched by an account's id."""
    return f"{reverse(f'admin:{app}_{model}_changelist')}?{urlencode({'q': account.pk})}"


def _grant(account: User) -> str:
    return f"{reverse('admin:billing_creditaccount_grant')}?{urlencode({'account': account.pk})}"
