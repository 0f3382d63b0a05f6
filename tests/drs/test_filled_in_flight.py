"""A host whose capacity is all taken by VMs in flight: its load is an amount over almost nothing."""

import numpy as np
import pytest

from drs import Plan, PlanStatus, Policy, Snapshot, StepBudget, recommend
from drs.load import imbalance
from drs.objective import objective


@pytest.mark.parametrize("vms", [12, 400])
def test_a_pass_works_beside_a_host_that_vms_in_flight_fill(vms):
    """It once squared 1e300, and gave CP-SAT numbers beyond 64 bits."""
    hosts = 4
    placement = [0] * (vms // 2) + [1 + i % 3 for i in range(vms - vms // 2)]
    demand = np.full((vms, 2), 100.0)
    demand[0] = [50_000.0, 50_000.0]  # fills host 0 alone
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(vms)],
        np.full((hosts, 2), 50_000.0),
        demand,
        placement,
        in_flight=[(0, 1)],
    )
    policy = Policy(migration_threshold=5, cooldown_s=0.0)
    plan = recommend(
        snapshot, policy, now=0.0, rng=np.random.default_rng(1), budget=StepBudget(steps=20_000)
    )
    after = plan.placement(snapshot)

    assert not any(problem.fatal for problem in plan.problems)
    assert 0 not in after[np.array(placement) != 0]


def filled(*, hosts=4, taken=50_000.0):
    """Host 0 sends away the VM that fills it, to host 1; each host has some small VMs as well."""
    vms = 12
    demand = np.full((vms, 2), 1_000.0)
    demand[0] = taken
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(vms)],
        np.full((hosts, 2), 50_000.0),
        demand,
        [0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 3, 3],
        in_flight=[(0, 1)],
    )


def planned(snapshot, threshold=5):
    return recommend(
        snapshot,
        Policy(migration_threshold=threshold, cooldown_s=0.0),
        now=0.0,
        rng=np.random.default_rng(1),
        budget=StepBudget(steps=20_000),
    )


@pytest.mark.parametrize("threshold", [1, 3, 5])
@pytest.mark.parametrize("taken", [20_000.0, 45_000.0, 50_000.0])
def test_the_imbalance_is_that_of_the_hosts_as_they_are(taken, threshold):
    """It once said 44651.9 → 22325.8: loads over the little that flying VMs left of a host."""
    snapshot = filled(taken=taken)
    policy = Policy(migration_threshold=threshold, cooldown_s=0.0)
    plan = planned(snapshot, threshold)

    landed = snapshot.placement.copy()
    landed[0] = 1
    assert plan.imbalance_before == pytest.approx(imbalance(snapshot, policy, landed))
    after = plan.placement(snapshot)
    assert plan.imbalance_after == pytest.approx(imbalance(snapshot, policy, after))
    assert plan.imbalance_after <= plan.imbalance_before
    for told in plan.recommendations:
        assert 0.0 <= told.imbalance_after < 1.0 > told.imbalance_before


def test_what_no_host_can_serve_is_counted_in_hosts_as_they_are():
    """Host 0 can serve its small VMs once the large one has left; host 1 has a VM of its own."""
    snapshot = filled()
    policy = Policy(migration_threshold=5, cooldown_s=0.0)
    judged = objective(snapshot, Plan(status=PlanStatus.NOTHING_WORTH_DOING), policy)
    assert judged.imbalance_excess < 1.0
    assert judged.unmet_hosts == pytest.approx(2 * 1_000 / 50_000)


def test_a_vm_is_worth_no_more_on_a_host_that_others_are_leaving():
    plan = planned(filled(taken=45_000.0))
    assert all(abs(told.benefit_s) < 10_000.0 for told in plan.recommendations)


@pytest.mark.parametrize("vms", [10, 400])
def test_a_host_that_a_vm_in_flight_relieves_sends_no_more_away(vms):
    """It held 120 % before and holds 90 % once the VM has left: the next pass once moved others too."""
    demand = np.full((vms, 2), [45_000.0 * 2 / vms, 10.0])
    demand[0] = [15_000.0, 10.0]
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(4)],
        [f"v{i}" for i in range(vms)],
        np.full((4, 2), 50_000.0),
        demand,
        [0] * (vms // 2 + 1) + [2] * (vms - vms // 2 - 1),
        in_flight=[(0, 1)],
    )
    assert not planned(snapshot, threshold=1).recommendations


def test_nothing_comes_where_a_vm_in_flight_has_not_left_yet():
    """Host 0 is empty but for the VM that leaves it, and so is the evenest place for another."""
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"],
        ["flying", "a", "b", "c", "d"],
        [[100.0, 100.0], [150.0, 150.0], [100.0, 100.0]],
        [[97.0, 97.0], [30.0, 30.0], [30.0, 30.0], [30.0, 30.0], [20.0, 20.0]],
        [0, 2, 2, 2, 1],
        in_flight=[(0, 1)],
    )
    assert 0 not in planned(snapshot).placement(snapshot)[1:]
