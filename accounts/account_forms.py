"""The forms about an account in the admin."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
from django.core.exceptions import ValidationError
from django.forms import ModelForm

from accounts import addresses, operators
from accounts.addresses import InvalidAddress
from accounts.models import User, Wallet
from faces.lib.errors import FacesError

FLAGS = ("is_active", "is_staff", "is_superuser")


class NewOperatorForm(AdminUserCreationForm):  # type: ignore[type-arg]
    """Accounts made by hand are operators: customers open theirs by signing in, and need neither name nor password."""

    class Meta:
        model = User
        fields = ("username",)


class AccountForm(UserChangeForm):  # type: ignore[type-arg]
    """What the page showed is sent along with it, so that an old page gives no right back that was taken meanwhile."""

    operator_id: ClassVar[UUID | None] = None
    """Who changes it; set on the class that the admin makes for a request."""

    class Meta:
        model = User
        fields = "__all__"
        labels: ClassVar[dict[str, str]] = {
            "is_staff": "May open the admin",
            "is_superuser": "May do everything",
            "groups": "Permission groups",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "is_staff": "Sees and does there what the permission groups below allow.",
            "is_superuser": "Whatever the groups say, and gives rights to others too.",
            "groups": "What an operator may do is all that their groups allow together.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_told = not self.is_bound or any(name.startswith("initial-") for name in self.data)
        for field in self.fields.values():
            field.show_hidden_initial = is_told and not field.disabled  # the password's hash stays here

    def _save_m2m(self) -> None:
        if "groups" not in self.changed_data:
            self.cleaned_data.pop("groups", None)
        super()._save_m2m()  # type: ignore[misc]

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] | None = super().clean()
        flags = {name: bool(self.cleaned_data[name]) for name in FLAGS if name in self.changed_data}
        try:
            operators.check(account_id=self.instance.pk, flags=flags, operator_id=self.operator_id)
        except FacesError as error:
            self.add_error(None, str(error.detail))
        return cleaned


class WalletForm(ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Wallet
        fields = ("account", "address", "chain_id")

    def clean_address(self) -> str:
        """As a person writes it, with or without the checksum's capitals; kept in lower case."""
        try:
            return addresses.parse(self.cleaned_data["address"])
        except InvalidAddress as error:
            raise ValidationError(error.problem) from None


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]
    def set_password_and_save(self, user: Any, password_field_name: str = "password1", commit: bool = True) -> Any:  # noqa: S107
        """Only the password: the ledger may have frozen the account since its row was read."""
        user.set_password(self.cleaned_data[password_field_name])
        if commit:
            user.save(update_fields=["password"])
        return user
