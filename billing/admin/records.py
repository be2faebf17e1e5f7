"""What was found when the books were recomputed."""

from django.contrib import admin

from billing.models import LedgerCheck
from faces.lib.admin import ReadOnlyAdmin


@admin.register(LedgerCheck)
class LedgerCheckAdmin(ReadOnlyAdmin):
    list_display = ("checked_at", "difference_count", "duration_seconds")
    ordering = ("-checked_at",)
    fields = ("checked_at", "difference_count", "duration_seconds", "findings")
