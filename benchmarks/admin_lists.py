"""Server time of every list in the admin, and of the pages and reports of the busiest account.

Seed first, then measure, in a database of its own:

    FACES_VAR=var/growth .venv/bin/python manage.py migrate
    FACES_VAR=var/growth .venv/bin/python manage.py seed_demo --calls 1000000 --accounts 60 --seed 2
    FACES_VAR=var/growth .venv/bin/python benchmarks/admin_lists.py

Django's test client calls the whole stack in this process: middleware, view, queries, template, without network. Each view is
opened once to warm it, then `--runs` times. Two figures: the least time by the wall clock, and the processor time of this
process and of the database's together, which does not depend on what else runs (parallel workers of a query are not in it).
Of a download, the time to its first bytes. The slowest statements of what takes more than `--over` milliseconds of processor
time are printed. Writes an operator, some prices on a disabled upstream, and the totals of hours that the worker would keep.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "faces.settings")

import django

django.setup()

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from apikeys.models import ApiKey
from billing import totals
from billing.models import Hold, Price, TopUp, Transfer, Upstream
from billing.seeding_people import MODELS
from tests import admin_lists

Open = Callable[[], Any]


def operator() -> User:
    return User.objects.filter(username="growth").first() or User.objects.create_superuser("growth", "growth")


def price_models() -> None:
    """So that the filter by model has choices."""
    nowhere, _ = Upstream.objects.get_or_create(
        name="growth", defaults={"base_url": "http://127.0.0.1:9/v1", "is_enabled": False}
    )
    for model in MODELS:
        prices = {"upstream": nowhere, "input_price_nanousd": model.input, "output_price_nanousd": model.output}
        Price.objects.get_or_create(model=model.name, defaults=prices)


def busiest_views() -> Iterator[tuple[str, str]]:
    """Pages and reports of the account with the most calls."""
    account_id = busiest()
    keys = ApiKey.objects.filter(account_id=account_id, revoked_at=None).order_by("-spent_nanousd")
    key_id, small = keys[0].id, keys.last().id
    today = timezone.now().date()
    day = today - timezone.timedelta(days=9)
    old = Transfer.objects.filter(account_id=account_id).order_by("id")[1000]
    topup = TopUp.objects.filter(account_id=account_id).order_by("-id").first()
    pages = {
        "overview": "/",
        "keys": "/keys",
        "key, the busiest": f"/keys/{key_id}",
        "key, the quietest": f"/keys/{small}",
        "billing": "/billing",
        "receipt": f"/billing/payments/{topup.id}",
        "usage, 30 days": "/usage",
        "usage by model": "/usage?group_by=llm_model",
        "usage by day": "/usage?group_by=date",
        "usage of a key": f"/usage?group_by=date&key={key_id}&key_id={key_id}",
        "usage of a model": "/usage?group_by=date&model=gpt-4.1-mini",
        "usage CSV": "/usage?format=csv",
        "statement": "/billing/statement",
        "statement, deep": f"/billing/statement?cursor={old.id}",
        "statement of a day": f"/billing/statement?start_date={day}&end_date={day}",
        "statement CSV, first bytes": "/billing/statement?format=csv",
        "statement of a key": f"/billing/statement?key={key_id}",
        "statement of a quiet key": f"/billing/statement?key={small}",
        "statement of a key CSV, first bytes": f"/billing/statement?key={small}&format=csv",
    }
    codes = {
        f"statement, {code}": f"/billing/statement?code={code}" for code in ("charge", "topup", "refund", "adjustment")
    }
    api = {
        "API balance": "/v1/billing/balance",
        "API transactions": "/v1/billing/transactions",
        "API transactions, 200": "/v1/billing/transactions?limit=200",
        "API usage by key": "/v1/billing/usage?group_by=api_key_id",
        "API usage by model": "/v1/billing/usage?group_by=llm_model",
        "API usage by day": "/v1/billing/usage?group_by=date",
        "API keys": "/v1/api-keys",
    }
    return iter({**pages, **codes, **api}.items())


def busiest() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT account_id FROM billing_hold GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
        return cursor.fetchone()[0]


def opened(client: Client, url: str, headers: dict[str, str]) -> int:
    """Status, once the first bytes are there."""
    response = client.get(url, headers=headers)
    if response.streaming:
        next(iter(response.streaming_content), None)
    response.close()
    return int(response.status_code)


def measured(client: Client, url: str, headers: dict[str, str], runs: int) -> tuple[float, float, int]:
    """Least milliseconds by the wall clock, processor milliseconds, and status."""
    status = opened(client, url, headers)
    times, before = [], processor()
    for _ in range(runs):
        started = time.perf_counter()
        opened(client, url, headers)
        times.append((time.perf_counter() - started) * 1000)
    return min(times), (processor() - before) / runs * 1000, status


def processor() -> float:
    """Seconds of processor time of this process and of those of the database that serve it, in ticks of 10 ms."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for (pid,) in cursor.fetchall()]
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in stats)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def explain(client: Client, url: str, headers: dict[str, str]) -> None:
    with CaptureQueriesContext(connection) as captured:
        opened(client, url, headers)
    for query in sorted(captured.captured_queries, key=lambda one: -float(one["time"]))[:3]:
        print(f"      {float(query['time']) * 1000:7.0f} ms  {query['sql'][:1200]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--over", type=float, default=100, help="milliseconds of processor time")
    parser.add_argument("--only", default="", help="views whose name has this in it")
    chosen = parser.parse_args()
    price_models()
    totals.fill(now=timezone.now())
    staff, customer = Client(), Client()
    staff.force_login(operator())
    account = User.objects.get(id=busiest())
    customer.force_login(account)
    token = {"Authorization": f"Bearer {tokens.issue(account_id=account.id, now=timezone.now())}"}
    print(f"{Hold.objects.count()} holds, {Transfer.objects.count()} transfers")
    found = [("admin: morning page", "/admin/", staff, {})]
    found += [(str(view), view.url, staff, {}) for view in admin_lists.views(operator())]
    found += [
        (f"account: {name}", url, customer, token if url.startswith("/v1/") else {}) for name, url in busiest_views()
    ]
    slow = 0
    for name, url, client, headers in found:
        if chosen.only not in name:
            continue
        wall, busy, status = measured(client, url, headers, chosen.runs)
        print(f"{wall:8.1f} ms {busy:8.1f} ms  {status}  {name}   {url if status != 200 else ''}", flush=True)
        if busy > chosen.over:
            slow += 1
            explain(client, url, headers)
    print(f"{slow} over {chosen.over:g} ms of processor time")


if __name__ == "__main__":
    main()
