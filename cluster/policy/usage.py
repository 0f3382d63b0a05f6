"""What each host holds now, kept current through one pass of decisions."""

import numpy as np
import numpy.typing as npt

from cluster.inventory.model import VmSpec
from cluster.migration.spec import MigrationSpec
from cluster.policy.admission import Slots
from cluster.policy.state import ClusterState, VmRecord

FloatArray = npt.NDArray[np.float64]


class Usage:
    """Memory, CPU and migration slots by host; made from the state once, then told what is decided.

    Attributes:
        held: The hosts that hold each VM, as rules judge them.
    """

    def __init__(self, state: ClusterState) -> None:
        self.held: dict[str, tuple[str, ...]] = {}
        self._state = state
        self._memory_mib = dict.fromkeys(state.hosts, 0)
        self._reserved_mhz = dict.fromkeys(state.hosts, 0.0)
        self._loads: tuple[dict[str, int], FloatArray, FloatArray] | None = None
        self._slots = Slots(
            {name: host.spec for name, host in state.hosts.items()}, state.scenario.migration
        )
        for name, vm in state.vms.items():  # made once a decision: this loop is hot
            self.held[name] = ()
            if vm.host is not None:
                self._count(vm, vm.host)
        for spec in state.running():
            self._slots.take(spec, state.vms[spec.vm].spec.datastore)
            for host in (spec.source, spec.destination):
                self.hold(state.vms[spec.vm], host)

    def free_mib(self, host: str, *, but: VmSpec | None = None) -> int:
        """Return the memory that a host has left, with `but` not counted there."""
        free = self._state.hosts[host].spec.memory_mib - self._memory_mib[host]
        if but is not None and host in self.held[but.name]:
            free += but.memory_mib
        return free

    def free_reserved_mhz(self, host: str, *, but: VmSpec | None = None) -> float:
        """Return the CPU of a host that nobody has reserved, with `but` not counted there."""
        free = self._state.hosts[host].spec.cpu_mhz - self._reserved_mhz[host]
        if but is not None and host in self.held[but.name]:
            free += but.cpu_reservation_mhz
        return free

    def emptiest(self, vm: VmRecord) -> list[str]:
        """Return the hosts by the load of their fuller resource if `vm` were there; ties by name."""
        if self._loads is None:
            self._loads = self._measured()
        names, capacity, used = self._loads
        there = np.add(used, (expected_mhz(vm), vm.spec.memory_mib))
        for host in self.held[vm.spec.name]:
            there[names[host]] = used[names[host]]
        order = np.argsort((there / capacity).max(axis=1), kind="stable")
        hosts = list(names)
        return [hosts[at] for at in order.tolist()]

    def _measured(self) -> tuple[dict[str, int], FloatArray, FloatArray]:
        """Index by name, capacity and use: (hosts, 2) of expected MHz and MiB."""
        specs = [self._state.hosts[name].spec for name in sorted(self._state.hosts)]
        names = {spec.name: at for at, spec in enumerate(specs)}
        capacity = np.array([(spec.cpu_mhz, spec.memory_mib) for spec in specs], np.float64)
        used = np.zeros((len(specs), 2))
        for vm, hosts in self.held.items():
            for host in hosts:
                record = self._state.vms[vm]
                used[names[host]] += (expected_mhz(record), record.spec.memory_mib)
        return names, capacity.reshape(-1, 2), used

    def full(self, spec: MigrationSpec) -> str:
        """Return what has no slot left for one more migration, or "" if there is one."""
        return self._slots.full(spec, self._state.vms[spec.vm].spec.datastore)

    def start(self, spec: MigrationSpec) -> None:
        """Count a migration that starts now."""
        self._slots.take(spec, self._state.vms[spec.vm].spec.datastore)
        self.hold(self._state.vms[spec.vm], spec.destination)

    def hold(self, vm: VmRecord, host: str) -> None:
        """Count a VM on one more host."""
        if host not in self.held[vm.spec.name]:
            self._count(vm, host)
            if self._loads is not None:
                names, _, used = self._loads
                used[names[host]] += (expected_mhz(vm), vm.spec.memory_mib)

    def _count(self, vm: VmRecord, host: str) -> None:
        spec = vm.spec
        self.held[spec.name] = (*self.held[spec.name], host)
        self._memory_mib[host] += spec.memory_mib
        self._reserved_mhz[host] += spec.cpu_reservation_mhz


def expected_mhz(vm: VmRecord) -> float:
    """Return a VM's demand as measured; before the first sample what its profile begins with."""
    known = vm.demand_mhz() if vm.samples else vm.demand.at(0.0)
    return min(known, vm.spec.cpu_mhz)
