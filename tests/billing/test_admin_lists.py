"""No list of the admin reads more of the calls and transfers than it shows and counts, whatever it filters, searches or turns to:
asked of the database's own plans, on a few thousand rows, for every view that the admin offers."""

import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing.models import Price, Upstream
from billing.seeding_people import MODELS
from tests import admin_lists
from tests.billing.test_commands import run

pytestmark = pytest.mark.django_db

COUNTED = 100
"""How many rows a list counts and offers in these tests; 10,000 in service."""
MOST = 4 * COUNTED
"""Rows of calls and transfers that one statement may touch."""
PRICED = (MODELS[0].name, "echo", MODELS[-1].name)
"""The one most called, one rarely called, and the one called least."""
GROWING = ("billing_hold", "billing_transfer", "billing_transferreference")


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("op", "password")


@pytest.fixture
def page(operator: User, monkeypatch: pytest.MonkeyPatch) -> Client:
    """An operator's browser, before a table that is many times as long as what a list may read of it. Nothing is read whole
    where an index would do: in a table this small that is cheaper, in one that grew it is not."""
    monkeypatch.setattr("faces.lib.admin.MOST_LISTED", COUNTED)
    monkeypatch.setattr("tests.admin_lists.DEEP", 2)
    run("seed_demo", "--calls", "4000", "--accounts", "9", "--seed", "5")
    nowhere = Upstream.objects.create(name="nowhere", base_url="http://127.0.0.1:9/v1", is_enabled=False)
    Price.objects.bulk_create(
        Price(model=model, upstream=nowhere, input_price_nanousd=1, output_price_nanousd=1) for model in PRICED
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    client = Client()
    client.force_login(operator)
    return client


def excess(sql: str) -> list[str]:
    """Where a statement looks at too many rows, even when it takes an index for its order instead of sorting, which in a table
    this small is the dearer way."""
    for sorts in ("on", "off"):
        found = [f"{how} looked at {rows} rows in {sql}" for how, rows in touched(sql, sorts) if rows > MOST]
        if not found:
            break
    return found


def touched(sql: str, sorts: str = "on") -> Iterator[tuple[str, int]]:
    """Each growing table that a statement reads, and how many of its rows it looked at."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL enable_sort = {sorts}")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
        found = cursor.fetchone()[0]
        cursor.execute("SET LOCAL enable_sort = on")
    plan = json.loads(found) if isinstance(found, str) else found
    nodes = [plan[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node.get("Relation Name") in GROWING:
            looked_at = (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
            yield f"{node['Node Type']} of {node['Relation Name']}", int(looked_at * node["Actual Loops"])


def read(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
        assert response.status_code in (200, 302), f"{url}: {response.status_code}"
    return [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]


class TestLists:
    def test_read_no_more_than_they_show(self, page: Client, operator: User) -> None:
        wrong: list[str] = []
        views = 0
        for view in admin_lists.views(operator):
            if view.kind == "export" or view.model.partition(".")[0] not in ("accounts", "apikeys", "billing"):
                continue
            views += 1
            for sql in read(page, view.url):
                if any(f'"{table}"' in sql for table in GROWING):
                    wrong += [f"{view}: {problem}" for problem in excess(sql)]
        assert views > 50
        assert wrong == []

    def test_find_what_is_wrong(self, page: Client) -> None:
        """The measure itself: a filter without an index looks at the whole table."""
        assert max(rows for _, rows in touched("SELECT * FROM billing_hold WHERE choices = 7")) >= 4000

    def test_are_those_of_every_growing_table(self, page: Client, operator: User) -> None:
        kinds = {(view.model, view.kind) for view in admin_lists.views(operator)}
        assert {
            ("billing.hold", "deep page"),
            ("billing.transfer", "search reference"),
            ("billing.hold", "export"),
        } <= kinds
        assert ("billing.hold", "filter model echo") in kinds
