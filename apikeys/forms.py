"""The form of a key, read by the API's own rules."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from apikeys.authentication import REASONS, PaymentRequired, Unauthorized
from apikeys.fields import MAX_ENTRIES, AllowlistField, NameField, UsdField
from apikeys.issuing import Changes, TooManyLevels
from apikeys.models import ApiKey
from apikeys.origins import InvalidEntry, parse_entry
from apikeys.visibility import KeyNotFound
from faces.lib.errors import FacesError
from faces.lib.ids import uuid_of
from faces.lib.money import usd_text

DOLLARS: Final = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+", re.ASCII)
LINE_END: Final = re.compile(r"\r\n|\r|\n")
FIELDS: Final = {"name": "name", "budget_usd": "budget_nanousd", "allowlist": "allowlist"}
"""What a field of the form is called in `issuing`."""
NUMBERS: Final = {2: "Two", 3: "Three", 4: "Four"}
WHOLE: Final = ""
"""Where a refusal stands that is about no field."""


@dataclass(slots=True)
class KeyForm:
    """What was typed, what it means, and what is wrong with it, by field."""

    name: str = ""
    budget_usd: str = ""
    allowlist: str = ""
    parent: str = ""
    was: dict[str, str] = field(default_factory=dict)
    """What the fields held when the page was made, sent along with the form."""
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of_key(cls, key: ApiKey) -> "KeyForm":
        """The form as it stands before anything is typed."""
        budget = "" if key.budget_nanousd is None else usd_text(key.budget_nanousd)
        allowlist = "\n".join(key.allowlist)
        was = {"name": key.name, "budget_usd": budget, "allowlist": allowlist}
        return cls(name=key.name, budget_usd=budget, allowlist=allowlist, was=was)

    @classmethod
    def of_post(cls, data: QueryDict) -> "KeyForm":
        """The form as it was sent, read: `values` for `issuing`, or `errors`."""
        form = cls(
            name=_unix(data.get("name")),
            budget_usd=_unix(data.get("budget_usd")),
            allowlist=_unix(data.get("allowlist")),
            parent=_unix(data.get("parent")),
            was={name: _unix(data[f"{name}_was"]) for name in FIELDS if f"{name}_was" in data},
        )
        form._take("name", form._name)
        form._take("budget_usd", form._budget)
        form._take("allowlist", form._allowlist)
        form._take("parent", form._parent)
        return form

    @property
    def is_valid(self) -> bool:
        return not self.errors

    @property
    def changes(self) -> Changes:
        """The values that are not as the page showed them: what was left alone may have been changed elsewhere since, and
        an old page must not change it back."""
        touched = {FIELDS[name] for name in FIELDS if getattr(self, name) != self.was.get(name)}
        return cast(Changes, {name: value for name, value in self.values.items() if name in touched})

    @property
    def parent_id(self) -> UUID | None:
        return uuid_of(self.parent)

    @property
    def summary(self) -> str:
        count = len(self.errors)
        return "One field needs another look." if count == 1 else f"{NUMBERS[count]} fields need another look."

    @property
    def whole(self) -> list[str]:
        """What is wrong with the form as a whole."""
        return self.errors.get(WHOLE, [])

    def refuse(self, error: FacesError) -> None:
        """Put a refusal of `issuing` beside the field it is about."""
        if isinstance(error, PaymentRequired) and error.code == "key_frozen":
            where, detail = "parent", "That key, or one above it, is frozen; unfreeze it, or choose another"
        elif isinstance(error, PaymentRequired):
            where, detail = WHOLE, REASONS[error.code]
        elif isinstance(error, KeyNotFound | Unauthorized):
            where, detail = "parent", "That key is no longer there; choose another, or no parent"
        elif isinstance(error.detail, dict):
            self.errors |= error.detail
            return
        else:
            where, detail = ("parent" if isinstance(error, TooManyLevels) else WHOLE), error.detail
        self.errors[where] = [detail]

    def _take(self, name: str, read: Callable[[], Any]) -> None:
        try:
            value = read()
        except ValidationError as error:
            self.errors[name] = [str(sentence) for sentence in cast(list[str], error.detail)]
        else:
            if name in FIELDS:
                self.values[FIELDS[name]] = value

    def _name(self) -> str:
        words = 'Write a name of 1 to 100 characters, for example "web shop"'
        return NameField(error_messages={"invalid": words}).to_internal_value(self.name)

    def _budget(self) -> int | None:
        if not self.budget_usd.strip():
            return None
        text = self.budget_usd.strip().removeprefix("$")
        if text.startswith(("-", "−")):
            raise ValidationError("A cap cannot be negative. Use 0 for a key that may not spend at all.")
        if DOLLARS.fullmatch(text) is None:
            raise ValidationError("Write dollars with a point before the cents and no commas, for example 1250.00")
        return UsdField().to_internal_value(Decimal(text))

    def _allowlist(self) -> list[str]:
        lines = [(number, line.strip()) for number, line in enumerate(self.allowlist.split("\n"), 1) if line.strip()]
        if len(lines) > MAX_ENTRIES:
            return AllowlistField().to_internal_value([line for _, line in lines])
        wrong = []
        for number, line in lines:
            try:
                parse_entry(line)
            except InvalidEntry as error:
                wrong.append(f"Line {number}: {error}")
        if wrong:
            raise ValidationError(wrong)
        return AllowlistField().to_internal_value([line for _, line in lines])

    def _parent(self) -> None:
        if self.parent and self.parent_id is None:
            raise ValidationError("Choose a key of the list, or no parent")


def _unix(text: Any) -> str:
    """A field of a form, "" if it was not sent, with line ends as LF: browsers send CR LF."""
    return LINE_END.sub("\n", text or "")
