"""The quickstart shows what it is for: load shifts, DRS moves VMs, the cluster is level again.

DRS is the real one; hosts, clock and migrations are left out: a recommended VM is
on its new host at once.
"""

from pathlib import Path

import numpy as np
import pytest

from cluster.inventory.model import Scenario
from cluster.inventory.scenario import load
from cluster.policy.balancing import policy_of
from drs import Snapshot, StepBudget, recommend
from drs.load import imbalance


@pytest.fixture(scope="module")
def quickstart() -> Scenario:
    return load(Path(__file__).parents[2] / "examples" / "quickstart.toml")


def _demands(scenario: Scenario, time_s: float) -> dict[str, float]:
    """What each VM asks for, in MHz."""
    current = {vm.name: (0.0, vm.demand) for vm in scenario.vms}
    for event in scenario.events:
        if event.demand is not None and event.at_s <= time_s:
            current |= dict.fromkeys(event.vms, (event.at_s, event.demand))
    return {
        vm.name: min(current[vm.name][1].at(time_s - current[vm.name][0]), vm.cpu_mhz)
        for vm in scenario.vms
    }


def _host_loads(scenario: Scenario, time_s: float) -> dict[str, float]:
    """Demand on each host over its capacity, if nothing ever moved."""
    demands = _demands(scenario, time_s)
    return {
        host.name: sum(demands[vm.name] for vm in scenario.vms if vm.host == host.name)
        / host.cpu_mhz
        for host in scenario.hosts
    }


def test_it_starts_level_and_then_overloads_one_host_after_the_other(quickstart):
    assert (4, 12) == (len(quickstart.hosts), len(quickstart.vms))
    assert 0.05 > np.std(list(_host_loads(quickstart, 5).values()))
    assert 0.5 < np.std(list(_host_loads(quickstart, 13).values()))
    assert 1.4 < _host_loads(quickstart, 13)["esx-1"]
    assert 1.0 < _host_loads(quickstart, 33)["esx-2"]


def test_memory_does_not_limit_it(quickstart):
    needed = sum(vm.memory_mib for vm in quickstart.vms)
    assert 12 * 64 == needed
    assert all(needed <= host.memory_mib for host in quickstart.hosts)


@pytest.mark.parametrize("late_s", [0, 0.5, 1, 1.5])
def test_drs_finds_six_moves_and_ends_under_half_of_the_imbalance(quickstart, late_s):
    """Also when the passes of DRS are late, as they are on a busy machine."""
    policy = policy_of(quickstart)
    placement = {vm.name: vm.host for vm in quickstart.vms}
    moved_at_s = dict.fromkeys(placement, -np.inf)
    rng = np.random.default_rng(0)

    def snapshot(demands: dict[str, float]) -> Snapshot:
        return Snapshot.build(
            [host.name for host in quickstart.hosts],
            list(demands),
            [[host.cpu_mhz, host.memory_mib] for host in quickstart.hosts],
            [[demands[vm.name], vm.memory_mib] for vm in quickstart.vms],
            list(placement.values()),
            memory_bytes=[float(vm.memory_bytes) for vm in quickstart.vms],
            moved_at_s=list(moved_at_s.values()),
        )

    moves, met = 0, []
    drs = quickstart.drs
    for now in np.arange(drs.interval_s + late_s, quickstart.duration_s, drs.interval_s):
        samples = [_demands(quickstart, now - back) for back in np.arange(0, drs.window_s, 0.5)]
        seen = snapshot({name: float(np.mean([s[name] for s in samples])) for name in placement})
        plan = recommend(seen, policy, now=float(now), rng=rng, budget=StepBudget(steps=1000))
        if plan.actions:
            met.append(plan.imbalance_before)
        for action in plan.actions:
            name = seen.vms[action.move.vm]
            placement[name] = seen.hosts[action.move.destination]
            moved_at_s[name] = float(now)
            moves += 1
    assert 6 <= moves
    assert imbalance(snapshot(_demands(quickstart, 60)), policy) < met[0] / 2
