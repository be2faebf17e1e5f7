from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from uuid_utils.compat import uuid7

from accounts.models import User
from apikeys.authentication import PaymentRequired, Unauthorized
from apikeys.models import ApiKey
from billing import holds
from billing.models import CreditAccount, Hold, Price, Transfer, TransferReference, Upstream
from billing.rates import Rates, Usage
from tests import world

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TOKEN_RATES = Rates(input=3 * world.USD, output=15 * world.USD, cached_input=300_000_000, cache_write=3_750_000_000)

MILLION = 10**6
PER_TOKEN = Rates(output=MILLION)


def refusal(request: holds.Request) -> str:
    with pytest.raises(PaymentRequired) as caught:
        holds.place(request)
    return caught.value.code


class TestPlace:
    def test_holds_the_most_the_call_can_cost(self) -> None:
        user = world.account(credit=world.USD)
        request = world.request(user, rates=TOKEN_RATES, prompt_bound=1001, output_limit=333, choices=3)
        placed = holds.place(request)
        # 1001 prompt tokens at the dearest input price (cache write), 3 x 333 output tokens, rounded up once.
        assert placed.amount_nanousd == -(-(1001 * 3_750_000_000 + 999 * 15_000_000_000) // 10**6)
        assert placed.output_limit == 333
        assert world.money(user) == (world.USD, placed.amount_nanousd)

    def test_counts_on_the_key_and_every_ancestor(self) -> None:
        user = world.account(credit=100)
        root = world.key(user, budget=50)
        middle = world.key(user, parent=root)
        leaf = world.key(user, parent=middle, budget=20)
        sibling = world.key(user, parent=root)
        holds.place(world.request(user, leaf, rates=world.flat(7)))
        assert [world.spent(row) for row in (root, middle, leaf, sibling)] == [(0, 7), (0, 7), (0, 7), (0, 0)]

    def test_admits_when_the_balance_is_exactly_enough(self) -> None:
        user = world.account(credit=10)
        holds.place(world.request(user, rates=world.flat(10)))
        assert world.money(user) == (10, 10)

    def test_refuses_when_the_balance_is_one_nano_short(self) -> None:
        user = world.account(credit=9)
        assert refusal(world.request(user, rates=world.flat(10))) == "balance_exhausted"
        assert world.money(user) == (9, 0)
        assert not Hold.objects.exists()

    def test_refuses_an_account_that_never_had_credit(self) -> None:
        assert refusal(world.request(world.account(), rates=world.flat(0))) == "balance_exhausted"

    def test_says_held_when_it_would_fit_with_nothing_in_flight(self) -> None:
        user = world.account(credit=15)
        holds.place(world.request(user, rates=world.flat(10)))
        assert refusal(world.request(user, rates=world.flat(10))) == "balance_held"
        assert refusal(world.request(user, rates=world.flat(16))) == "balance_exhausted"

    def test_judges_the_cap_before_the_balance(self) -> None:
        user = world.account(credit=5)
        assert refusal(world.request(user, world.key(user, budget=4), rates=world.flat(10))) == "budget_exhausted"

    def test_lets_no_child_spend_past_its_parent(self) -> None:
        user = world.account(credit=100)
        root = world.key(user, budget=10)
        leaf = world.key(user, parent=root, budget=10)
        other = world.key(user, parent=root, budget=10)
        holds.place(world.request(user, leaf, rates=world.flat(6)))
        assert refusal(world.request(user, other, rates=world.flat(6))) == "budget_held"

    def test_lowers_the_output_limit_to_what_the_money_buys(self) -> None:
        user = world.account(credit=1_000_000)
        rates = Rates(input=world.USD, output=2 * world.USD)
        request = world.request(user, rates=rates, prompt_bound=100, output_limit=10_000, lowest_limit=256)
        placed = holds.place(request)
        assert placed.output_limit == (1_000_000 - 100_000) // 2_000
        assert placed.amount_nanousd == 1_000_000

    def test_lowers_to_the_tightest_cap_of_the_chain(self) -> None:
        user = world.account(credit=world.USD)
        root = world.key(user, budget=900_000)
        leaf = world.key(user, parent=root)
        request = world.request(user, leaf, rates=Rates(output=2 * world.USD), output_limit=10_000, lowest_limit=256)
        assert holds.place(request).output_limit == 450

    def test_never_lowers_below_the_lowest_limit(self) -> None:
        rates = Rates(output=world.USD)
        for credit, admitted in ((256_000, True), (255_999, False)):
            user = world.account(credit=credit)
            request = world.request(user, rates=rates, output_limit=1000, lowest_limit=256)
            if admitted:
                assert holds.place(request).output_limit == 256
            else:
                assert refusal(request) == "balance_exhausted"

    @pytest.mark.parametrize(
        ("field", "reason"), [("account", "account_frozen"), ("root", "key_frozen"), ("leaf", "key_frozen")]
    )
    def test_refuses_what_is_frozen(self, field: str, reason: str) -> None:
        user = world.account(credit=100)
        root = world.key(user)
        leaf = world.key(user, parent=root)
        frozen = {"account": user, "root": root, "leaf": leaf}[field]
        frozen.is_frozen = True
        frozen.save()
        assert refusal(world.request(user, leaf, rates=world.flat(1))) == reason

    def test_refuses_a_revoked_ancestor_and_a_closed_account(self) -> None:
        user = world.account(credit=100)
        root = world.key(user)
        leaf = world.key(user, parent=root)
        ApiKey.objects.filter(id=root.id).update(revoked_at=NOW)
        with pytest.raises(Unauthorized):
            holds.place(world.request(user, leaf, rates=world.flat(1)))
        closed = world.account(credit=100, is_active=False)
        with pytest.raises(Unauthorized):
            holds.place(world.request(closed, rates=world.flat(1)))

    def test_takes_numbers_that_would_overflow_a_bigint_on_the_way(self) -> None:
        user = world.account(credit=world.USD)
        rates = Rates(output=999_999 * world.USD)
        assert (
            refusal(world.request(user, rates=rates, output_limit=10**9, lowest_limit=10**9, choices=128))
            == "balance_exhausted"
        )


class TestPlaceAHoldThatGrows:
    """`output_limit` is its first slice: 100 tokens at 1 nano-USD each."""

    def request(self, user: User, leaf: ApiKey | None = None) -> holds.Request:
        return world.request(user, leaf, rates=PER_TOKEN, output_limit=100, lowest_limit=10, grows=True)

    def test_starts_with_a_slice(self) -> None:
        user = world.account(credit=1000)
        assert holds.place(self.request(user)).amount_nanousd == 100

    def test_is_refused_for_the_moment_while_others_hold_what_it_needs(self) -> None:
        user = world.account(credit=1000)
        leaf = world.key(user, budget=150)
        first = holds.place(self.request(user, leaf))
        assert refusal(self.request(user, leaf)) == "budget_held"
        holds.settle(account_id=user.id, hold_id=first.hold_id, cost_nanousd=50)
        assert holds.place(self.request(user, leaf)).output_limit == 100

    def test_is_refused_for_the_moment_while_others_hold_the_balance(self) -> None:
        user = world.account(credit=150)
        holds.place(self.request(user))
        assert refusal(self.request(user)) == "balance_held"

    def test_is_lowered_where_less_than_a_slice_is_left(self) -> None:
        user = world.account(credit=1000)
        leaf = world.key(user, budget=99)
        assert holds.place(self.request(user, leaf)).output_limit == 99
        poor = world.account(credit=12)
        assert holds.place(self.request(poor)).output_limit == 12
        assert refusal(self.request(world.account(credit=9))) == "balance_exhausted"


class TestExtend:
    """A prompt of 3 tokens at 2 nano-USD, two choices at 1 nano-USD a token."""

    def placed(self, user: User, leaf: ApiKey | None = None) -> holds.Placed:
        rates = Rates(input=2 * MILLION, output=MILLION, request=1)
        return holds.place(
            world.request(user, leaf, rates=rates, prompt_bound=3, output_limit=5, choices=2, grows=True)
        )

    @staticmethod
    def extend(placed: holds.Placed, output_limit: int) -> holds.Extended:
        return holds.extend(account_id=placed.account_id, hold_id=placed.hold_id, output_limit=output_limit)

    def test_pays_for_the_new_limit_of_every_choice(self) -> None:
        user = world.account(credit=100)
        root = world.key(user)
        placed = self.placed(user, world.key(user, parent=root))
        assert placed.amount_nanousd == 6 + 1 + 10
        assert self.extend(placed, 8) == holds.Extended("", 6 + 1 + 16)
        assert world.money(user) == (100, 23)
        assert world.spent(root) == (0, 23)
        assert world.hold(placed.hold_id).output_limit_tokens == 8

    def test_rounds_up_once(self) -> None:
        user = world.account(credit=100)
        rates = Rates(input=700_000, output=100_000)
        placed = holds.place(world.request(user, rates=rates, prompt_bound=1, output_limit=1, grows=True))
        assert placed.amount_nanousd == 1
        assert self.extend(placed, 3).amount_nanousd == 1
        assert self.extend(placed, 4).amount_nanousd == 2

    def test_asked_twice_raises_once_and_never_lowers(self) -> None:
        user = world.account(credit=100)
        placed = self.placed(user)
        assert [self.extend(placed, limit).amount_nanousd for limit in (8, 8, 6)] == [23, 23, 23]
        assert world.money(user) == (100, 23)

    @pytest.mark.parametrize(
        ("budget", "credit", "others", "reason"),
        [
            (24, 100, 0, "budget_exhausted"),
            (40, 100, 20, "budget_held"),
            (None, 24, 0, "balance_exhausted"),
            (None, 40, 20, "balance_held"),
        ],
    )
    def test_raises_whole_or_not_at_all(self, budget: int | None, credit: int, others: int, reason: str) -> None:
        user = world.account(credit=credit)
        leaf = world.key(user, budget=budget)
        placed = self.placed(user, leaf)
        if others:
            holds.place(world.request(user, leaf, rates=world.flat(others)))
        assert self.extend(placed, 9) == holds.Extended(reason, 17)
        assert world.money(user) == (credit, 17 + others)
        assert self.extend(placed, 6) == holds.Extended("", 19)

    def test_to_the_last_nano_of_the_cap(self) -> None:
        user = world.account(credit=100)
        placed = self.placed(user, world.key(user, budget=25))
        assert self.extend(placed, 9) == holds.Extended("", 25)

    def test_looks_only_at_money(self) -> None:
        user = world.account(credit=100)
        leaf = world.key(user)
        placed = self.placed(user, leaf)
        ApiKey.objects.filter(id=leaf.id).update(is_frozen=True, revoked_at=NOW)
        User.objects.filter(id=user.id).update(is_frozen=True)
        assert self.extend(placed, 6) == holds.Extended("", 19)

    def test_is_refused_on_a_hold_that_ended_and_on_one_that_never_was(self) -> None:
        user = world.account(credit=100)
        placed = self.placed(user)
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=1)
        assert self.extend(placed, 6).reason == "not_pending"
        assert holds.extend(account_id=user.id, hold_id=uuid7(), output_limit=6).reason == "not_pending"
        assert world.money(user) == (99, 0)


