"""An upstream is one that calls can use, and what it lets through cannot change what a call costs."""

from typing import Any

import pytest

from billing import upstreams
from billing.models import Upstream
from faces.lib.errors import InvalidInput

pytestmark = pytest.mark.django_db

URL = "https://u.example/v1"


def problems(name: str = "u", **changes: Any) -> Any:
    """Fields that a new upstream is refused for; it is not there afterwards."""
    with pytest.raises(InvalidInput) as caught:
        upstreams.save(name=name, changes={"base_url": URL, **changes})
    assert not Upstream.objects.exists()
    assert isinstance(caught.value.detail, dict)
    return set(caught.value.detail)


class TestSave:
    def test_adds_and_then_changes(self) -> None:
        row, is_new = upstreams.save(name="u", changes={"base_url": URL})
        assert (is_new, row.timeout_seconds, row.on_hangup, row.pass_fields) == (True, 600, "drain", [])
        row, is_new = upstreams.save(name="u", changes={"timeout_seconds": 5})
        assert (is_new, row.base_url, row.timeout_seconds) == (False, URL, 5)
        assert Upstream.objects.count() == 1

    def test_needs_an_address_for_a_new_one(self) -> None:
        with pytest.raises(InvalidInput, match="'u' yet"):
            upstreams.save(name="u", changes={"timeout_seconds": 5})
        assert not Upstream.objects.exists()

    def test_changes_nothing_when_refused(self) -> None:
        upstreams.save(name="u", changes={"base_url": URL})
        before = Upstream.objects.values().get()
        with pytest.raises(InvalidInput):
            upstreams.save(name="u", changes={"timeout_seconds": 5, "on_hangup": "nope"})
        assert Upstream.objects.values().get() == before


class TestCheck:
    @pytest.mark.parametrize(
        "url", [URL, "http://127.0.0.1:8080", "http://[::1]:11434/v1", "https://u.example:8443/a/b/"]
    )
    def test_takes_an_address(self, url: str) -> None:
        assert upstreams.save(name="u", changes={"base_url": url})[1]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "u.example",
            "//u.example",
            "file:///etc/passwd",
            "http://",
            "http://:80",
            "http://u.example:0",
            "http://u.example:65536",
            "http://u.example:x",
            "http://[::1",
            "https://key@u.example",
            "https://u.example/v1?key=1",
            "https://u.example/v1#a",
            "https://u.example/\n",
            "https://u.example/" + "a" * 500,
            "echo:v1",
        ],
    )
    def test_refuses_an_address_no_call_could_use(self, url: str) -> None:
        assert problems(base_url=url) == {"base_url"}

    def test_knows_the_echo_model_in_development_only(self, settings: Any) -> None:
        settings.DEVELOPMENT = False
        assert problems(base_url="echo:") == {"base_url"}
        settings.DEVELOPMENT = True
        assert upstreams.save(name="u", changes={"base_url": "echo:"})[1]

    @pytest.mark.parametrize("field", sorted(upstreams.MONEY_FIELDS))
    def test_never_lets_a_field_through_that_money_depends_on(self, field: str) -> None:
        assert problems(pass_fields=["top_k", field]) == {"pass_fields"}

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"timeout_seconds": 0}, "timeout_seconds"),
            ({"timeout_seconds": 86_401}, "timeout_seconds"),
            ({"on_hangup": "ignore"}, "on_hangup"),
            ({"pass_fields": [""]}, "pass_fields"),
            ({"api_key_env": "A", "api_key_file": "/b"}, "api_key_file"),
            ({"api_key_env": "sk-proj-1"}, "api_key_env"),
            ({"api_key_env": "A" * 101}, "api_key_env"),
            ({"api_key_env": "FACES_SECRET_KEY"}, "api_key_env"),
            ({"api_key_env": "DATABASE_URL"}, "api_key_env"),
            ({"api_key_file": "/" + "a" * 500}, "api_key_file"),
            ({"api_key_file": "/a\nb"}, "api_key_file"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, changes: dict[str, Any], field: str) -> None:
        assert problems(**changes) == {field}

    @pytest.mark.parametrize("name", ["", "-u", "a b", "ä", "a" * 101])
    def test_refuses_a_name_no_command_could_say(self, name: str) -> None:
        assert problems(name) == {"name"}
