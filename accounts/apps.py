from django.apps import AppConfig
from django.db.models.signals import post_migrate

from accounts import groups


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(groups.after_migrate, dispatch_uid="accounts.groups")
