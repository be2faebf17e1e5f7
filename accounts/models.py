"""Who you are: the account, its wallets, and the nonces somebody tried to sign in with."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Upper
from uuid_utils.compat import uuid7


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str | None = None, password: str | None = None, **fields: Any) -> "User":
        user = self.model(username=username or None, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(username, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """An account. Everything refers to it by id, never by address, so that wallets can be added, moved and erased.

    A customer signs in with a wallet and has no user name; `username` and a password are for operators.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = models.CharField(max_length=150, unique=True, null=True, blank=True)
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    is_frozen = models.BooleanField(default=False, help_text="Stops chat and key making at once; running calls finish.")
    frozen_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = "account"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], condition=models.Q(is_frozen=True), name="account_frozen"),
            models.Index(fields=["id"], condition=models.Q(is_active=False), name="account_inactive"),
            models.Index(fields=["id"], condition=models.Q(is_staff=True), name="account_staff"),
            models.Index(OpClass(Upper("username"), name="text_pattern_ops"), name="account_username_start"),
            models.Index(OpClass(Upper("email"), name="text_pattern_ops"), name="account_email_start"),
        ]

    def __str__(self) -> str:
        return self.username or str(self.id)


class Wallet(models.Model):
    """An address that signs in to an account. A plain wallet is its address on every chain (`chain_id` null); a contract
    wallet is (address, chain), because the same address may belong to somebody else elsewhere."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(User, on_delete=models.PROTECT, related_name="wallets")
    address = models.CharField(max_length=42, help_text="Lower case; shown with its EIP-55 checksum.")
    chain_id = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_sign_in_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["address", "chain_id"], nulls_distinct=False, name="one_account_per_wallet"
            ),
            models.CheckConstraint(
                condition=models.Q(address__regex=r"^0x[0-9a-f]{40}$"), name="wallet_address_is_lower_case_hex"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["address"], opclasses=["text_pattern_ops"], name="wallet_address_start"),
        ]

    def __str__(self) -> str:
        return self.address


class UsedNonce(models.Model):
    """A nonce of ours that somebody presented, whatever came of it: the row is what makes it work once. Pruned after expiry."""

    nonce = models.CharField(primary_key=True, max_length=96)
    address = models.CharField(max_length=42, db_index=True)
    attempted_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.nonce
