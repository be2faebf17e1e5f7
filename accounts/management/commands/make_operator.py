from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import addresses, operators, wallets
from accounts.addresses import InvalidAddress
from accounts.groups import ROLES, Role
from accounts.operators import LastSuperuser


class Command(BaseCommand):
    help = (
        "Makes the account of a wallet an operator, who may use the admin; opens the account if it is new. Without --group it"
        " becomes a superuser, who may do everything. Run it again to give it another role."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", help="the wallet's address, 0x and 40 hex digits")
        parser.add_argument(
            "--group",
            choices=list(ROLES),
            help="a role instead of everything: support looks, finance also gives credit and refunds, admin also freezes,"
            " revokes, sets prices and upstreams",
        )

    def handle(self, *args: Any, address: str, group: Role | None, **options: Any) -> None:
        try:
            wanted = addresses.parse(address)
        except InvalidAddress as error:
            raise CommandError(f"{address!r}: {error.problem}", returncode=2) from None
        account = wallets.find_or_open(address=wanted).account
        if not account.is_active:
            raise CommandError(f"The account of {addresses.checksum(wanted)} is not active; nothing was changed")
        try:
            operators.make(account_id=account.pk, role=group)
        except LastSuperuser as error:
            raise CommandError(str(error)) from None
        role = "an operator, superuser" if group is None else f"an operator, group {group}"
        self.stdout.write(f"{addresses.checksum(wanted)} (account {account.pk}) is {role}")
