"""How an operator finds money rows, each way by an index: by account, wallet, id or reference."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin import ListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import addresses
from accounts.models import User, Wallet
from billing import days
from faces.lib.admin import ReadOnlyAdmin
from faces.lib.errors import InvalidInput
from faces.lib.ids import uuid_of


def accounts_of(text: str) -> list[UUID] | None:
    """The accounts meant by an account's id or a wallet's address; None if the text is neither."""
    identifier = uuid_of(text)
    if identifier is not None:
        return [identifier] if User.objects.filter(id=identifier).exists() else None
    try:
        address = addresses.parse(text)
    except addresses.InvalidAddress:
        return None
    return list(Wallet.objects.filter(address=address).values_list("account_id", flat=True))


class MoneyAdmin(ReadOnlyAdmin):
    """Rows that only the domain writes, found by their account or, by `found`, in a way of their own."""

    search_fields: ClassVar[tuple[str, ...]] = ("account_id",)
    """Django shows a search only if there are some; `get_search_results` decides."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = search_term.strip()
        if not wanted:
            return queryset, False
        owners = accounts_of(wanted)
        if owners is not None:
            return queryset.filter(account_id__in=owners), False
        return self.found(queryset, wanted, uuid_of(wanted)), False

    def found(self, rows: QuerySet[Any], text: str, identifier: UUID | None) -> QuerySet[Any]:
        """The rows meant by an id that is no account's or by another text."""
        return rows.none()


class DayRange(ListFilter):
    """A range of UTC days, narrowed by the id's index and decided by the row's own time."""

    title = "UTC days"
    template = "admin/billing/day_range.html"
    parameter_names = ("start_date", "end_date")
    time_field = "created_at"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.problem = ""
        self.span: days.Days | None = None
        query: dict[str, str] = {}
        for name in self.parameter_names:
            values = params.pop(name, None)
            if values and values[-1]:
                query[name] = values[-1]
        self.used_parameters.update(query)
        try:
            self.span = days.open_of_query(query, today=timezone.now().date())
        except InvalidInput as error:
            self.problem = error.sentence

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameter_names)

    def choices(self, changelist: ChangeList) -> Any:
        """The other parameters of the page, which the form of the two days sends along."""
        kept = {name: values for name, values in changelist.filter_params.items() if name not in self.used_parameters}
        pairs = [(name, value) for name, values in kept.items() for value in values if name not in ("p", "e")]
        return [*pairs, ("q", changelist.query)] if changelist.query else pairs

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.problem:
            return queryset.none()
        if self.span is None:
            return queryset
        first, last = self.span.ids
        moments = {f"{self.time_field}__gte": self.span.start, f"{self.time_field}__lt": self.span.end}
        return queryset.filter(id__gte=first, id__lt=last, **moments)


class PlacedRange(DayRange):
    title = "UTC days of the call"
    time_field = "placed_at"
