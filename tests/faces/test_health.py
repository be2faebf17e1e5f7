from typing import Any

import pytest
from django.test import Client

from billing.models import Upstream

pytestmark = pytest.mark.django_db


class TestReadyz:
    @pytest.fixture(autouse=True)
    def _only_the_upstreams_of_the_test(self) -> None:
        """Tests that commit leave theirs behind, some without a secret on purpose."""
        Upstream.objects.update(is_enabled=False)

    def test_is_ready(self) -> None:
        answer = Client().get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")

    def test_names_a_missing_secret_but_never_shows_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Upstream.objects.create(name="openai", base_url="https://api.openai.com/v1", api_key_env="FACES_TEST_SECRET")
        answer = Client().get("/readyz")
        assert answer.status_code == 503
        assert "openai" in answer.json()["checks"]["upstreams"]
        assert "FACES_TEST_SECRET" in answer.json()["checks"]["upstreams"]
        monkeypatch.setenv("FACES_TEST_SECRET", "sk-very-secret")
        answer = Client().get("/readyz")
        assert answer.status_code == 200
        assert b"sk-very-secret" not in answer.content

    def test_rereads_a_secret_file_when_it_changes(self, tmp_path: Any) -> None:
        file = tmp_path / "key"
        Upstream.objects.create(name="u", base_url="https://u.example/v1", api_key_file=str(file))
        assert Client().get("/readyz").status_code == 503
        file.write_text("one\n")
        assert Client().get("/readyz").status_code == 200


class TestMetrics:
    def test_are_for_this_machine(self) -> None:
        assert b"faces_running_calls" in Client().get("/metrics").content
        assert Client(REMOTE_ADDR="203.0.113.9").get("/metrics").status_code == 403

    def test_are_for_the_token_where_one_is_set(self, settings: Any) -> None:
        settings.FACES_METRICS_TOKEN = "collector"
        assert Client().get("/metrics").status_code == 403
        answer = Client(REMOTE_ADDR="203.0.113.9").get("/metrics", headers={"Authorization": "Bearer collector"})
        assert answer.status_code == 200


class TestHealthz:
    def test_asks_nobody(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert Client().get("/healthz").json() == {"status": "ok"}


class TestUnknownPaths:
    @pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/auth/nope", "/v1/api-keys/", "/v1/billing/balance/"])
    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    def test_under_the_api_are_json_404(self, path: str, method: str) -> None:
        answer = getattr(Client(), method)(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found"})
        assert answer["X-Request-Id"]
        assert answer["Cache-Control"] == "no-store"

    def test_elsewhere_are_a_page(self) -> None:
        answer = Client().get("/nope")
        assert answer.status_code == 404
        assert b"There is no such page for you" in answer.content

    def test_home_leads_a_stranger_to_the_way_in(self) -> None:
        answer = Client().get("/", follow=True)
        assert answer.redirect_chain == [("/sign-in", 302)]
        assert b"Sign in with your wallet" in answer.content
