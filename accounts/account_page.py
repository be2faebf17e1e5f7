"""What stands on an account's page in the admin beside its form: why it is stopped, its money, and where the rest is.

Accounts know nothing of keys and money: the lists of the layers above are linked by the names of their pages.
"""

from typing import Any, Final
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

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
        "may_freeze": may and account.pk != operator.pk,
        "is_own": account.pk == operator.pk,
        "balance_nanousd": balance,
        "held_nanousd": held,
        "available_nanousd": balance - held,
        "lists": [
            Link(text, f"{reverse(f'admin:{app}_{model}_changelist')}?{urlencode({'account__id__exact': account.pk})}")
            for text, app, model in LISTS
            if operator.has_perm(f"{app}.view_{model}")
        ],
        "log": f"{reverse('admin:admin_logentry_changelist')}?{urlencode({'q': account.pk})}",
        "grant": _grant(account) if operator.has_perm("billing.adjust_credit") else None,
    }


def _grant(account: User) -> str | None:
    try:
        return f"{reverse('admin:billing_creditaccount_grant')}?{urlencode({'account': account.pk})}"
    except NoReverseMatch:
        return None
