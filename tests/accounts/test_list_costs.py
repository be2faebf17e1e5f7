"""The lists of accounts, wallets, keys and the log cost the same however many rows there are: every page reads about what it
shows, by an index, and counts at most 10,000."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Wallet
from apikeys.models import ApiKey
from faces.lib.admin import MOST_LISTED
from tests import world
from tests.accounts import people
from tests.accounts.people import Person

pytestmark = pytest.mark.django_db

ROWS = 12_000
LISTED = 50
SLACK = 300

FILL = {
    "accounts_user": """
        INSERT INTO accounts_user (password, is_superuser, id, username, email, is_active, is_staff, is_frozen, frozen_reason,
                                   created_at)
        SELECT '', false, gen_random_uuid(), NULL, 'person' || n || '@example.com', true, false, false, '', now()
        FROM generate_series(1, %s) n""",
    "accounts_wallet": """
        INSERT INTO accounts_wallet (id, account_id, address, created_at)
        SELECT gen_random_uuid(), id, '0x' || left(encode(sha256(id::text::bytea), 'hex'), 40), now()
        FROM accounts_user WHERE email <> '' LIMIT %s""",
    "apikeys_apikey": """
        INSERT INTO apikeys_apikey (id, account_id, ancestor_ids, name, public_id, digest, spent_nanousd, held_nanousd,
                                    allowlist, is_frozen, created_at)
        SELECT gen_random_uuid(), id, '{}', 'key of ' || id, left(id::text, 20), '', 0, 0, '{}', false, now()
        FROM accounts_user WHERE email <> '' LIMIT %s""",
    "django_admin_log": """
        INSERT INTO django_admin_log (action_time, object_id, object_repr, action_flag, change_message, content_type_id,
                                      user_id)
        SELECT now() - n * interval '1 minute', gen_random_uuid()::text, 'row', 2, 'Saved.',
               (SELECT id FROM django_content_type WHERE app_label = 'billing' AND model = 'price'),
               (SELECT id FROM accounts_user WHERE is_staff ORDER BY id DESC LIMIT 1)
        FROM generate_series(1, %s) n""",
}


def fill(*tables: str) -> None:
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(FILL[table], [ROWS])
            cursor.execute(f"ANALYZE {table}")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for under in plan.get("Plans", []):
        yield from nodes(under)


def read_in_vain(sql: str) -> int:
    """Rows that a statement read to throw away, or to sort."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        answer = cursor.fetchone()[0]
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    wasted = 0
    for node in nodes(plan):
        loops = node["Actual Loops"]
        wasted += node.get("Rows Removed by Filter", 0) * loops
        if node["Node Type"] == "Sort":
            wasted += int(node["Plans"][0]["Actual Rows"]) * loops
    return wasted


def costs(person: Person, model: str, query: dict[str, str]) -> tuple[int, int, int]:
    """Rows shown, statements, and the most rows one of them read in vain."""
    url = reverse(f"admin:{model}_changelist")
    with CaptureQueriesContext(connection) as caught:
        answer = person.browser.get(url, query)
    assert answer.status_code == 200, answer
    statements = [one["sql"] for one in caught if one["sql"].startswith("SELECT")]
    counts = [sql for sql in statements if "COUNT(" in sql]
    for sql in counts:
        assert "LIMIT 10000" in sql, sql
        assert read_in_vain(sql) <= MOST_LISTED, f"{sql}: counts by reading the whole table"
    wasted = max(read_in_vain(sql) for sql in statements if sql not in counts)
    return len(answer.context["cl"].result_list), len(caught), wasted


MOST_STATEMENTS = 12


def check(person: Person, model: str, query: dict[str, str], *, found: int) -> None:
    """At least `found` rows are shown: tests that commit leave some behind."""
    shown, statements, wasted = costs(person, model, query)
    assert found <= shown <= LISTED
    assert statements <= MOST_STATEMENTS
    assert wasted <= SLACK, f"{model} {query}: {wasted} rows read in vain"


