from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import addresses, wallets
from accounts.addresses import InvalidAddress
from billing import corrections
from billing.ledger import InsufficientCredit, ReferenceConflict
from billing.management.options import plain, sentences, usd
from faces.lib.errors import InvalidInput
from faces.lib.money import usd_text


class Command(BaseCommand):
    help = "Corrects an account's credit through the ledger, once per reference. A negative amount takes at most what is available."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", help="the wallet of the account, 0x and 40 hex digits")
        parser.add_argument("amount", type=usd, metavar="AMOUNT", help="in USD, for example 5.00 or -2.50")
        parser.add_argument(
            "--reference", type=plain, required=True, help="makes it happen once, for example a ticket's number"
        )
        parser.add_argument("--reason", type=plain, required=True, help="stands in the customer's statement")

    def handle(self, *args: Any, address: str, amount: int, reference: str, reason: str, **options: Any) -> None:
        try:
            wallet = wallets.find(address=addresses.parse(address))
        except InvalidAddress as error:
            raise CommandError(f"{address!r}: {error.problem}", returncode=2) from None
        if wallet is None:
            raise CommandError(f"No account has signed in with {address}; nothing was done")
        try:
            posted = corrections.correct(
                account_id=wallet.account_id, amount_nanousd=amount, reference=reference, reason=reason
            )
        except InvalidInput as error:
            raise CommandError(sentences(error), returncode=2) from None
        except (InsufficientCredit, ReferenceConflict) as error:
            raise CommandError(str(error)) from None
        done = "was already done, nothing moved now" if posted.state == "replayed" else "done"
        self.stdout.write(f"{usd_text(amount)} USD {done}; balance {usd_text(posted.balance_nanousd)} USD")
