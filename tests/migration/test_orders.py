"""Every order in which things can go wrong, within a budget: no draw, no gap."""

import pytest

from cluster.inventory.model import Mode
from cluster.migration import steps, table
from cluster.migration.spec import Result
from cluster.migration.state import Phase
from cluster.migration.table import Edge, Kind
from tests.migration.orders import Budget, Orders

ALL = set(Result)
BUDGETS = {
    "a lost message and impatience": Budget(lose=1, impatience=2),
    "a failure and a refusal": Budget(fail=1, refuse=1, impatience=1),
    "a death and a cancel": Budget(die=1, cancel=1, impatience=1),
    "both hosts die": Budget(die=2),
    "a message twice and one lost": Budget(double=1, lose=1),
    "VirtualCenter crashes at the commit, and a host dies": Budget(crash=1, die=1),
}


@pytest.mark.parametrize("mode", [Mode.PRECOPY, Mode.HYBRID], ids=lambda mode: mode.value)
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_no_order_breaks_a_law(mode, budget):
    situations, results = Orders(mode, budget).explore(200_000)
    assert situations > 50
    assert Result.COMPLETED in results


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [Mode.PRECOPY, Mode.HYBRID], ids=lambda mode: mode.value)
def test_no_order_of_many_mishaps_breaks_a_law(mode):
    budget = Budget(lose=1, fail=1, refuse=1, die=1, cancel=1, impatience=1)
    _, results = Orders(mode, budget).explore(3_000_000)
    assert ALL == results


def test_an_order_that_breaks_a_law_is_told_step_by_step(monkeypatch):
    broken = Edge(steps.commit_refused, frozenset({Phase.ROLLING_BACK, Phase.LOST}))
    monkeypatch.setitem(table.TABLE, (Phase.COMMITTING, Kind.FAILED), broken)
    with pytest.raises(AssertionError, match="the source runs after the commit") as raised:
        Orders(Mode.PRECOPY, Budget(fail=1)).explore(10_000)
    assert "committing: Failed(" in str(raised.value)
