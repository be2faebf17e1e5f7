"""The API's description: complete, valid, true to what the service does, and shown without anybody else's servers."""

import collections
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
import schemathesis
from django.core.management import call_command
from django.urls import URLResolver, get_resolver
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import content_type_conformance, response_schema_conformance

from faces import openapi
from faces.gateway import fields
from tests import service, world
from tests.gateway import client

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = 12
"""Of each operation, with each kind of credential and each kind of data."""
SECONDS = 20
CHAT = "POST /v1/chat/completions"


@pytest.fixture(scope="session")
def description(_one_service: service.Running, django_db_blocker: Any) -> dict[str, Any]:
    """What the running service says of itself."""
    reply = requests.get(f"{_one_service.url}/api/schema", headers={"accept": "application/json"}, timeout=SECONDS)
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


class TestSchema:
    def test_is_valid_and_without_a_warning(self) -> None:
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")

    def test_has_every_api_path(self, description: dict[str, Any]) -> None:
        described = {re.sub(r"{.*?}", "{}", path) for path in description["paths"]}
        assert described >= set(routed()) | {"/v1/chat/completions", "/v1/models", "/v1/models/{}"}

    def test_needs_a_credential_where_the_service_does(
        self, description: dict[str, Any], faces: service.Running
    ) -> None:
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                reply = client.ask(faces.url, method.upper(), re.sub(r"{.*?}", "x", path))
                is_open = not operation.get("security")
                assert is_open == (reply.status != 401), (method, path, reply.status)
                assert ("401" in operation["responses"]) >= (not is_open)

    def test_says_of_chat_what_the_gateway_checks(self, description: dict[str, Any]) -> None:
        properties = set(description["components"]["schemas"]["ChatRequest"]["properties"])
        assert properties == set(fields.CHECKS) - set(fields.UNBOUNDED)
        assert set(openapi.MESSAGE["properties"]) <= fields.MESSAGE_MEMBERS
        assert openapi.MESSAGE["properties"]["role"]["enum"] == list(fields.ROLES)

    def test_names_each_operation_once(self, description: dict[str, Any]) -> None:
        names = [operation["operationId"] for path in description["paths"].values() for operation in path.values()]
        assert len(names) == len(set(names))
        assert all(operation["summary"] for path in description["paths"].values() for operation in path.values())


def routed() -> Iterator[str]:
    """Every path under /v1 and /auth that Django routes to a view of its own, parameters left empty."""
    for pattern in get_resolver().url_patterns:
        for entry in pattern.url_patterns if isinstance(pattern, URLResolver) else [pattern]:
            path = f"/{pattern.pattern if entry is not pattern else ''}{entry.pattern}"
            if path.startswith(("/v1/", "/auth/")):
                yield re.sub(r"<.*?>", "{}", path)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # WhiteNoise's files, under ASGI
class TestDocs:
    def get(self, url: str) -> requests.Response:
        answer = requests.get(url, timeout=SECONDS)
        assert answer.status_code == 200, url
        return answer

    def loaded(self, page: requests.Response) -> list[str]:
        found = re.findall(r"""(?:src|href)="([^"]+)\"""", page.text)
        assert len(found) >= 4
        return [urljoin(page.url, path) for path in found]

    def test_loads_from_our_own_origin_alone(self, faces: service.Running) -> None:
        page = self.get(f"{faces.url}/api/docs")
        assert re.findall(r"""(?:https?:)?//[^\s"'<>]+""", page.text) == []
        for url in self.loaded(page):
            assert url.startswith(f"{faces.url}/")
            assert len(self.get(url).content) > 100

    def test_shows_this_schema_without_a_script_in_the_page(self, faces: service.Running) -> None:
        """A strict content security policy runs scripts from files only."""
        page = self.get(f"{faces.url}/api/docs")
        assert "<script>" not in page.text
        own = [url for url in re.findall(r'<script[^>]+src="([^"]+)"', page.text) if "/static/" not in url]
        assert len(own) == 1
        assert '"/api/schema"' in self.get(urljoin(page.url, own[0])).text


def check_answer(case: Case, response: schemathesis.Response, mode: GenerationMode) -> None:
    said = f"{response.status_code} {response.content[:500]!r} to {case.as_curl_command()}"
    assert response.status_code != 500, said
    documented = case.operation.definition.raw["responses"]
    assert str(response.status_code) in documented, said
    case.validate_response(response, checks=[response_schema_conformance, content_type_conformance])
    if case.operation.label == CHAT and mode == GenerationMode.POSITIVE and response.status_code == 400:
        detail = response.json()["detail"]
        assert list(detail) == ["stream_options"] or "too large" in detail, said


class Caller:
    """A customer with credit, a model to call, and a key to read and change."""

    def __init__(self, faces: service.Running, kind: str) -> None:
        self.user = world.account(credit=10**6 * world.USD)
        self.model = world.model("echo:", output_price_nanousd=0).model
        faces.forget_routes()
        key = world.key(self.user)
        self.target = world.key(self.user, parent=key)
        self.headers = {"authorization": f"Bearer {world.jwt(self.user) if kind == 'JWT' else key.text}"}

    def aim(self, case: Case) -> None:
        """Let what was made up name things that are there, so that it comes further than a 404."""
        for name in [name for name in case.headers if name.lower() == "authorization"]:
            del case.headers[name]
        if case.operation.label == CHAT and isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = self.model
        for name, value in (("key_id", str(self.target.id)), ("model", self.model)):
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = value


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"])
@pytest.mark.parametrize("kind", ["JWT", "key"])
def test_nothing_sent_makes_a_bug_show(
    faces: service.Running, description: dict[str, Any], kind: str, mode: GenerationMode
) -> None:
    """No 500 at all, and no other answer that the description does not name, with a body of the kind it names."""
    caller = Caller(faces, kind)
    print(
        "The examples are derived from the test itself, the same in every run; a failing one is printed as a curl command."
    )
    tried = {}
    for found in schemathesis.openapi.from_dict(description).get_all_operations():
        operation = found.ok()
        tried[operation.label] = collections.Counter[int]()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Case) -> None:
            caller.aim(case)
            response = case.call(base_url=faces.url, headers=caller.headers, timeout=SECONDS)
            tried[case.operation.label][response.status_code] += 1
            check_answer(case, response, mode)

        with contextlib.suppress(Unsatisfiable):  # an operation that takes nothing takes nothing wrong
            check()
    print(json.dumps(tried, indent=1))
    assert tried[CHAT][200 if mode == GenerationMode.POSITIVE else 400] >= EXAMPLES // 4
