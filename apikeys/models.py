"""What a program may do: a key, its cap, its origins, and the chain of keys above it."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Upper
from uuid_utils.compat import uuid7

MAX_LEVELS = 8
MAX_LIVE_KEYS = 10_000


class KeyDirectory(models.Model):
    """Public id of a key → its account and row. Written once and never changed, so that any process may cache it for ever
    and a sharded database can find the account before it opens the key."""

    public_id = models.CharField(primary_key=True, max_length=32)
    account_id = models.UUIDField()
    key_id = models.UUIDField(unique=True)

    def __str__(self) -> str:
        return self.public_id


class ApiKey(models.Model):
    """A key. `spent` and `held` count its own calls and those of every key below it; the database refuses any statement that
    would raise their sum past the cap. In SQL the primary key is (account_id, id)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_keys", db_index=False
    )
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children", db_constraint=False
    )
    ancestor_ids = ArrayField(
        models.UUIDField(), default=list, editable=False, help_text="Root first, without itself; never changes."
    )
    name = models.CharField(max_length=100)
    public_id = models.CharField(max_length=32, editable=False)
    digest = models.BinaryField(max_length=32, editable=False, help_text="SHA-256 of the whole key.")
    budget_nanousd = models.BigIntegerField(null=True, blank=True)
    spent_nanousd = models.BigIntegerField(default=0, editable=False)
    held_nanousd = models.BigIntegerField(default=0, editable=False)
    allowlist = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    is_frozen = models.BooleanField(default=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(budget_nanousd__gte=0), name="key_budget_not_negative"),
            models.CheckConstraint(condition=models.Q(spent_nanousd__gte=0), name="key_spent_not_negative"),
            models.CheckConstraint(condition=models.Q(held_nanousd__gte=0), name="key_held_not_negative"),
            models.CheckConstraint(condition=models.Q(ancestor_ids__len__lt=MAX_LEVELS), name="key_at_most_8_levels"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], name="apikey_id"),
            models.Index(
                fields=["account", "-id"], condition=models.Q(revoked_at__isnull=True), name="apikey_live_newest"
            ),
            # For the operators' lists. None has a column that a call writes (spent, held, last use): those rows could then no
            # longer be updated in place.
            models.Index(fields=["id"], condition=models.Q(revoked_at__isnull=True), name="apikey_live"),
            models.Index(fields=["id"], condition=models.Q(revoked_at__isnull=False), name="apikey_revoked"),
            models.Index(fields=["id"], condition=models.Q(is_frozen=True), name="apikey_frozen"),
            models.Index(fields=["id"], condition=models.Q(budget_nanousd__isnull=False), name="apikey_capped"),
            models.Index(fields=["id"], condition=models.Q(budget_nanousd__isnull=True), name="apikey_uncapped"),
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="apikey_name_start"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def prefix(self) -> str:
        """What may be shown of the key: enough to recognise it, useless to call with."""
        return f"sk-faces-{self.public_id}"
