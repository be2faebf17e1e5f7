"""Refunds: once a top-up, never more than was paid or is free, and the books add up after each."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models import User
from apikeys.authentication import PaymentRequired
from billing import corrections, holds, ledger, reconcile, refunds, topups
from billing.ledger import InsufficientCredit, ReferenceConflict
from billing.models import Party, TopUp, TopUpStatus, Transfer, TransferCode
from faces.lib.errors import InvalidInput
from tests import world
from tests.races import crowd

pytestmark = pytest.mark.django_db(transaction=True)


def paid(user: User, amount: int = 5 * world.USD) -> TopUp:
    order = topups.Order(amount_nanousd=amount, payment_ref=f"paid-{uuid7()}", address=None)
    return topups.record(account_id=user.id, key_id=None, recorded_by=user.id, order=order, now=timezone.now())


def refund(topup: TopUp, amount: int, *, operator: User, reason: str = "Asked for") -> refunds.Refunded:
    return refunds.refund(
        topup_id=topup.id, account_id=topup.account_id, amount_nanousd=amount, reason=reason, operator_id=operator.id
    )


def refunded(user: User) -> list[int]:
    rows = Transfer.objects.filter(account_id=user.id, code=TransferCode.REFUND)
    return list(rows.values_list("amount_nanousd", flat=True))


@pytest.fixture
def operator() -> User:
    return world.account(is_staff=True)


@pytest.fixture(autouse=True)
def _the_books_add_up(transactional_db: None) -> Iterator[None]:
    yield
    assert reconcile.differences() == []


class TestRefund:
    def test_takes_the_credit_back_to_where_the_payment_came_from(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        done = refund(topup, 2 * world.USD, operator=operator, reason=" Half was enough ")
        assert (done.state, done.balance_nanousd) == ("posted", 3 * world.USD)
        assert world.money(user) == (3 * world.USD, 0)
        row = Transfer.objects.get(account_id=user.id, id=done.transfer_id)
        assert (row.code, row.debit, row.credit, row.amount_nanousd, row.reference, row.reason) == (
            "refund",
            "customer",
            "external_clearing",
            2 * world.USD,
            f"refund:{topup.id}",
            "Half was enough",
        )
        topup.refresh_from_db()
        assert topup.refunded_nanousd == 2 * world.USD
        entry = LogEntry.objects.get(user_id=operator.id, object_id=str(topup.id))
        assert "0.00 → 2.00 USD of 5.00" in entry.change_message
        assert "Half was enough" in entry.change_message

    def test_again_by_the_same_amount_is_the_same_refund(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        first = refund(topup, 5 * world.USD, operator=operator)
        again = refund(topup, 5 * world.USD, operator=operator, reason="Clicked twice")
        assert (again.state, again.transfer_id) == ("replayed", first.transfer_id)
        assert (world.money(user), refunded(user)) == ((0, 0), [5 * world.USD])
        assert LogEntry.objects.filter(user_id=operator.id).count() == 1

    def test_again_by_another_amount_is_refused(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        refund(topup, world.USD, operator=operator)
        with pytest.raises(refunds.AlreadyRefunded, match=r"1\.00 USD of this top-up were refunded before"):
            refund(topup, 2 * world.USD, operator=operator)
        assert (world.money(user), refunded(user)) == ((4 * world.USD, 0), [world.USD])

    def test_takes_at_most_what_is_available_and_leaves_held_money(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        holds.place(world.request(user, rates=world.flat(2 * world.USD)))
        with pytest.raises(InsufficientCredit, match=r"3\.00 USD available \(2\.00 more are held"):
            refund(topup, 3 * world.USD + 1, operator=operator)
        assert (world.money(user), refunded(user)) == ((5 * world.USD, 2 * world.USD), [])
        topup.refresh_from_db()
        assert topup.refunded_nanousd == 0
        assert refunds.most(topup) == 3 * world.USD
        refund(topup, 3 * world.USD, operator=operator)
        assert world.money(user) == (2 * world.USD, 2 * world.USD)

    @pytest.mark.parametrize("amount", [0, -1, 5 * world.USD + 1])
    def test_refuses_an_amount_that_was_not_paid(self, operator: User, amount: int) -> None:
        user = world.account(credit=50 * world.USD)
        topup = paid(user)
        with pytest.raises(InvalidInput, match="amount_usd"):
            refund(topup, amount, operator=operator)
        assert (world.money(user), refunded(user)) == ((55 * world.USD, 0), [])

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 301, "a\nb", "\x00"])
    def test_refuses_a_reason_that_says_nothing(self, operator: User, reason: str) -> None:
        topup = paid(world.account())
        with pytest.raises(InvalidInput, match="reason"):
            refund(topup, 1, operator=operator, reason=reason)

    @pytest.mark.parametrize("status", [TopUpStatus.PENDING, TopUpStatus.FAILED])
    def test_refuses_a_top_up_that_brought_nothing(self, operator: User, status: str) -> None:
        user = world.account(credit=5 * world.USD)
        topup = TopUp.objects.create(
            account=user, amount_nanousd=world.USD, method=Party.CARD, status=status, created_at=timezone.now()
        )
        assert refunds.most(topup) == 0
        with pytest.raises(refunds.NotRefundable):
            refund(topup, world.USD, operator=operator)
        assert world.money(user) == (5 * world.USD, 0)

    def test_refuses_a_top_up_of_another_account(self, operator: User) -> None:
        topup, other = paid(world.account()), world.account(credit=5 * world.USD)
        with pytest.raises(refunds.TopUpNotFound):
            refunds.refund(
                topup_id=topup.id, account_id=other.id, amount_nanousd=1, reason="x", operator_id=operator.id
            )
        assert world.money(other) == (5 * world.USD, 0)


class TestAtOnce:
    def test_two_operators_refund_once(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        answers = crowd.run([partial(refund, topup, 3 * world.USD, operator=operator)] * 8)
        states = Counter(answer.state for answer in answers if isinstance(answer, refunds.Refunded))
        assert states == {"posted": 1, "replayed": 7}
        assert (world.money(user), refunded(user)) == ((2 * world.USD, 0), [3 * world.USD])

    def test_two_amounts_refund_one_of_them(self, operator: User) -> None:
        user = world.account()
        topup = paid(user)
        answers = crowd.run([partial(refund, topup, (1 + i % 2) * world.USD, operator=operator) for i in range(8)])
        kinds = Counter(type(answer) for answer in answers)
        assert kinds == {refunds.Refunded: 4, refunds.AlreadyRefunded: 4}
        topup.refresh_from_db()
        assert refunded(user) == [topup.refunded_nanousd]
        assert world.money(user) == (5 * world.USD - topup.refunded_nanousd, 0)

    def test_a_refund_and_calls_never_use_the_same_money(self, operator: User) -> None:
        for _ in range(4):
            user = world.account()
            topup = paid(user)
            place = partial(holds.place, world.request(user, rates=world.flat(world.USD)))
            answers = crowd.run([partial(refund, topup, 5 * world.USD, operator=operator), *[place] * 5])
            placed = sum(isinstance(answer, holds.Placed) for answer in answers)
            refused = sum(isinstance(answer, PaymentRequired) for answer in answers)
            if isinstance(answers[0], refunds.Refunded):
                assert (placed, refused, world.money(user)) == (0, 5, (0, 0))
            else:
                assert isinstance(answers[0], InsufficientCredit)
                assert (placed, refused, world.money(user)) == (5, 0, (5 * world.USD, 5 * world.USD))


class TestCheckLedger:
    def test_finds_a_refund_that_the_top_up_does_not_say(self) -> None:
        user = world.account()
        topup = paid(user)
        TopUp.objects.filter(id=topup.id).update(refunded_nanousd=7)
        found = [difference for difference in reconcile.differences() if difference.account_id == user.id]
        assert [(each.row_id, each.expected_nanousd, each.found_nanousd) for each in found] == [(topup.id, 7, 0)]
        self.post(user, topup, -6)
        found = [difference for difference in reconcile.differences() if difference.account_id == user.id]
        assert [(each.row_id, each.expected_nanousd, each.found_nanousd) for each in found] == [(topup.id, 7, 6)]
        TopUp.objects.filter(id=topup.id).update(refunded_nanousd=6)

    @staticmethod
    def post(user: User, topup: TopUp, amount: int) -> None:
        ledger.post(
            account_id=user.id,
            amount_nanousd=amount,
            counterparty=Party.EXTERNAL,
            code=TransferCode.REFUND,
            reference=f"refund:{topup.id}",
        )


class TestCorrect:
    def test_is_logged_with_what_changed_and_why(self, operator: User) -> None:
        user = world.account()
        give = partial(corrections.correct, account_id=user.id, reference="t1", operator_id=operator.id)
        assert give(amount_nanousd=world.USD, reason="Goodwill").state == "posted"
        assert give(amount_nanousd=world.USD, reason="Goodwill").state == "replayed"
        with pytest.raises(ReferenceConflict):
            give(amount_nanousd=2 * world.USD, reason="Goodwill")
        assert world.money(user) == (world.USD, 0)
        entry = LogEntry.objects.get(user_id=operator.id, object_id=str(user.id))
        assert entry.change_message == ("Credit corrected: balance 0.00 → 1.00 USD. Reference: t1. Reason: Goodwill")

    def test_sent_by_eight_at_once_is_done_and_logged_once(self, operator: User) -> None:
        user = world.account()
        give = partial(
            corrections.correct,
            account_id=user.id,
            amount_nanousd=world.USD,
            reference="t1",
            reason="Goodwill",
            operator_id=operator.id,
        )
        answers = crowd.run([give] * 8)
        states = Counter(answer.state for answer in answers if isinstance(answer, ledger.Posted))
        assert states == {"posted": 1, "replayed": 7}
        assert world.money(user) == (world.USD, 0)
        assert LogEntry.objects.filter(user_id=operator.id).count() == 1

    @pytest.mark.parametrize("amount", [0, 10**15, -(10**15)])
    def test_refuses_an_amount_that_is_none(self, amount: int) -> None:
        with pytest.raises(InvalidInput, match="amount_usd"):
            corrections.correct(account_id=world.account().id, amount_nanousd=amount, reference="t", reason="x")

    def test_takes_no_more_than_is_available(self, operator: User) -> None:
        user = world.account(credit=world.USD)
        with pytest.raises(InsufficientCredit, match=r"1\.00 USD available; nothing was taken"):
            corrections.correct(account_id=user.id, amount_nanousd=-world.USD - 1, reference="t", reason="Mistake")
        assert world.money(user) == (world.USD, 0)
