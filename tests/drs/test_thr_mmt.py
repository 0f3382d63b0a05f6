"""THR-MMT: who leaves a full host, where it goes, which hosts are emptied."""

from dataclasses import replace

import numpy as np

from drs import HostState, Policy, Snapshot, StepBudget
from drs.manage import PowerRequest, manage
from drs.thr_mmt import Threshold, orders, thr_mmt

ON, OFF = HostState.CONNECTED, HostState.STANDBY
# 100 W idle and 10 W more for each tenth; the thrifty ones take 5 W.
PLAIN = [100.0 + 10.0 * tenth for tenth in range(11)]
THRIFTY = [100.0 + 5.0 * tenth for tenth in range(11)]


def cluster(placement, demand, states, memory=None) -> Snapshot:
    """Hosts of 1000 MHz."""
    memory = memory or [100.0] * len(demand)
    return Snapshot.build(
        [f"h{at}" for at in range(len(states))],
        [f"v{at}" for at in range(len(demand))],
        [[1000.0, 10_000.0]] * len(states),
        [[mhz, mib] for mhz, mib in zip(demand, memory, strict=True)],
        placement,
        host_states=states,
        memory_bytes=[mib * 2.0**20 for mib in memory],
    )


def planned(snapshot, watts=None):
    table = np.array(watts or [PLAIN] * len(snapshot.hosts))
    return thr_mmt(snapshot, Threshold(power_w=table))


def test_the_vm_with_the_least_memory_leaves_a_host_above_the_threshold():
    snapshot = cluster(
        [0, 0, 1, 1], [600.0, 300.0, 300.0, 100.0], [ON, ON], memory=[50.0, 80.0, 10.0, 10.0]
    )
    # 600 MHz would put h1 above its own threshold: it stays, and so does h0's load.
    assert [0, 0, 1, 1] == planned(snapshot).after.tolist()
    smaller = cluster([0, 0, 1], [600.0, 300.0, 300.0], [ON, ON], memory=[80.0, 50.0, 10.0])
    assert [0, 1, 1] == planned(smaller).after.tolist()


def test_a_vm_goes_where_the_power_grows_least_a_host_that_is_off_included():
    snapshot = cluster([0, 0, 1], [600.0, 300.0, 300.0], [ON, ON, OFF], memory=[80.0, 50.0, 10.0])
    found = planned(snapshot, [PLAIN, PLAIN, THRIFTY])
    assert [0, 2, 1] == found.after.tolist()
    assert ("h2",) == found.power_on


def test_the_emptiest_host_gives_all_its_vms_away_or_none():
    assert [1, 1, 1] == planned(cluster([0, 1, 1], [100.0, 300.0, 300.0], [ON, ON])).after.tolist()
    kept = cluster([0, 0, 1], [100.0, 300.0, 500.0], [ON, ON])
    assert [0, 0, 1] == planned(kept).after.tolist()


def test_a_vm_that_is_ordered_twice_in_one_pass_moves_once():
    # v1 leaves h0 for h2, which is emptied into h1 at once.
    snapshot = cluster(
        [0, 0, 1, 2], [600.0, 250.0, 400.0, 50.0], [ON, ON, ON], memory=[80.0, 50.0, 10.0, 10.0]
    )
    threshold = Threshold(power_w=np.array([PLAIN, PLAIN, THRIFTY]))
    assert [(1, 2), (1, 1), (3, 1)] == orders(snapshot, threshold)
    assert [0, 1, 1, 1] == thr_mmt(snapshot, threshold).after.tolist()


def test_a_vm_on_its_way_counts_where_it_goes_and_is_sent_nowhere_else():
    """h1 has 400 and gets 200 more: the 300 of h2 would put it above 800."""
    snapshot = cluster([1, 0, 2], [400.0, 200.0, 300.0], [ON, ON, ON])
    assert [1, 0, 2] == planned(replace(snapshot, in_flight=((1, 1),))).after.tolist()


def test_as_a_pass_it_does_nothing_else():
    snapshot = cluster([0, 0, 1], [500.0, 290.0, 500.0], [ON, ON])
    plan = manage(
        snapshot,
        Policy(migration_threshold=5),
        PowerRequest(deviation_mhz=np.zeros(3), baseline=Threshold(power_w=np.array([PLAIN] * 2))),
        now=0.0,
        rng=np.random.default_rng(0),
        budget=StepBudget(steps=100),
    )
    assert () == plan.actions
