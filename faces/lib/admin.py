"""The base of every list in the admin: its cost does not grow with the table, and what only the domain writes has no form."""

from typing import Any, ClassVar, Final, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

MOST_LISTED: Final = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts and shows at most the first 10,000 rows of a list, whatever the table has grown to: older rows are found by id,
    account, address or reference."""

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        return rows.order_by()[:MOST_LISTED].count()


class BoundedChangeList(ChangeList):
    """Sorts by no column but those the admin names in `sortable_by`, not even when the address asks for another: a sort
    without an index reads the whole table."""

    def get_ordering_field(self, field_name: Any) -> Any:
        if field_name not in (self.sortable_by or ()):
            return None
        return super().get_ordering_field(field_name)


class BoundedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that counts no whole table. A column named in `sortable_by`, a filter and the ordering need an index each."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by: ClassVar[tuple[str, ...]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList


class ReadOnlyAdmin(BoundedAdmin):
    """Rows to look at: what may be done to them are actions that go through the domain modules. Not for superusers either."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
