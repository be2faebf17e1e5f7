"""What operators may do: three roles, each a group of Django's permissions. Who is a superuser needs none of them.

The table below is the rule. `manage.py migrate` writes it into the database after every app has made its permissions, so
that those of a model added later are there too; a role whose permissions were edited by hand becomes again what stands here.
Other mixes are groups of your own.
"""

from typing import TYPE_CHECKING, Any, Final, Literal

from django.apps import apps
from django.db import transaction
from django.db.models import Q, QuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import Permission

Role = Literal["support", "finance", "admin"]

SEEN: Final = Q(content_type__app_label__in=("accounts", "apikeys", "billing"), codename__startswith="view_") | Q(
    content_type__app_label="admin", codename="view_logentry"
)
"""What everybody with a role sees: all that is ours, models added later included, and the audit log."""

FINANCE: Final = ("billing.adjust_credit", "billing.refund_topup")

# Without accounts.add_user, and without any change to wallets or groups: each is a way to sign in as somebody else or to
# more rights. Those are for superusers.
ADMIN: Final = (
    *FINANCE,
    "accounts.change_user",
    "apikeys.change_apikey",
    "billing.add_price",
    "billing.change_price",
    "billing.add_upstream",
    "billing.change_upstream",
)

ROLES: Final[dict[Role, tuple[str, ...]]] = {"support": (), "finance": FINANCE, "admin": ADMIN}
"""What each role may do beside looking."""


def permissions(role: Role) -> "QuerySet[Permission]":
    """The permissions of a role that exist: all of them, once every app is migrated."""
    wanted = SEEN
    for name in ROLES[role]:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    found: QuerySet[Permission] = apps.get_model("auth", "Permission").objects.filter(wanted)
    return found


@transaction.atomic
def write() -> None:
    """Make the groups what the table says. May be repeated."""
    groups = apps.get_model("auth", "Group").objects
    for role in ROLES:
        groups.get_or_create(name=role)[0].permissions.set(permissions(role))


def after_migrate(sender: Any, **kwargs: Any) -> None:
    """Django tells one app after the other that migrations are done, and makes that app's permissions then: the last app's
    turn is the first moment when all are there."""
    if sender is [config for config in apps.get_app_configs() if config.models_module is not None][-1]:
        write()
