"""A host whose capacity is all taken by VMs in flight: its load is an amount over almost nothing."""

import numpy as np
import pytest

from drs import Policy, Snapshot, StepBudget, recommend


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
