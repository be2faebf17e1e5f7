"""Top-ups from outside: one credit per payment, the same answer for the same request, and nothing after a refusal."""

import json
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest
from django.test import Client

from accounts.models import User, Wallet
from billing import topups
from billing.models import IdempotentAnswer, PaymentReference, TopUp, Transfer
from tests import world

pytestmark = pytest.mark.django_db

BAD_AMOUNTS = ["0.99", "10000.01", "5.001", "-5", "0", "1e400", "1e9", '"5"', "true", "null", "[5]", '{"a": 5}']
BAD_AMOUNTS += ["5.0000000001", "9" * 40]


def topup(user: User, body: Any, *, token: str | None = None, **headers: str) -> Any:
    return Client().post(
        "/v1/billing/topup",
        body if isinstance(body, str) else json.dumps(body),
        content_type=headers.pop("content_type", "application/json"),
        headers={"Authorization": f"Bearer {token or world.jwt(user)}", **headers},
    )


def data(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content, parse_float=Decimal)["data"]


class TestPaymentRef:
    def test_credits_the_account(self) -> None:
        user = world.account()
        found = data(topup(user, {"amount_usd": 5.25, "payment_ref": "p1"}))
        assert found["status"] == "succeeded"
        assert (found["amount_usd"], found["balance_usd"], found["checkout_url"]) == (
            Decimal("5.25"),
            Decimal("5.25"),
            None,
        )
        assert world.money(user) == (5_250_000_000, 0)
        row = TopUp.objects.get(account_id=user.id)
        assert (str(row.id), row.status, row.amount_nanousd) == (found["id"], "succeeded", 5_250_000_000)
        transfer = Transfer.objects.get(account_id=user.id)
        assert (transfer.reference, transfer.code) == (f"topup:{row.id}", "topup")

    def test_counts_once(self) -> None:
        user = world.account()
        first = data(topup(user, {"amount_usd": 5, "payment_ref": "p1"}))
        again = data(topup(user, {"amount_usd": 5.00, "payment_ref": "p1"}))
        assert first == again
        assert world.money(user) == (5 * world.USD, 0)

    def test_refuses_the_same_ref_with_another_amount_or_account(self) -> None:
        user, other = world.account(), world.account()
        topup(user, {"amount_usd": 5, "payment_ref": "p1"})
        assert topup(user, {"amount_usd": 6, "payment_ref": "p1"}).status_code == 409
        assert topup(other, {"amount_usd": 5, "payment_ref": "p1"}).status_code == 409
        assert world.money(user) == (5 * world.USD, 0)
        assert world.money(other) == (0, 0)

    def test_is_for_operators_when_test_payments_are_off(self, settings: Any) -> None:
        settings.FACES_TEST_PAYMENTS = False
        customer, operator = world.account(), world.account(is_staff=True, is_superuser=True)
        wallet = Wallet.objects.create(account=customer, address="0x" + "ab" * 20)
        body = {"amount_usd": 7, "payment_ref": "p1", "address": wallet.address}
        for token in (None, world.key(customer).text):
            answer = topup(customer, body, token=token)
            assert (answer.status_code, answer.json()) == (403, {"detail": "Permission denied"})
        assert topup(customer, {"amount_usd": 7, "payment_ref": "p1"}).status_code == 403
        assert data(topup(operator, body))["balance_usd"] == 7
        assert world.money(customer) == (7 * world.USD, 0)
        assert world.money(operator) == (0, 0)

    def test_lets_nobody_else_name_a_customer(self) -> None:
        customer, other = world.account(), world.account()
        Wallet.objects.create(account=customer, address="0x" + "ab" * 20)
        body = {"amount_usd": 7, "payment_ref": "p1", "address": "0x" + "ab" * 20}
        assert topup(other, body).status_code == 403

    def test_names_the_field_when_the_customer_is_unknown(self) -> None:
        answer = topup(
            world.account(is_staff=True, is_superuser=True),
            {"amount_usd": 7, "payment_ref": "p", "address": "0x" + "cd" * 20},
        )
        assert answer.status_code == 400
        assert list(answer.json()["detail"]) == ["address"]
        assert not PaymentReference.objects.exists()

    def test_does_not_count_against_the_daily_limit_of_keys(self) -> None:
        user = world.account()
        assert (
            data(topup(user, {"amount_usd": 500, "payment_ref": "p1"}, token=world.key(user).text))["balance_usd"]
            == 500
        )

    @pytest.mark.parametrize("fields", [{"budget": world.USD}, {"allowlist": ["yourapp.com"]}])
    def test_is_refused_to_capped_and_public_keys(self, fields: dict[str, Any]) -> None:
        user = world.account()
        key = world.key(user, **fields)
        answer = topup(user, {"amount_usd": 5, "payment_ref": "p"}, token=key.text, Origin="https://yourapp.com")
        assert (answer.status_code, answer.json()) == (403, {"detail": "Permission denied"})

    def test_works_on_a_frozen_account(self) -> None:
        user = world.account(is_frozen=True)
        assert data(topup(user, {"amount_usd": 5, "payment_ref": "p"}))["balance_usd"] == 5