class TestSettle:
    def test_charges_the_cost_and_gives_the_rest_back(self) -> None:
        user = world.account(credit=100)
        root = world.key(user, budget=60)
        leaf = world.key(user, parent=root)
        placed = holds.place(world.request(user, leaf, rates=world.flat(50)))
        usage = Usage(input=7, output=5, cached_input=2)
        settled = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20, usage=usage)
        assert settled == holds.Settled("settled", 20, 0)
        assert world.money(user) == (80, 0)
        assert world.spent(root) == world.spent(leaf) == (20, 0)
        transfer = Transfer.objects.get(account_id=user.id, code="charge")
        assert (transfer.amount_nanousd, transfer.debit, transfer.credit) == (20, "customer", "revenue")
        assert (transfer.hold_id, transfer.balance_after_nanousd) == (placed.hold_id, 80)
        row = world.hold(placed.hold_id)
        assert (row.input_tokens, row.cached_input_tokens, row.output_tokens) == (7, 2, 5)

    def test_charges_nothing_twice(self) -> None:
        user = world.account(credit=100)
        placed = holds.place(world.request(user, rates=world.flat(50)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        again = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=30)
        assert again == holds.Settled("already", 20, 0)
        assert world.charges(user) == [20]
        assert world.money(user) == (80, 0)

    def test_charges_past_the_hold_as_far_as_the_balance_allows(self) -> None:
        user = world.account(credit=60)
        placed = holds.place(world.request(user, rates=world.flat(50)))
        settled = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=75)
        assert settled == holds.Settled("settled", 60, 15)
        assert world.money(user) == (0, 0)
        assert world.hold(placed.hold_id).lost_nanousd == 15

    def test_charges_past_the_hold_as_far_as_every_cap_allows(self) -> None:
        user = world.account(credit=1000)
        root = world.key(user, budget=70)
        leaf = world.key(user, parent=root)
        holds.place(world.request(user, root, rates=world.flat(5)))
        placed = holds.place(world.request(user, leaf, rates=world.flat(50)))
        settled = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=90)
        assert settled == holds.Settled("settled", 65, 25)
        assert world.spent(root) == (65, 5)

    def test_charges_the_hold_of_a_cap_lowered_meanwhile_and_no_more(self) -> None:
        user = world.account(credit=1000)
        leaf = world.key(user, budget=100)
        placed = holds.place(world.request(user, leaf, rates=world.flat(50)))
        ApiKey.objects.filter(id=leaf.id).update(budget_nanousd=10)
        settled = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=60)
        assert settled == holds.Settled("settled", 50, 10)

    def test_writes_no_transfer_for_a_free_call(self) -> None:
        user = world.account(credit=100)
        placed = holds.place(world.request(user, rates=world.flat(50)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=0)
        assert world.charges(user) == []
        assert world.hold(placed.hold_id).status == "settled"

    def test_books_a_late_settlement_as_loss_once(self) -> None:
        user = world.account(credit=100)
        placed = holds.place(world.request(user, rates=world.flat(50)), now=NOW)
        assert holds.expire_overdue(now=NOW + timedelta(hours=1)) == [placed.hold_id]
        first = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        second = holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        assert (first, second) == (holds.Settled("late", 0, 20), holds.Settled("already", 0, 20))
        assert world.money(user) == (100, 0)

    def test_says_unknown_for_a_hold_of_another_account(self) -> None:
        user, other = world.account(credit=100), world.account(credit=100)
        placed = holds.place(world.request(user, rates=world.flat(50)))
        settled = holds.settle(account_id=other.id, hold_id=placed.hold_id, cost_nanousd=1)
        assert settled.state == "unknown"
        assert world.money(user) == (100, 50)
        assert world.money(other) == (100, 0)


class TestLossLimits:
    def test_freezes_an_account_past_its_daily_limit(self) -> None:
        user = world.account(credit=1)
        placed = holds.place(world.request(user, rates=world.flat(1)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=1 + world.USD)
        user.refresh_from_db()
        assert not user.is_frozen, "at the limit is not past it"
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT faces_ledger_post(%s, %s, 1, 'adjustment', 'adjustment', 'r', '', NULL)", [user.id, uuid7()]
            )
        placed = holds.place(world.request(user, rates=world.flat(1)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=2)
        user.refresh_from_db()
        assert user.is_frozen
        assert "loss" in user.frozen_reason.lower()

    def test_suspends_a_model_past_its_daily_limit(self) -> None:
        upstream = Upstream.objects.create(name="u", base_url="http://127.0.0.1:1/v1")
        price = Price.objects.create(
            model="test-model", upstream=upstream, input_price_nanousd=1, output_price_nanousd=1
        )
        for _ in range(6):
            user = world.account(credit=1)
            placed = holds.place(world.request(user, rates=world.flat(1)))
            holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=1 + 900_000_000)
        price.refresh_from_db()
        assert price.suspended_at is not None

    def test_does_not_count_the_losses_of_other_days(self) -> None:
        user = world.account(credit=2)
        for hours, frozen in ((0, False), (24, False), (25, True)):
            at = NOW + timedelta(hours=hours)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT faces_ledger_post(%s, %s, 1, 'adjustment', 'adjustment', %s, '', NULL)",
                    [user.id, uuid7(), f"r{hours}"],
                )
            placed = holds.place(world.request(user, rates=world.flat(1)), now=at)
            holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=800_000_000, now=at)
            user.refresh_from_db()
            assert user.is_frozen is frozen


