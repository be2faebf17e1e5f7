"""The simulated fleet of `benchmarks/growing_holds.py` on the real database: a hard cap that can be spent."""

from datetime import timedelta
from statistics import fmean
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from apikeys.authentication import PaymentRequired
from apikeys.models import ApiKey
from benchmarks.growing_holds import NANO, RATES, SEEDS, PaperBooks, Plan, Result, simulate
from billing import holds, reconcile
from tests import world

pytestmark = pytest.mark.django_db(transaction=True)

SLICE = 2048
GOALS = {1: 0.19, 2: 0.58, 5: 0.84, 20: 0.96}
"""Cap in USD, and the share of it that must be spent before the first caller is refused."""


class PostgresBooks:
    def __init__(self, key: ApiKey) -> None:
        self.key = key

    def place(self, plan: Plan) -> tuple[str, Any, int]:
        request = holds.Request(
            account_id=self.key.account_id,
            key_ids=[*self.key.ancestor_ids, self.key.id],
            rates=RATES,
            request_id=str(uuid7()),
            model="large",
            life=timedelta(seconds=720),
            prompt_bound=plan.prompt_bound,
            output_limit=plan.first,
            lowest_limit=plan.lowest,
            grows=plan.slice is not None,
        )
        try:
            placed = holds.place(request)
        except PaymentRequired as refusal:
            return refusal.code, None, 0
        return "", placed.hold_id, placed.output_limit

    def extend(self, call: Any, output_limit: int) -> str:
        return holds.extend(account_id=self.key.account_id, hold_id=call, output_limit=output_limit).reason

    def settle(self, call: Any, cost_nanousd: int) -> int:
        settled = holds.settle(account_id=self.key.account_id, hold_id=call, cost_nanousd=cost_nanousd)
        return settled.charged_nanousd


def fleet(cap: int, plan: Plan, seed: int) -> Result:
    user = world.account(credit=100 * NANO)
    key = world.key(user, parent=world.key(user, budget=cap))
    result = simulate(PostgresBooks(key), plan=plan, cap_nanousd=cap, seed=seed)
    assert world.spent(key) == (result.spent, 0)
    assert result.spent <= cap
    return result


class TestFleet:
    @pytest.mark.parametrize("cap_usd", GOALS)
    def test_spends_its_cap_before_anybody_is_refused(self, cap_usd: int) -> None:
        cap = cap_usd * NANO
        seeds = range(SEEDS if cap_usd < 20 else 4)
        results = [fleet(cap, Plan(slice=SLICE), seed) for seed in seeds]
        assert fmean(result.share_at_first_refusal for result in results) >= GOALS[cap_usd]
        assert fmean(result.share_used for result in results) >= 0.95
        assert reconcile.differences() == []

    @pytest.mark.parametrize("plan", [Plan(slice=None), Plan(slice=None, may_lower=False), Plan(slice=1024)], ids=str)
    @pytest.mark.parametrize("is_exact", [True, False])
    def test_is_the_one_on_paper(self, plan: Plan, is_exact: bool) -> None:
        plan = Plan(slice=plan.slice, may_lower=plan.may_lower, is_exact=is_exact)
        on_paper = simulate(PaperBooks(2 * NANO), plan=plan, cap_nanousd=2 * NANO, seed=7)
        assert fleet(2 * NANO, plan, 7) == on_paper

    def test_was_starved_by_the_full_hold(self) -> None:
        result = fleet(NANO, Plan(slice=None), 0)
        assert result.at_first_refusal == 0
