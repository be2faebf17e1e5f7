"""Pages of the admin that do one thing with money: a form, one call of the domain, and its result as a message."""

from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from faces.lib.errors import FacesError


class Reason(forms.CharField):
    """Why: required, kept in the ledger and the log, read by the customer."""

    def __init__(self) -> None:
        super().__init__(
            max_length=300,
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
            help_text="Stands in the customer's statement and in the audit log.",
        )


def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied (403) unless the operator has it."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def refuse(form: forms.BaseForm, error: FacesError) -> int:
    """Put a refusal of the domain beside the fields it names; its status."""
    detail = {NON_FIELD_ERRORS: [error.detail]} if isinstance(error.detail, str) else error.detail
    for field, sentences in detail.items():
        form.add_error(field if field in form.fields else None, list(sentences))
    return error.status


def page(
    admin: ModelAdmin,  # type: ignore[type-arg]
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    return render(
        request,
        template,
        {**admin.admin_site.each_context(request), "opts": admin.opts, **context},
        status=status,
    )
