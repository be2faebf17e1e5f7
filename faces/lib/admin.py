"""The base of every list in the admin: its cost does not grow with the table, and what only the domain writes has no form."""

from typing import Any, ClassVar, Final, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property

MOST_LISTED: Final = 10_000
NUL: Final = "\x00"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts and shows at most the first 10,000 rows of a list, whatever the table has grown to: older rows are found by id,
    account, address or reference."""

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        return rows.order_by()[:MOST_LISTED].count()


def _change(form: Any, name: str) -> str:
    title = form.fields[name].label if name in form.fields else name
    title = str(title or name.replace("_", " ")).lower()
    if "password" in name or "secret" in name:
        return title
    before, after = form.get_initial_for_field(form.fields[name], name), form.cleaned_data.get(name)
    return f"{title} from {_said(before)} to {_said(after)}"


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, QuerySet | list | tuple | set):
        return ", ".join(sorted(str(one) for one in value)) or "none"
    if isinstance(value, Model):
        value = value.pk
    return "nothing" if value in (None, "") else f"“{value}”"


class BoundedChangeList(ChangeList):
    """Sorts by no column but those the admin names in `sortable_by`, not even when the address asks for another: a sort
    without an index reads the whole table."""

    @property
    def is_cut(self) -> bool:
        """Whether there may be more rows than are counted and shown."""
        return self.result_count >= MOST_LISTED

    def get_filters_params(self, params: Any = None) -> Any:
        """Raises IncorrectLookupParameters for a character that no text in PostgreSQL has."""
        filters: dict[str, list[str]] = super().get_filters_params(params)
        if any(NUL in text for values in filters.values() for text in values):
            raise IncorrectLookupParameters
        return filters

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

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """Without Django's line on the Control key where two boxes with arrows between them are what one chooses in."""
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name in (*self.filter_horizontal, *self.filter_vertical):
            field.help_text = kwargs.get("help_text", db_field.help_text)
        return field

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return None if NUL in object_id else super().get_object(request, object_id, from_field)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only the filters that are offered: a condition written into the address by hand has no index to help it."""
        offered: set[str] = set()
        for entry in self.list_filter:
            if isinstance(entry, str):
                offered |= {entry, f"{entry}__exact"}
            elif isinstance(entry, tuple):
                offered |= {f"{entry[0]}__{end}" for end in ("gte", "lt", "isnull")}
            else:
                offered |= set(getattr(entry, "parameter_names", ()) or (getattr(entry, "parameter_name", ""),))
        return lookup in offered

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *more: Any, **named: Any
    ) -> HttpResponse | None:
        """Raises BadRequest if what was chosen can be the id of no row."""
        for text in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(text)
            except ValidationError:
                raise BadRequest(f"{text!a} is no id of this list; nothing was done") from None
            if NUL in text:
                raise BadRequest("No id has a NUL; nothing was done")
        return super().response_action(request, queryset, *more, **named)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """What the log says of a saved form: each field with what it was and what it became, never a secret."""
        if add:
            return "Added."
        changes = [_change(form, name) for name in form.changed_data]
        return f"Changed {'; '.join(changes)}." if changes else "Saved without a change."


class ReadOnlyAdmin(BoundedAdmin):
    """Rows to look at: what may be done to them are actions that go through the domain modules. Not for superusers either."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