class TestRelease:
    def test_gives_everything_back(self) -> None:
        user = world.account(credit=100)
        leaf = world.key(user, budget=60)
        placed = holds.place(world.request(user, leaf, rates=world.flat(50)))
        holds.release(account_id=user.id, hold_id=placed.hold_id, outcome="upstream_unreachable")
        assert world.money(user) == (100, 0)
        assert world.spent(leaf) == (0, 0)
        assert world.hold(placed.hold_id).status == "released"


class TestExpireOverdue:
    def test_ends_only_what_is_overdue(self) -> None:
        user = world.account(credit=100)
        leaf = world.key(user)
        old = holds.place(world.request(user, leaf, rates=world.flat(10)), now=NOW - timedelta(seconds=721))
        young = holds.place(world.request(user, leaf, rates=world.flat(20)), now=NOW)
        assert holds.expire_overdue(now=NOW) == [old.hold_id]
        assert world.money(user) == (100, 20)
        assert world.spent(leaf) == (0, 20)
        assert world.hold(young.hold_id).status == "pending"
        assert holds.expire_overdue(now=NOW) == []


class TestInvariants:
    """The database refuses, whoever writes."""

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE billing_creditaccount SET balance_nanousd = -1",
            "UPDATE billing_creditaccount SET held_nanousd = balance_nanousd + 1",
            "UPDATE billing_transfer SET amount_nanousd = 1",
            "DELETE FROM billing_transfer",
            "TRUNCATE billing_transfer CASCADE",
            "DELETE FROM billing_transferreference",
            "DELETE FROM billing_hold",
            "UPDATE billing_hold SET status = 'pending', resolved_at = NULL, charged_nanousd = 0",
            "UPDATE billing_hold SET charged_nanousd = charged_nanousd + 1",
            "UPDATE billing_hold SET output_price_nanousd = 1",
            "UPDATE apikeys_apikey SET held_nanousd = budget_nanousd",
            "UPDATE apikeys_apikey SET spent_nanousd = 0",
            "UPDATE apikeys_apikey SET ancestor_ids = '{}', parent_id = NULL",
            "DELETE FROM apikeys_apikey",
        ],
    )
    def test_refuses(self, statement: str) -> None:
        user = world.account(credit=100)
        leaf = world.key(user, parent=world.key(user), budget=60)
        placed = holds.place(world.request(user, leaf, rates=world.flat(50)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    def test_refuses_a_hold_on_another_accounts_key(self) -> None:
        user, other = world.account(credit=100), world.account(credit=100)
        theirs = world.key(other)
        request = world.request(user, rates=world.flat(1), key_ids=[theirs.id])
        with pytest.raises(Unauthorized):
            holds.place(request)
        with pytest.raises(DatabaseError), transaction.atomic():
            Hold.objects.create(
                account=CreditAccount.objects.get(account=user),
                key_id=theirs.id,
                request_id="x",
                model="m",
                amount_nanousd=0,
                placed_at=NOW,
                expires_at=NOW,
            )

    def test_writes_a_reference_for_every_transfer(self) -> None:
        user = world.account(credit=100)
        placed = holds.place(world.request(user, rates=world.flat(50)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        references = set(TransferReference.objects.values_list("account_id", "reference", "transfer_id"))
        assert references == set(Transfer.objects.values_list("account_id", "reference", "id"))
