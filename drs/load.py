"""Load of hosts, imbalance of a cluster, priority of a recommendation, happiness of VMs.

Sources: host load N = sum of entitlements / capacity, imbalance = population standard deviation of N
over the hosts, priority = 6 - ceil(imbalance / 0.1 * sqrt(hosts)): VMware KB 1007485 (DRS 1.0).
"""

from __future__ import annotations

import math

import numpy as np

from drs.entitlement import divvy
from drs.model import FloatArray, IntArray, Snapshot
from drs.policy import Policy
from drs.pools import divide, pools_of


def entitlement(snapshot: Snapshot) -> FloatArray:
    """What each VM should get of the connected hosts together, (V,R) float64.

    Demand bounded by the limit while the cluster can serve it; under contention of the whole
    cluster, what is compressible is divvied by reservation, limit and shares. With resource pools it
    goes down their tree, whose limits bind without contention too. VMs that are not placed are entitled
    to what they demand without taking from the others (they are not running).
    """
    wanted: FloatArray = np.minimum(snapshot.demand, snapshot.limit)
    running = snapshot.placement >= 0
    capacity = snapshot.capacity[snapshot.connected()].sum(axis=0)
    compressible = np.array(
        [name not in snapshot.incompressible for name in snapshot.resources], np.bool_
    )
    if snapshot.pools:
        for r in np.flatnonzero(compressible):
            granted = divide(float(capacity[r]), *pools_of(snapshot, int(r)))
            wanted[running, r] = [granted[snapshot.vms[v]] for v in np.flatnonzero(running)]
        return wanted
    for r in np.flatnonzero((wanted[running].sum(axis=0) > capacity) & compressible):
        wanted[running, r] = divvy(
            float(capacity[r]),
            wanted[running, r],
            snapshot.reservation[running, r],
            snapshot.limit[running, r],
            snapshot.shares[running, r],
        )
    return wanted


def host_usage(use: FloatArray, placement: IntArray, hosts: int) -> FloatArray:
    """Sum of `use` (V,R) by host, (H,R); VMs with a negative placement count nowhere."""
    placed = placement >= 0
    usage = np.empty((hosts, use.shape[1]))
    for r in range(use.shape[1]):
        usage[:, r] = np.bincount(placement[placed], weights=use[placed, r], minlength=hosts)
    return usage


def resource_weights(snapshot: Snapshot, policy: Policy) -> FloatArray:
    """(R,) weights that sum to 1; a resource that the policy does not name counts nothing."""
    if policy.weights is None:
        return np.full(len(snapshot.resources), 1.0 / max(len(snapshot.resources), 1))
    weights = np.array([policy.weights.get(name, 0.0) for name in snapshot.resources])
    total = float(weights.sum())
    return weights / total if total > 0.0 else np.full(weights.size, 1.0 / max(weights.size, 1))


def deviations(load: FloatArray) -> FloatArray:
    """(R,) population standard deviation over hosts of the normalised load (H,R); 0 without hosts."""
    spread: FloatArray = load.std(axis=0) if load.shape[0] else np.zeros(load.shape[1])
    return spread


def combine(spread: FloatArray, weights: FloatArray) -> float:
    """One imbalance from one per resource: the weighted root mean square.

    With one resource it is VMware's figure. The published algorithm adds several by weights that it
    does not publish; the quadratic mean keeps the best move a sum over hosts, which is what makes the
    incremental greedy exact.
    """
    return math.sqrt(float(weights @ (spread * spread)))


def imbalance(snapshot: Snapshot, policy: Policy, placement: IntArray | None = None) -> float:
    """The cluster's imbalance: 0 is even. Counts connected hosts only."""
    on = snapshot.connected()
    where = snapshot.placement if placement is None else placement
    usage = host_usage(entitlement(snapshot), where, len(snapshot.hosts))
    return combine(
        deviations(usage[on] / snapshot.capacity[on]), resource_weights(snapshot, policy)
    )


def priority(imbalance_before: float, hosts: int) -> int:
    """2 … 5 for a balance move made at this imbalance; 1 is kept for mandatory ones.

    4 hosts at 0.12: 0.12 / 0.1 * 2 = 2.4, rounded up 3, priority 3. A quotient within 1e-9 of a whole
    number is that number, so that a cluster exactly on a threshold's target is within it.
    """
    steps = math.ceil(imbalance_before / 0.1 * math.sqrt(max(hosts, 1)) - 1e-9)
    return min(max(6 - steps, 2), 5)


def imbalance_target(threshold: int, hosts: int) -> float:
    """The imbalance at which no recommendation of the threshold's priorities is left.

    (5 - t) * 0.1 / sqrt(hosts), from the priority formula solved for priority > t; threshold 1 never
    balances. 16 hosts at threshold 3: 0.2 / 4 = 0.05.
    """
    return math.inf if threshold <= 1 else (5 - threshold) * 0.1 / math.sqrt(max(hosts, 1))


def happiness(snapshot: Snapshot, placement: IntArray | None = None) -> FloatArray:
    """Share of its entitlement that each VM gets on its host, (V,) 0 … 1, worst resource counts.

    1 for a VM that asks for nothing, nan for one that is not placed. Like the VM DRS score of
    vSphere 7 a figure of demand met; VMware's own function is not published.
    """
    where = snapshot.placement if placement is None else placement
    deserved = entitlement(snapshot)
    score = np.where(where >= 0, 1.0, np.nan)
    usage = host_usage(deserved, where, len(snapshot.hosts))
    for host, r in zip(*np.nonzero(usage > snapshot.capacity * (1.0 + 1e-9)), strict=True):
        mine = np.flatnonzero(where == host)
        want = deserved[mine, r]
        got = divvy(
            float(snapshot.capacity[host, r]),
            want,
            snapshot.reservation[mine, r],
            snapshot.limit[mine, r],
            snapshot.shares[mine, r],
        )
        score[mine] = np.minimum(
            score[mine], np.divide(got, want, out=np.ones_like(want), where=want > 0)
        )
    return score
