"""What an index on the money tables costs every call: place and settle with it and without it, in turns.

    FACES_VAR=var/growth .venv/bin/python benchmarks/index_cost.py hold_by_key transfer_by_hold

Runs on the seeded database of `admin_lists.py`. Each turn places and settles `--calls` calls of accounts in turn, by the SQL
functions of the service, in one transaction that is rolled back, so that no disk is waited for; half of the turns have dropped
the named indexes in that transaction. What counts is the processor time of the database's own process, whose clock has ticks
of 10 ms, and the least of all turns: it depends little on what else runs.
"""

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "faces.settings")

import django

django.setup()

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from apikeys.models import ApiKey
from billing import holds
from billing.rates import Rates, Usage

RATES = Rates(input=420_000_000, output=1_680_000_000, cached_input=105_000_000, cache_write=420_000_000)


class Undone(Exception):
    pass


def chains(most: int) -> list[tuple[UUID, list[UUID]]]:
    keys = ApiKey.objects.filter(
        parent=None, budget_nanousd=None, revoked_at=None, is_frozen=False, account__is_frozen=False,
        account__credit__balance_nanousd__gt=10**9,
    )  # fmt: skip
    return [(key.account_id, [key.id]) for key in keys[:most]]


def spent() -> float:
    """Seconds of processor time of the database's process, which is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turn(without: list[str], calls: int, owners: list[tuple[UUID, list[UUID]]]) -> float:
    """Microseconds of the database's processor time a call."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                for index in without:
                    cursor.execute(f"DROP INDEX {index}")
            before = spent()
            for number in range(calls):
                account_id, key_ids = owners[number % len(owners)]
                placed = holds.place(request(account_id, key_ids))
                usage = Usage(input=900, output=220)
                holds.settle(account_id=account_id, hold_id=placed.hold_id, cost_nanousd=RATES.cost(usage), usage=usage)
            took = spent() - before
            raise Undone
    except Undone:
        return took / calls * 1e6


def request(account_id: UUID, key_ids: list[UUID]) -> holds.Request:
    return holds.Request(
        account_id=account_id,
        key_ids=key_ids,
        rates=RATES,
        request_id=uuid7().hex,
        model="gpt-4.1-mini",
        upstream="openai",
        prompt_bound=3600,
        output_limit=1024,
        lowest_limit=256,
        life=timedelta(seconds=720),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("indexes", nargs="+")
    parser.add_argument("--instead-of", action="append", default=[], help="an index that goes when these come")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=6)
    chosen = parser.parse_args()
    owners = chains(20)
    turn([], 100, owners)
    kinds = (chosen.indexes, chosen.instead_of)
    rounds = [[turn(dropped, chosen.calls, owners) for dropped in kinds] for _ in range(chosen.turns)]
    without, with_ = (min(one[kind] for one in rounds) for kind in (0, 1))
    print(f"{without:.0f} µs a call without, {with_:.0f} with {', '.join(chosen.indexes)}: {with_ / without:.3f}")


if __name__ == "__main__":
    main()
