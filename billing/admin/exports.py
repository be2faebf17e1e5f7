"""A list as it is filtered, as CSV: all of it, in pages by key, so that memory stays flat and no snapshot is held open while a
slow download runs."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from apikeys import pages
from billing import csv_files
from billing.admin.finding import MoneyAdmin
from faces.lib.wire import Money

Columns = dict[str, Callable[[Any], Any]]


class ExportedAdmin(MoneyAdmin):
    change_list_template = "admin/billing/exported_list.html"
    exported: ClassVar[Columns] = {}
    """What stands in each column, by its head."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export)
        return [path("export/", view, name=f"{self._name}_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The rows that the same address without `export/` lists, newest first, without a bound."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:{self._name}_changelist"))
        lines = ([column(row) for column in self.exported.values()] for found in pages.every(rows) for row in found)
        return csv_files.stream(request, f"{self.opts.model_name}s.csv", list(self.exported), lines)

    @property
    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"


def exact(field: str) -> Callable[[Any], Money | None]:
    """A column of exact USD; empty where it is not known."""

    def column(row: Any) -> Money | None:
        nanousd = getattr(row, field)
        return None if nanousd is None else Money(nanousd)

    return column


def plain(field: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, field)
