"""Statement, usage and price list from outside: exact, complete, the account's own."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from accounts.models import User
from apikeys.models import ApiKey
from billing import holds, ledger
from billing.models import Party, TransferCode
from billing.rates import Usage
from tests import world

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def get(user: User, path: str, **query: str) -> Any:
    target = f"/v1/billing/{path}?{urlencode(query)}" if query else f"/v1/billing/{path}"
    return Client().get(target, headers={"Authorization": f"Bearer {world.jwt(user)}"})


def body(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content, parse_float=Decimal)


def call(
    user: User, key: ApiKey | None, cost: int, *, model: str = "m1", at: datetime = NOON, tokens: int = 10
) -> None:
    placed = holds.place(world.request(user, key, rates=world.flat(cost), model=model), now=at)
    usage = Usage(input=tokens, output=2 * tokens)
    holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=cost, usage=usage, now=at)


class TestTransactions:
    def test_are_newest_first_with_the_call_each_paid_for(self) -> None:
        user = world.account(credit=world.USD)
        key = world.key(user)
        call(user, key, 25_000)
        charge, topup = body(get(user, "transactions"))["data"]
        assert (charge["amount_usd"], charge["balance_after_usd"]) == (Decimal("-0.000025"), Decimal("0.999975"))
        assert (charge["code"], charge["api_key_id"], charge["model"]) == ("charge", str(key.id), "m1")
        assert (charge["input_tokens"], charge["output_tokens"], charge["is_counted"]) == (10, 20, False)
        assert charge["request_id"]
        assert (topup["amount_usd"], topup["request_id"]) == (1, None)

    def test_come_in_pages_without_gaps_while_new_ones_arrive(self) -> None:
        user = world.account(credit=world.USD)
        for cost in range(1, 8):
            call(user, None, cost)
        seen, cursor = [], None
        while True:
            page = body(get(user, "transactions", limit="3", **({"cursor": cursor} if cursor else {})))
            seen += [row["amount_usd"] for row in page["data"]]
            call(user, None, 100)
            cursor = page["next"]
            if cursor is None:
                break
        assert [int(-amount * world.USD) for amount in seen[:-1]] == [7, 6, 5, 4, 3, 2, 1]
        assert seen[-1] == 1

    def test_are_filtered_by_code_and_day(self) -> None:
        user = world.account(credit=world.USD)
        call(user, None, 5, at=NOON - timedelta(days=2))
        call(user, None, 6)
        rows = body(get(user, "transactions", code="charge", start_date="2026-11-24", end_date="2026-11-24"))["data"]
        assert [row["amount_usd"] for row in rows] == [Decimal("-0.000000006")]
        assert len(body(get(user, "transactions", code="topup"))["data"]) == 1

    def test_are_filtered_by_key(self) -> None:
        user, other = world.account(credit=world.USD), world.account(credit=world.USD)
        keys = [world.key(user), world.key(user), world.key(other)]
        for cost, key in enumerate(keys[:2], start=1):
            call(user, key, cost)
        call(other, keys[2], 5)
        rows = [body(get(user, "transactions", api_key_id=str(key.id)))["data"] for key in keys]
        assert [[row["amount_usd"] * world.USD for row in of_key] for of_key in rows] == [[-1], [-2], []]

    def test_reach_back_to_the_first_one_when_only_the_end_is_named(self) -> None:
        user = world.account(credit=world.USD)
        for days_ago in (400, 45, 10):
            call(user, None, days_ago, at=NOON - timedelta(days=days_ago))
        end = (NOON - timedelta(days=20)).date().isoformat()
        rows = body(get(user, "transactions", code="charge", end_date=end))["data"]
        assert sorted(-row["amount_usd"] * world.USD for row in rows) == [45, 400]

    @pytest.mark.parametrize(
        ("accept", "is_csv"),
        [
            ("text/csv", True),
            ("Text/CSV", True),
            ("text/csv; charset=utf-8", True),
            ("text/csv, application/json;q=0.9", True),
            ("application/json;q=0.5, text/csv", True),
            ("application/json, text/csv;q=0.1", False),
            ("text/csv;q=0", False),
            ("*/*", False),
            ("text/html, */*;q=0.8", False),
            ("image/png", False),
            ("text/csv;q=nan", True),
            ("a/b; x*=nope''y", False),
            ("x" * 20_000, False),
            (";;=,", False),
        ],
    )
    def test_are_csv_where_accept_prefers_it_and_never_an_error(self, accept: str, is_csv: bool) -> None:
        token = world.jwt(world.account(credit=world.USD))
        answer = Client().get(
            "/v1/billing/transactions", headers={"Authorization": f"Bearer {token}", "Accept": accept}
        )
        assert answer.status_code == 200
        assert answer["Content-Type"] == ("text/csv; charset=utf-8" if is_csv else "application/json")

    def test_are_whole_in_csv_beyond_a_page(self) -> None:
        user = world.account(credit=world.USD)
        for cost in (1, 2, 3):
            call(user, None, cost)
        rows = list(csv.DictReader(io.StringIO(get(user, "transactions", format="csv", limit="1").getvalue().decode())))
        assert [row["amount_usd"] for row in rows] == ["-0.000000003", "-0.000000002", "-0.000000001", "1.00"]

    def test_add_up_to_the_balance(self) -> None:
        user = world.account(credit=world.USD)
        for cost in (1, 333, 77_777):
            call(user, None, cost)
        ledger.post(
            account_id=user.id,
            amount_nanousd=-1000,
            counterparty=Party.ADJUSTMENT,
            code=TransferCode.ADJUSTMENT,
            reference="r",
            reason="=HYPERLINK(1)",
        )
        rows = body(get(user, "transactions"))["data"]
        assert sum(row["amount_usd"] for row in rows) * world.USD == world.money(user)[0]
        assert rows[0]["balance_after_usd"] * world.USD == world.money(user)[0]
        assert rows[0]["reason"] == "=HYPERLINK(1)"

    def test_are_a_csv_that_no_spreadsheet_runs(self) -> None:
        user = world.account(credit=world.USD)
        call(user, world.key(user), 25_000, model="=cmd|' /C calc'!A0")
        for answer in (
            get(user, "transactions", format="csv"),
            Client().get(
                "/v1/billing/transactions", headers={"Authorization": f"Bearer {world.jwt(user)}", "Accept": "text/csv"}
            ),
        ):
            assert answer["Content-Type"] == "text/csv; charset=utf-8"
            rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
            assert [row["amount_usd"] for row in rows] == ["-0.000025", "1.00"]
            assert rows[0]["model"] == "'=cmd|' /C calc'!A0"

    def test_are_the_accounts_own(self) -> None:
        user, other = world.account(credit=world.USD), world.account(credit=world.USD)
        call(other, world.key(other), 5)
        assert [row["code"] for row in body(get(user, "transactions"))["data"]] == ["topup"]
        assert body(get(user, "usage"))["data"]["totals"]["request_count"] == 0


class TestUsage:
    @pytest.fixture
    def user(self) -> User:
        return world.account(credit=world.USD)

    def test_groups_by_key_model_and_day_with_equal_totals(self, user: User) -> None:
        keys = [world.key(user), world.key(user)]
        call(user, keys[0], 1000, model="m1", at=NOON - timedelta(days=1))
        call(user, keys[0], 2000, model="m2")
        call(user, keys[1], 4000, model="m2")
        call(user, None, 8000, model="m1")
        span = {"start_date": "2026-11-23", "end_date": "2026-11-24"}
        expected = {
            "api_key_id": {str(keys[0].id): 3000, str(keys[1].id): 4000, "": 8000},
            "llm_model": {"m1": 9000, "m2": 6000},
            "date": {"2026-11-23": 1000, "2026-11-24": 14000},
        }
        for group_by, costs in expected.items():
            data = body(get(user, "usage", group_by=group_by, **span))["data"]
            assert {row["group_key"]: row["cost_usd"] * world.USD for row in data["rows"]} == costs
            assert data["totals"] == {
                "request_count": 4,
                "input_tokens": 40,
                "output_tokens": 80,
                "cost_usd": Decimal("0.000015"),
            }

    def test_includes_both_ends_to_the_last_moment(self, user: User) -> None:
        for at in (
            "2026-11-22T23:59:59.999999",
            "2026-11-23T00:00:00",
            "2026-11-24T23:59:59.999999",
            "2026-11-25T00:00:00",
        ):
            call(user, None, 1, at=datetime.fromisoformat(at).replace(tzinfo=UTC))
        data = body(get(user, "usage", start_date="2026-11-23", end_date="2026-11-24"))["data"]
        assert [(row["group_key"], row["request_count"]) for row in data["rows"]] == [
            ("2026-11-23", 1),
            ("2026-11-24", 1),
        ]

    def test_counts_free_calls_and_no_released_ones(self, user: User) -> None:
        call(user, None, 0)
        placed = holds.place(world.request(user, rates=world.flat(5)), now=NOON)
        holds.release(account_id=user.id, hold_id=placed.hold_id, outcome="upstream_unreachable", now=NOON)
        data = body(get(user, "usage", start_date="2026-11-24", end_date="2026-11-24"))["data"]
        assert (data["totals"]["request_count"], data["totals"]["cost_usd"]) == (1, 0)

    def test_is_the_last_thirty_days_by_default(self, user: User) -> None:
        now = datetime.now(UTC)
        call(user, None, 1, at=now - timedelta(days=29))
        call(user, None, 1, at=now - timedelta(days=31))
        assert body(get(user, "usage"))["data"]["totals"]["request_count"] == 1

    def test_is_a_csv(self, user: User) -> None:
        call(user, None, 25_000)
        answer = get(user, "usage", group_by="llm_model", start_date="2026-11-24", end_date="2026-11-24", format="csv")
        lines = answer.getvalue().decode().splitlines()
        assert lines == ["group_key,request_count,input_tokens,output_tokens,cost_usd", "m1,1,10,20,0.000025"]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"group_by": "account"}, "group_by"),
            ({"group_by": "\x00"}, "group_by"),
            ({"start_date": "yesterday"}, "start_date"),
            ({"start_date": "2026-02-30"}, "start_date"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-23"}, "start_date"),
            ({"end_date": "9999-12-31"}, "end_date"),
            ({"end_date": "0001-01-01"}, "end_date"),
            ({"end_date": "٢٠٢٦-١١-٢٤"}, "end_date"),
            ({"end_date": "2026-11-24T00:00:00Z"}, "end_date"),
            ({"end_date": "1" * 5000}, "end_date"),
            ({"format": "xml"}, "format"),
        ],
    )
    def test_refuses_a_bad_query(self, user: User, query: dict[str, str], field: str) -> None:
        answer = get(user, "usage", **query)
        assert answer.status_code == 400
        assert list(answer.json()["detail"]) == [field]

    @pytest.mark.parametrize(
        "query",
        [
            *({"limit": limit} for limit in ("0", "201", "-1", "1.0", "", "٣", "\x00", "9" * 5000)),
            *({"cursor": cursor} for cursor in ("x", "", "\x00", "{01a20dbc-69a1-715e-a14b-368b9f835804}", "1" * 5000)),
            *({"api_key_id": key_id} for key_id in ("", "\x00", "sk-faces-x", "01a20dbc69a1715ea14b368b9f835804")),
            *({"code": code} for code in ("gift", "", "\x00", "CHARGE")),
            *({"end_date": day} for day in ("", "\x00", "1969-12-31", "2026-11-31")),
            {"start_date": "9998-12-31"},
        ],
        ids=repr,
    )
    def test_refuses_a_bad_page(self, user: User, query: dict[str, str]) -> None:
        answer = get(user, "transactions", **query)
        assert answer.status_code == 400
        assert list(answer.json()["detail"]) == list(query)


class TestPriceList:
    def test_shows_what_a_customer_pays(self) -> None:
        world.model("https://u.example/v1", name="vendor/m", cached_input_price_nanousd=250_000_000)
        world.model("https://u.example/v1", name="off", upstream={"is_enabled": False})
        rows = body(get(world.account(), "llm-costs"))["data"]
        assert rows == [
            {
                "model": "vendor/m",
                "input_usd": 1,
                "output_usd": 2,
                "cached_input_usd": Decimal("0.25"),
                "cache_write_usd": 1,
                "request_usd": 0,
                "context_tokens": 128_000,
                "max_output_tokens": 16_384,
            }
        ]
