import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

from accounts import groups
from accounts.groups import ADMIN, ROLES
from accounts.models import User

pytestmark = pytest.mark.django_db

KEYS_TO_THE_HOUSE = (
    "accounts.add_user",
    "accounts.add_wallet",
    "accounts.change_wallet",
    "accounts.delete_wallet",
    "auth.add_group",
    "auth.change_group",
    "auth.change_permission",
    "admin.change_logentry",
    "admin.delete_logentry",
    "billing.change_transfer",
    "billing.change_creditaccount",
)


def held(role: str) -> set[str]:
    rows = Permission.objects.filter(group__name=role).select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


class TestRoles:
    def test_name_only_permissions_that_exist(self) -> None:
        rows = Permission.objects.select_related("content_type")
        existing = {f"{row.content_type.app_label}.{row.codename}" for row in rows}
        assert set(ADMIN) <= existing

    def test_contain_one_another(self) -> None:
        assert held("support") < held("finance") < held("admin")

    def test_see_all_that_is_ours_and_the_log(self) -> None:
        for name in ("accounts.view_user", "apikeys.view_apikey", "billing.view_hold", "admin.view_logentry"):
            assert name in held("support")

    def test_change_nothing_as_support(self) -> None:
        assert {name for name in held("support") if ".view_" not in name} == set()

    @pytest.mark.parametrize("name", KEYS_TO_THE_HOUSE)
    def test_leave_to_superusers(self, name: str) -> None:
        member = User.objects.create_user(is_staff=True)
        member.groups.set(Group.objects.filter(name__in=ROLES))
        assert not member.has_perm(name)


class TestAfterMigrate:
    def test_groups_are_there_once_and_may_be_written_again(self) -> None:
        before = {role: held(role) for role in ROLES}
        groups.write()
        assert {role: held(role) for role in ROLES} == before
        assert Group.objects.filter(name__in=ROLES).count() == len(ROLES)

    def test_a_model_made_later_is_seen_by_all(self) -> None:
        kind = ContentType.objects.create(app_label="billing", model="invoice")
        Permission.objects.create(content_type=kind, codename="view_invoice", name="Can view invoice")
        call_command("migrate", verbosity=0)
        assert all("billing.view_invoice" in held(role) for role in ROLES)

    def test_an_edited_role_is_restored_and_its_members_stay(self) -> None:
        member = User.objects.create_user(is_staff=True)
        support = Group.objects.get(name="support")
        member.groups.add(support)
        support.permissions.set(Permission.objects.filter(codename="change_group"))
        call_command("migrate", verbosity=0)
        assert "auth.change_group" not in held("support")
        assert member.groups.get() == support
