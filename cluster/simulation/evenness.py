"""The cluster's imbalance at every sample, as DRS would compute it, from arrays.

`Center.balance` builds a snapshot from its records, VM by VM: right for a pass of DRS, too
slow for each of many samples of thousands of VMs. Here the same function of `drs` gets a snapshot
whose arrays are replaced. A test holds the two equal.
"""

from collections import deque
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cluster.inventory.model import Scenario
from cluster.policy.balancing import policy_of
from cluster.simulation.fleet import FloatArray, IntArray
from drs import HostState, Snapshot
from drs.load import imbalance

BoolArray = npt.NDArray[np.bool_]


class Evenness:
    """Demand over the window of DRS, and the imbalance that follows from it."""

    def __init__(self, scenario: Scenario) -> None:
        vms = scenario.vms
        self._window_s = scenario.drs.window_s
        self._policy = policy_of(scenario)
        self._memory_mib = np.array([float(vm.memory_mib) for vm in vms])
        self._snapshot = Snapshot.build(
            [host.name for host in scenario.hosts],
            [vm.name for vm in vms],
            [[host.cpu_mhz, host.memory_mib] for host in scenario.hosts],
            np.zeros((len(vms), 2)),
            [None] * len(vms),
            reservation=[[vm.cpu_reservation_mhz, vm.memory_reservation_mib] for vm in vms],
            limit=[[vm.cpu_limit_mhz or np.inf, np.inf] for vm in vms],
            shares=[[vm.cpu_shares, 10.0 * vm.memory_mib] for vm in vms],
        )
        self._samples: deque[tuple[float, FloatArray, BoolArray]] = deque()
        self._sum_mhz: FloatArray = np.zeros(len(vms))
        self._count: IntArray = np.zeros(len(vms), np.int64)

    def sampled(self, now: float, demand_mhz: FloatArray, on: BoolArray) -> None:
        """Take a sample: mean demand (V,), and which VMs were running."""
        taken = np.where(on, demand_mhz, 0.0)
        self._samples.append((now, taken, on))
        self._sum_mhz += taken
        self._count += on
        while self._samples[0][0] <= now - self._window_s:
            _, old, was_on = self._samples.popleft()
            self._sum_mhz -= old
            self._count -= was_on

    def imbalance(self, placement: IntArray, connected: BoolArray) -> float:
        """Return the imbalance of VMs placed so, (V,) host index or -1; `connected` is (H,)."""
        # What rounding leaves of samples that were taken away again is no demand.
        mean_mhz = np.maximum(self._sum_mhz, 0.0) / np.maximum(self._count, 1)
        states = tuple(
            HostState.CONNECTED if there else HostState.NOT_RESPONDING
            for there in connected.tolist()
        )
        snapshot = replace(
            self._snapshot,
            demand=np.stack((mean_mhz, self._memory_mib), axis=1),
            placement=placement,
            host_states=states,
        )
        return imbalance(snapshot, self._policy)
