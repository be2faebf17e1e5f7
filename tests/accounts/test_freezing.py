import pytest
from uuid_utils.compat import uuid7

from accounts import freezing
from accounts.audit import Operator
from accounts.freezing import AccountNotFound, NotFrozen, OwnAccount
from accounts.models import User
from apikeys.authentication import PaymentRequired
from billing import holds
from faces.lib.errors import InvalidInput
from tests import world
from tests.accounts.people import log

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    return User.objects.create_user(is_staff=True, is_superuser=True)


def state(account: User) -> tuple[bool, str]:
    return User.objects.values_list("is_frozen", "frozen_reason").get(pk=account.pk)


def place(account: User) -> str:
    """Why a call of the account is refused; '' when it runs."""
    request = world.request(account, world.key(account), rates=world.flat(1))
    try:
        holds.place(request)
    except PaymentRequired as refusal:
        return refusal.code
    return ""


class TestFreeze:
    def test_stops_the_next_call_and_keeps_the_reason(self, operator: User) -> None:
        account = world.account(credit=world.USD)
        assert place(account) == ""
        freezing.freeze(account_id=account.pk, operator=Operator(operator.pk, "chargeback 77"))
        assert state(account) == (True, "chargeback 77")
        assert place(account) == "account_frozen"
        assert log(account) == [(operator, "Frozen. Reason: chargeback 77")]

    def test_of_a_frozen_account_changes_the_reason_and_says_both(self, operator: User) -> None:
        account = User.objects.create_user(is_frozen=True, frozen_reason="losses")
        freezing.freeze(account_id=account.pk, operator=Operator(operator.pk, "stolen card"))
        assert state(account) == (True, "stolen card")
        [(_, said)] = log(account)
        assert "“losses”" in said
        assert "stolen card" in said

    @pytest.mark.parametrize("reason", ["", "x" * 201])
    def test_needs_a_reason_of_at_most_200_characters(self, operator: User, reason: str) -> None:
        account = User.objects.create_user()
        with pytest.raises(InvalidInput, match="1 to 200"):
            freezing.freeze(account_id=account.pk, operator=Operator(operator.pk, reason))
        assert state(account) == (False, "")
        assert log(account) == []

    def test_refuses_ones_own_account(self, operator: User) -> None:
        with pytest.raises(OwnAccount, match="another operator"):
            freezing.freeze(account_id=operator.pk, operator=Operator(operator.pk, "oops"))
        assert state(operator) == (False, "")

    def test_refuses_an_unknown_account(self, operator: User) -> None:
        with pytest.raises(AccountNotFound):
            freezing.freeze(account_id=uuid7(), operator=Operator(operator.pk, "who"))


class TestUnfreeze:
    def test_lets_calls_run_again_and_logs_what_it_was_frozen_for(self, operator: User) -> None:
        account = world.account(credit=world.USD, is_frozen=True, frozen_reason="losses")
        assert place(account) == "account_frozen"
        freezing.unfreeze(account_id=account.pk, operator=Operator(operator.pk, "upstream was wrong"))
        assert state(account) == (False, "")
        assert place(account) == ""
        assert log(account) == [(operator, "Unfrozen; it was frozen for “losses”. Reason: upstream was wrong")]

    def test_refuses_an_account_that_is_not_frozen(self, operator: User) -> None:
        account = User.objects.create_user()
        with pytest.raises(NotFrozen):
            freezing.unfreeze(account_id=account.pk, operator=Operator(operator.pk, "mistake"))
        assert log(account) == []
