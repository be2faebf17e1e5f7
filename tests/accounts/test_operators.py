from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from accounts import operators
from accounts.models import User
from accounts.operators import LastSuperuser, OwnAccount
from tests.races import crowd


@pytest.fixture
def _nobody_else() -> None:
    """Tests that commit leave superusers behind."""
    User.objects.filter(is_superuser=True).update(is_superuser=False)


def superuser() -> User:
    return User.objects.create_user(is_staff=True, is_superuser=True)


@pytest.mark.django_db
@pytest.mark.usefixtures("_nobody_else")
class TestCheck:
    @pytest.mark.parametrize("flag", ["is_active", "is_staff"])
    def test_refuses_to_shut_oneself_out(self, flag: str) -> None:
        me, _ = superuser(), superuser()
        with pytest.raises(OwnAccount, match="ask another operator"):
            operators.check(account_id=me.pk, flags={flag: False}, operator_id=me.pk)

    @pytest.mark.parametrize("flag", ["is_active", "is_staff", "is_superuser"])
    def test_refuses_to_take_anything_from_the_last_superuser(self, flag: str) -> None:
        last, other = superuser(), User.objects.create_user(is_staff=True)
        with pytest.raises(LastSuperuser, match="make another one first"):
            operators.check(account_id=last.pk, flags={flag: False}, operator_id=other.pk)

    def test_counts_only_superusers_who_can_work(self) -> None:
        last = superuser()
        for fields in ({"is_active": False, "is_staff": True}, {"is_staff": False}):
            User.objects.create_user(is_superuser=True, **fields)
        with pytest.raises(LastSuperuser):
            operators.check(account_id=last.pk, flags={"is_superuser": False}, operator_id=None)

    def test_lets_one_of_two_go(self) -> None:
        one, two = superuser(), superuser()
        operators.check(account_id=one.pk, flags={"is_superuser": False, "is_staff": False}, operator_id=two.pk)

    def test_lets_a_customer_be_deactivated(self) -> None:
        last, account = superuser(), User.objects.create_user()
        operators.check(account_id=account.pk, flags={"is_active": False}, operator_id=last.pk)


@pytest.mark.django_db
@pytest.mark.usefixtures("_nobody_else")
class TestMake:
    def test_gives_exactly_the_role_asked_for_last(self) -> None:
        superuser()
        account, own = User.objects.create_user(), Group.objects.create(name="night shift")
        account.groups.add(own)
        for role in ("support", "finance", None, "admin"):
            operators.make(account_id=account.pk, role=role)
            account.refresh_from_db()
            names = {group.name for group in account.groups.all()}
            assert (account.is_staff, account.is_superuser) == (True, role is None)
            assert names == {"night shift"} | ({role} if role else set())

    def test_keeps_the_last_superuser(self) -> None:
        last = superuser()
        with pytest.raises(LastSuperuser):
            operators.make(account_id=last.pk, role="support")
        last.refresh_from_db()
        assert (last.is_superuser, last.groups.count()) == (True, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_nobody_else")
class TestTwoAtOnce:
    def test_leave_one_superuser(self) -> None:
        one, two = superuser(), superuser()

        def demote(account: User, operator: User) -> str:
            with transaction.atomic():
                operators.check(account_id=account.pk, flags={"is_superuser": False}, operator_id=operator.pk)
                User.objects.filter(pk=account.pk).update(is_superuser=False)
            return "done"

        answers = crowd.run([partial(demote, one, two), partial(demote, two, one)])
        assert sorted(type(answer).__name__ for answer in answers) == ["LastSuperuser", "str"]
        assert User.objects.filter(is_superuser=True, pk__in=(one.pk, two.pk)).count() == 1