class TestLists:
    def test_of_accounts(self) -> None:
        boss = people.superuser()
        User.objects.filter(pk=boss.account.pk).update(username="the-boss")
        frozen = User.objects.create_user(is_frozen=True)
        User.objects.create_user(is_active=False)
        Wallet.objects.create(account=frozen, address="0x" + "0" * 40)
        fill("accounts_user", "accounts_wallet")
        check(boss, "accounts_user", {}, found=LISTED)
        check(boss, "accounts_user", {"o": "2"}, found=LISTED)
        for query in (
            {"state": "frozen"},
            {"state": "inactive"},
            {"state": "operator"},
            {"q": "the-b"},
            {"q": "PERSON777@"},
            {"q": "0x000000"},
            {"q": "0x" + "0" * 40},
            {"q": str(frozen.pk)},
        ):
            check(boss, "accounts_user", query, found=1)
        check(boss, "accounts_wallet", {}, found=LISTED)
        check(boss, "accounts_wallet", {"q": "0x000000"}, found=1)

    def test_of_keys(self) -> None:
        boss, user = people.superuser(), User.objects.create_user()
        fill("accounts_user", "apikeys_apikey")
        key = world.key(user, name="Batch", budget=world.USD, is_frozen=True)
        ApiKey.objects.filter(id=key.id).update(revoked_at="2026-11-24T00:00Z")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE apikeys_apikey")
        check(boss, "apikeys_apikey", {}, found=LISTED)
        check(boss, "apikeys_apikey", {"state": "live"}, found=LISTED)
        check(boss, "apikeys_apikey", {"cap": "no"}, found=LISTED)
        for query in (
            {"state": "frozen"},
            {"state": "revoked"},
            {"cap": "yes"},
            {"cap": "yes", "state": "revoked"},
            {"q": "batch"},
            {"q": key.text},
            {"q": key.prefix},
            {"q": str(key.id)},
            {"q": str(user.pk)},
            {"q": str(user.pk), "cap": "yes"},
        ):
            check(boss, "apikeys_apikey", query, found=1)

    def test_of_the_log(self) -> None:
        quiet, boss, row = people.superuser(), people.superuser(), User.objects.create_user()
        fill("django_admin_log")
        LogEntry.objects.log_actions(quiet.account.pk, [row], CHANGE, "Frozen.")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE django_admin_log")
        check(boss, "admin_logentry", {}, found=LISTED)
        for query in (
            {"user__id__exact": str(quiet.account.pk)},
            {"kind": str(ContentType.objects.get_for_model(User).pk)},
            {"q": str(row.pk)},
        ):
            check(boss, "admin_logentry", query, found=1)
        check(boss, "admin_logentry", {"action_time__gte": "2026-01-01 00:00:00+00:00"}, found=LISTED)


def statements(person: Person, row: Any, model: str) -> int:
    with CaptureQueriesContext(connection) as caught:
        assert person.browser.get(reverse(f"admin:{model}_change", args=[row.pk])).status_code == 200
    return len(caught)


class TestPages:
    def test_of_a_key_cost_the_same_with_any_family(self) -> None:
        boss, top = people.superuser(), world.key(world.account(), budget=world.USD)
        middle = world.key(top.account, parent=top)
        world.key(top.account, parent=middle)
        before = statements(boss, middle, "apikeys_apikey")
        for _ in range(30):
            world.key(top.account, parent=middle, budget=world.USD)
        assert statements(boss, middle, "apikeys_apikey") == before
        assert before <= MOST_STATEMENTS

    def test_of_an_account_cost_the_same_with_any_wallets_and_keys(self) -> None:
        boss, account = people.superuser(), world.account(credit=world.USD)
        Wallet.objects.create(account=account, address="0x" + "1" * 40)
        before = statements(boss, account, "accounts_user")
        for number in range(2, 9):
            Wallet.objects.create(account=account, address="0x" + str(number) * 40)
            world.key(account)
        assert statements(boss, account, "accounts_user") == before
        assert before <= MOST_STATEMENTS + 4
