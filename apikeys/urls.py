"""`/v1/api-keys` and the pages under `/keys`, included at the root. The page of one key is billing's, which has its calls."""

from uuid import UUID

from django.urls import path, register_converter

from apikeys import views
from apikeys.api import KeyViewSet
from faces.lib.ids import uuid_of


class KeyId:
    """A key's id in a path, None if it is none: so that a bad id is not found in its turn, after the credential is judged."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UUID | None:
        return uuid_of(value)

    def to_url(self, value: UUID) -> str:
        return str(value)


register_converter(KeyId, "key_id")

urlpatterns = [
    path("v1/api-keys", KeyViewSet.as_view({"get": "list", "post": "create"})),
    path("v1/api-keys/current", KeyViewSet.as_view({"get": "current"})),
    path(
        "v1/api-keys/<key_id:key_id>",
        KeyViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
    ),
    path("keys", views.keys, name="keys"),
    path("keys/new", views.new, name="key-new"),
    path("keys/<uuid:key_id>/change", views.change, name="key-change"),
    path("keys/<uuid:key_id>/freeze", views.freeze, name="key-freeze"),
    path("keys/<uuid:key_id>/unfreeze", views.unfreeze, name="key-unfreeze"),
    path("keys/<uuid:key_id>/revoke", views.revoke, name="key-revoke"),
]