class TestIdempotencyKey:
    def test_gives_the_same_answer_byte_for_byte(self) -> None:
        user = world.account()
        body = {"amount_usd": 5, "payment_ref": "p1"}
        first = topup(user, body, **{"Idempotency-Key": "k"})
        topup(user, {"amount_usd": 9, "payment_ref": "p2"})
        again = topup(user, body, **{"Idempotency-Key": "k"})
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.content == again.content
        assert world.money(user) == (14 * world.USD, 0)

    def test_refuses_another_body(self) -> None:
        user = world.account()
        topup(user, {"amount_usd": 5, "payment_ref": "p1"}, **{"Idempotency-Key": "k"})
        assert topup(user, {"amount_usd": 5, "payment_ref": "p2"}, **{"Idempotency-Key": "k"}).status_code == 409
        assert world.money(user) == (5 * world.USD, 0)

    def test_belongs_to_one_account(self) -> None:
        user, other = world.account(), world.account()
        topup(user, {"amount_usd": 5, "payment_ref": "p1"}, **{"Idempotency-Key": "k"})
        assert (
            data(topup(other, {"amount_usd": 6, "payment_ref": "p2"}, **{"Idempotency-Key": "k"}))["balance_usd"] == 6
        )

    def test_keeps_nothing_of_a_refusal(self) -> None:
        user = world.account()
        topup(user, {"amount_usd": 5, "payment_ref": "p1"})
        assert topup(user, {"amount_usd": 6, "payment_ref": "p1"}, **{"Idempotency-Key": "k"}).status_code == 409
        assert not IdempotentAnswer.objects.exists()
        assert topup(user, {"amount_usd": 6, "payment_ref": "p2"}, **{"Idempotency-Key": "k"}).status_code == 200

    def test_keeps_no_credit_whose_answer_was_not_stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As when the process dies between the two: the retry is the first that counts."""
        user = world.account()
        body = {"amount_usd": 5, "payment_ref": "p1"}
        with monkeypatch.context() as broken:
            broken.setattr(topups, "render_json", Mock(side_effect=RuntimeError("died")))
            assert topup(user, body, **{"Idempotency-Key": "k"}).status_code == 500
        assert world.money(user) == (0, 0)
        assert not any(model.objects.exists() for model in (IdempotentAnswer, PaymentReference, TopUp, Transfer))
        assert data(topup(user, body, **{"Idempotency-Key": "k"}))["balance_usd"] == 5

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_refuses_a_key_of_no_use(self, key: str) -> None:
        answer = topup(world.account(), {"amount_usd": 5, "payment_ref": "p"}, **{"Idempotency-Key": key})
        assert answer.status_code == 400


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ('{"payment_ref": "p"}', "amount_usd"),
            *[(f'{{"payment_ref": "p", "amount_usd": {value}}}', "amount_usd") for value in BAD_AMOUNTS],
            *[
                (f'{{"amount_usd": 5, "payment_ref": {value}}}', "payment_ref")
                for value in ('""', '"' + "x" * 201 + '"', "5", "true", "[]", "{}", r'"a\u0000b"', '"a b"', r'"\ud800"')
            ],
            *[
                (f'{{"amount_usd": 5, "payment_ref": "p", "address": {value}}}', "address")
                for value in ('""', '"0x12"', "5", "[]", '"' + "x" * 5000 + '"')
            ],
            ('{"amount_usd": 5, "payment_ref": "p", "amount": 5}', "amount"),
            ('{"amount_usd": 5, "address": "0x' + "ab" * 20 + '"}', "address"),
        ],
    )
    def test_is_named_and_changes_nothing(self, body: str, field: str) -> None:
        user = world.account(is_staff=True, is_superuser=True)
        answer = topup(user, body)
        assert answer.status_code == 400, answer.content
        if isinstance(answer.json()["detail"], dict):
            assert list(answer.json()["detail"]) == [field]
        assert world.money(user) == (0, 0)
        assert not TopUp.objects.exists()

    @pytest.mark.parametrize("body", ["", "{", "[]", "5", '"x"', "null", '{"amount_usd": NaN}', '{"a": 1, "a": 2}'])
    def test_refuses_what_is_no_json_object(self, body: str) -> None:
        answer = topup(world.account(), body)
        assert answer.status_code == 400
        assert answer.json()["detail"]

    def test_refuses_another_content_type(self) -> None:
        assert topup(world.account(), "amount_usd=5", content_type="text/plain").status_code == 415


class TestNotConfigured:
    @pytest.mark.parametrize(
        ("path", "body", "detail"),
        [
            ("topup", {"amount_usd": 5}, "Card payments are not configured"),
            ("checkout", {"amount_usd": 5}, "Card payments are not configured"),
            ("card-setup", {}, "Card payments are not configured"),
            ("topup/x402", {"amount_usd": 5}, "x402 payments are not configured"),
        ],
    )
    def test_answers_503(self, path: str, body: Any, detail: str) -> None:
        headers = {"Authorization": f"Bearer {world.jwt(world.account())}"}
        answer = Client().post(f"/v1/billing/{path}", body, content_type="application/json", headers=headers)
        assert (answer.status_code, answer.json()) == (503, {"detail": detail})


class TestBalance:
    def test_shows_what_is_held_apart(self) -> None:
        user = world.account(credit=5 * world.USD)
        world.holds.place(world.request(user, rates=world.flat(1_500_000_001)))
        headers = {"Authorization": f"Bearer {world.jwt(user)}"}
        answer = Client().get("/v1/billing/balance", headers=headers)
        assert answer.content == (
            b'{"data":{"balance_usd":5.00,"held_usd":1.500000001,"available_usd":3.499999999,'
            b'"has_payment_method":false,"is_frozen":false}}'
        )
