"""All VMs of a simulated cluster as arrays: demand, grants and their means, advanced together."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from cluster.inventory.demand import Constant, Demand, Series
from cluster.inventory.model import HostSpec, VmSpec
from drs.entitlement import divvy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
OFF = -1


class Fleet:
    """V VMs on H hosts; every array is (V,) in MHz unless it says otherwise.

    A profile is looked at when `grant` is called and holds until the next call: a profile
    that changes more often than samples are taken is seen at the samples only. A VM that
    moves changes what its two hosts give, and `regrant` looks at those alone.

    Attributes:
        host: (V,) int64, index of the host each VM runs on, or OFF.
        demand_mhz, granted_mhz: Since the last `grant`.
    """

    def __init__(
        self,
        hosts: tuple[HostSpec, ...],
        vms: tuple[VmSpec, ...],
        counted: Callable[[float], None] = lambda elapsed_s: None,
    ) -> None:
        """`counted` hears of each span of time in which nothing here has changed."""
        self._counted = counted
        self.host: IntArray = np.full(len(vms), OFF, np.int64)
        self.demand_mhz: FloatArray = np.zeros(len(vms))
        self.granted_mhz: FloatArray = np.zeros(len(vms))
        self.memory_mib: FloatArray = np.array([float(vm.memory_mib) for vm in vms])
        self._capacity: FloatArray = np.array([host.cpu_mhz for host in hosts])
        self._cpu_max: FloatArray = np.array([vm.cpu_mhz for vm in vms])
        self._reservation: FloatArray = np.array([vm.cpu_reservation_mhz for vm in vms])
        limits = [np.inf if vm.cpu_limit_mhz is None else vm.cpu_limit_mhz for vm in vms]
        self._limit: FloatArray = np.array(limits, np.float64)
        self._shares: FloatArray = np.array([vm.cpu_shares for vm in vms])
        self._profiles = _Profiles([vm.demand for vm in vms])
        self._demand_mhz_s: FloatArray = np.zeros(len(vms))
        self._granted_mhz_s: FloatArray = np.zeros(len(vms))
        self._span_s: FloatArray = np.zeros(len(vms))
        self._counted_s = 0.0

    def set_demand(self, vm: int, demand: Demand, from_s: float) -> None:
        """Give a VM another profile, whose time counts from `from_s`; then `grant`."""
        self._profiles.replace(vm, demand, from_s)

    def place(self, vm: int, host: int, *, now: float) -> None:
        """Let a VM run on a host from now on, or on none (OFF); its sample begins anew."""
        self.count(now)
        self.host[vm] = host
        self._demand_mhz_s[vm] = self._granted_mhz_s[vm] = self._span_s[vm] = 0.0

    def grant(self, now: float) -> None:
        """Look at every profile and divide each host's CPU among its VMs, until the next call."""
        self.count(now)
        self.demand_mhz = np.minimum(self._profiles.at(now), self._cpu_max)
        self.demand_mhz[self.host == OFF] = 0.0
        self.granted_mhz = np.minimum(self.demand_mhz, self._limit)
        short = self.sum_by_host(self.granted_mhz) > self._capacity
        for host in np.flatnonzero(short).tolist():
            self._divide(host)

    def regrant(self, hosts: Iterable[int], now: float) -> None:
        """Divide these hosts' CPUs anew, for the demand that was looked at last."""
        self.count(now)
        for host in hosts:
            self._divide(host)

    def _divide(self, host: int) -> None:
        mine = np.flatnonzero(self.host == host)
        self.granted_mhz[mine] = divvy(
            float(self._capacity[host]),
            self.demand_mhz[mine],
            self._reservation[mine],
            self._limit[mine],
            self._shares[mine],
        )

    def speed(self, vm: int) -> float:
        """Return how fast a VM's guest time runs: granted over demanded."""
        demand = float(self.demand_mhz[vm])
        return float(self.granted_mhz[vm]) / demand if demand > 0 else 1.0

    def count(self, now: float) -> None:
        """Add what has passed since the last count to the sample."""
        elapsed_s = now - self._counted_s
        self._counted_s = now
        if elapsed_s > 0:
            self._counted(elapsed_s)
            self._demand_mhz_s += self.demand_mhz * elapsed_s
            self._granted_mhz_s += self.granted_mhz * elapsed_s
            self._span_s += elapsed_s

    def span_s(self, now: float) -> FloatArray:
        """Return how long each VM's sample is by now."""
        self.count(now)
        return self._span_s.copy()

    def sample(self, now: float) -> tuple[FloatArray, FloatArray]:
        """Return mean demand and mean grant since the last sample, or since the VM came."""
        self.count(now)
        span_s = np.maximum(self._span_s, 1e-9)
        means = self._demand_mhz_s / span_s, self._granted_mhz_s / span_s
        self._demand_mhz_s[:] = self._granted_mhz_s[:] = self._span_s[:] = 0.0
        return means

    def sum_by_host(self, values: FloatArray) -> FloatArray:
        """Return the sums of `values` (V,) over each host's VMs, (H,)."""
        on = self.host != OFF
        sums = np.bincount(self.host[on], weights=values[on], minlength=len(self._capacity))
        return np.asarray(sums, np.float64)


class _Profiles:
    """Demand profiles, evaluated together: constants at once, series by their interval, the rest alone."""

    def __init__(self, demands: list[Demand]) -> None:
        self._demands = [(demand, 0.0) for demand in demands]
        self._stale = True
        self._constant: FloatArray = np.zeros(0)
        self._series: list[tuple[float, float, IntArray, FloatArray]] = []
        self._others: list[int] = []

    def replace(self, vm: int, demand: Demand, from_s: float) -> None:
        self._demands[vm] = (demand, from_s)
        self._stale = True

    def at(self, now: float) -> FloatArray:
        if self._stale:
            self._sort()
        demand = self._constant.copy()
        for interval_s, from_s, vms, values in self._series:
            column = min(max(int((now - from_s) / interval_s), 0), values.shape[1] - 1)
            demand[vms] = values[:, column]
        for vm in self._others:
            profile, from_s = self._demands[vm]
            demand[vm] = profile.at(now - from_s)
        return demand

    def _sort(self) -> None:
        self._stale = False
        self._constant = np.zeros(len(self._demands))
        self._others = []
        groups: dict[tuple[float, float, int], list[int]] = {}
        for vm, (demand, from_s) in enumerate(self._demands):
            match demand:
                case Constant():
                    self._constant[vm] = demand.mhz
                case Series():
                    key = (demand.interval_s, from_s, len(demand.values_mhz))
                    groups.setdefault(key, []).append(vm)
                case _:
                    self._others.append(vm)
        self._series = [
            (interval_s, from_s, np.array(vms, np.int64), self._matrix(vms))
            for (interval_s, from_s, _), vms in groups.items()
        ]

    def _matrix(self, vms: list[int]) -> FloatArray:
        rows = [
            demand.values_mhz
            for demand, _ in map(self._demands.__getitem__, vms)
            if isinstance(demand, Series)
        ]
        return np.array(rows, np.float64)
