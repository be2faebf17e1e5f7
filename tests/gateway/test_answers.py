import json

import pytest
from starlette.requests import Request

from apikeys.authentication import OriginRefused, PaymentRequired, Unauthorized
from faces.gateway import answers
from faces.gateway.routing import ModelNotFound
from faces.gateway.schema import BadRequest
from faces.lib.errors import FacesError


def request(*headers: str) -> Request:
    return Request({"type": "http", "headers": [(name.encode(), b"python") for name in headers]})


def body(error: FacesError, *headers: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(answers.refusal(error, request(*headers)).body)
    return answer


class TestRefusal:
    @pytest.mark.parametrize("error", [Unauthorized(), OriginRefused(), PaymentRequired("budget_held")])
    def test_printed_in_full_carries_more_only_for_an_sdk(self, error: FacesError) -> None:
        assert body(error) == {"detail": error.detail}
        assert set(body(error, "x-stainless-lang")) == {"detail", "error"}

    def test_carries_status_and_headers(self) -> None:
        answer = answers.refusal(PaymentRequired("balance_held"), request())
        assert answer.status_code == 402
        assert (answer.headers["x-faces-reason"], answer.headers["retry-after"]) == ("balance_held", "1")


class TestErrorObject:
    def test_says_the_reason_of_a_402_in_words(self) -> None:
        error = answers.error_object(PaymentRequired("balance_exhausted"))
        assert (
            error["message"] == "Insufficient credits: The credit left does not pay for this call; top up the account."
        )
        assert (error["type"], error["code"], error["param"]) == ("insufficient_quota", "balance_exhausted", None)

    def test_names_the_field_at_fault(self) -> None:
        error = answers.error_object(BadRequest({"n": ["Too many", "No number"], "seed": ["Odd"]}))
        assert error["message"] == "n: Too many No number seed: Odd"
        assert (error["type"], error["param"]) == ("invalid_request_error", "n")

    def test_of_any_refusal_has_the_four_members(self) -> None:
        assert answers.error_object(ModelNotFound("x")) == {
            "message": "Model 'x' not found",
            "type": "invalid_request_error",
            "code": "model_not_found",
            "param": None,
        }
        assert answers.error_object(FacesError())["type"] == "server_error"
