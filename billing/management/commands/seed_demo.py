import secrets
import time
from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import addresses, wallets
from accounts.addresses import InvalidAddress
from billing import seeding, totals
from billing.seeding import Seeded


def whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!a} is not a whole number")
    return int(text)


class Command(BaseCommand):
    help = (
        "Adds believable accounts with keys, top-ups and calls, for looking at pages and for growth tests. Each run adds; "
        "nothing is replaced, and nothing can be deleted again, because rows of money never are. Nobody can sign in to the "
        "accounts it makes or call with their keys, and it makes no model callable. A few calls are left running; the worker "
        "ends them after their twelve minutes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--calls", type=whole, default=5000, metavar="N", help="calls in all (default %(default)s)")
        parser.add_argument(
            "--accounts", type=whole, default=24, metavar="N", help="new accounts (default %(default)s)"
        )
        parser.add_argument("--days", type=whole, default=30, metavar="N", help="over this many days (default 30)")
        parser.add_argument(
            "--seed", type=whole, metavar="N", help="draws the same again; the one drawn is printed if none is named"
        )
        parser.add_argument(
            "--address",
            metavar="0x…",
            help="all calls to this wallet's account, which must have signed in before, and no new account. If it has moved "
            "money before, the history lies before that and ends at a balance of zero",
        )
        parser.add_argument(
            "--yes-in-production", action="store_true", help="without it, only the development profile is written to"
        )

    def handle(self, *args: Any, calls: int, accounts: int, days: int, address: str | None, **options: Any) -> None:
        if not settings.DEVELOPMENT and not options["yes_in_production"]:
            raise CommandError(
                "This is no development profile, and what is seeded cannot be deleted again. If it is meant, say "
                "--yes-in-production; nothing was done"
            )
        if not 1 <= days <= 3650:
            raise CommandError("--days: write whole days from 1 to 3650", returncode=2)
        if not 1 <= accounts <= 10_000:
            raise CommandError("--accounts: write a whole number from 1 to 10000", returncode=2)
        if calls > 100_000_000:
            raise CommandError("--calls: write a whole number up to 100000000", returncode=2)
        seed = secrets.randbelow(10**9) if options["seed"] is None else options["seed"]
        self.stdout.write(f"Seed {seed}")
        started = time.monotonic()
        if address is not None:
            self._enrich(address, calls=calls, days=days, seed=seed)
        else:
            now = timezone.now()
            done = seeding.accounts(calls=calls, count=accounts, days=days, seed=seed, now=now)
            for number, one in enumerate(done, 1):
                self._say(f"{number} of {accounts}", one, started)
        totals.fill(now=timezone.now())
        self.stdout.write(
            f"{calls} calls in {time.monotonic() - started:.1f} s; `manage.py check_ledger` recomputes them"
        )

    def _enrich(self, address: str, *, calls: int, days: int, seed: int) -> None:
        started = time.monotonic()
        try:
            wallet = wallets.find(address=addresses.parse(address))
        except InvalidAddress as error:
            raise CommandError(f"{address!a}: {error.problem}", returncode=2) from None
        if wallet is None:
            raise CommandError(f"No account has signed in with {address}; sign in once, then say this again")
        one = seeding.history(wallet=wallet, calls=calls, days=days, seed=seed, now=timezone.now())
        self._say("Your account", one, started)

    def _say(self, which: str, one: Seeded, started: float) -> None:
        address = addresses.checksum(addresses.parse(one.address))
        self.stdout.write(
            f"{which}: {address} ({one.kind}), {one.keys} keys, {one.calls} calls, {time.monotonic() - started:.1f} s"
        )
        self.stdout.flush()
