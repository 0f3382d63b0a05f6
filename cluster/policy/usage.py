"""What each host holds now, kept current through one pass of decisions."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cluster.inventory.model import HostSpec, VmSpec
from cluster.migration.spec import MigrationSpec
from cluster.policy.admission import Slots
from cluster.policy.state import ClusterState, VmRecord

FloatArray = npt.NDArray[np.float64]


class Held(Mapping[str, tuple[str, ...]]):
    """The hosts that hold each VM, read from the state when asked; arrivals are added.

    A decision is about one VM and one host of thousands, so nothing is counted beforehand.
    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._more: dict[str, tuple[str, ...]] = {}
        self._guests: dict[str, dict[str, VmRecord]] = {}
        for spec in state.running():
            for host in (spec.source, spec.destination):
                self.add(state.vms[spec.vm], host)

    def add(self, vm: VmRecord, host: str) -> None:
        """Count a VM on one more host; on one that holds it already nothing changes."""
        name = vm.spec.name
        self._more[name] = (*self._more.get(name, ()), host)
        self._guests.setdefault(host, {})[name] = vm

    def on(self, host: str) -> Iterator[VmRecord]:
        """The VMs that a host holds, each once."""
        residents = self._state.residents[host]
        yield from residents.values()
        guests = self._guests.get(host, {})
        yield from (vm for name, vm in guests.items() if name not in residents)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        at, more = self._state.vms[name].host, self._more.get(name, ())
        return tuple(dict.fromkeys(more if at is None else (at, *more)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.vms)

    def __len__(self) -> int:
        return len(self._state.vms)


class _Specs(Mapping[str, HostSpec]):
    """Each host's configuration, by name."""

    def __init__(self, state: ClusterState) -> None:
        self._hosts = state.hosts

    def __getitem__(self, name: str) -> HostSpec:
        return self._hosts[name].spec

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


class Usage:
    """Memory, CPU and migration slots by host, as they are and as decided since this was made.

    Attributes:
        held: The hosts that hold each VM, as rules judge them.
    """

    def __init__(self, state: ClusterState) -> None:
        self.held = Held(state)
        self._state = state
        self._running = state.running()
        self._loads: tuple[dict[str, int], FloatArray, FloatArray] | None = None
        self._counted: dict[str, set[str]] = {}

    def free_mib(self, host: str, *, but: VmSpec | None = None) -> int:
        """Return the memory that a host has left, with `but` not counted there."""
        used = sum(vm.spec.memory_mib for vm in self.held.on(host))
        free = self._state.hosts[host].spec.memory_mib - used
        if but is not None and host in self.held[but.name]:
            free += but.memory_mib
        return free

    def free_reserved_mhz(self, host: str, *, but: VmSpec | None = None) -> float:
        """Return the CPU of a host that nobody has reserved, with `but` not counted there."""
        reserved = sum(vm.spec.cpu_reservation_mhz for vm in self.held.on(host))
        free = self._state.hosts[host].spec.cpu_mhz - reserved
        if but is not None and host in self.held[but.name]:
            free += but.cpu_reservation_mhz
        return free

    def emptiest(self, vm: VmRecord) -> list[str]:
        """Return the hosts by the load of their fuller resource if `vm` were there; ties by name."""
        names, load = self._with(vm)
        order = np.argsort(load.max(axis=1), kind="stable")
        hosts = list(names)
        return [hosts[at] for at in order.tolist()]

    def loads_with(self, vm: VmRecord) -> dict[str, float]:
        """Return each host's load of its fuller resource if `vm` were there."""
        names, load = self._with(vm)
        return dict(zip(names, load.max(axis=1).tolist(), strict=True))

    def load_with(self, host: str, vm: VmRecord) -> tuple[float, float]:
        """Return the host's CPU and memory load if `vm` were there; 1 is full."""
        names, load = self._with(vm)
        cpu_load, memory_load = load[names[host]].tolist()
        return cpu_load, memory_load

    def _with(self, vm: VmRecord) -> tuple[dict[str, int], FloatArray]:
        """Index by name, and (hosts, 2) loads of every host if `vm` were there."""
        if self._loads is None:
            self._loads = self._measured()
        names, capacity, used = self._loads
        there = np.add(used, (expected_mhz(vm), vm.spec.memory_mib))
        for host in self.held[vm.spec.name]:
            there[names[host]] = used[names[host]]
        return names, there / capacity

    def _measured(self) -> tuple[dict[str, int], FloatArray, FloatArray]:
        """Index by name, capacity and use: (hosts, 2) of expected MHz and MiB."""
        specs = [self._state.hosts[name].spec for name in sorted(self._state.hosts)]
        names = {spec.name: at for at, spec in enumerate(specs)}
        capacity = np.array([(spec.cpu_mhz, spec.memory_mib) for spec in specs], np.float64)
        used = np.zeros((len(specs), 2))
        for vm, hosts in self.held.items():
            self._counted[vm] = set(hosts)
            for host in hosts:
                record = self._state.vms[vm]
                used[names[host]] += (expected_mhz(record), record.spec.memory_mib)
        return names, capacity.reshape(-1, 2), used

    @cached_property
    def _slots(self) -> Slots:
        slots = Slots(_Specs(self._state), self._state.scenario.migration)
        for spec in self._running:
            slots.take(spec, self._state.vms[spec.vm].spec.datastore)
        return slots

    def full(self, spec: MigrationSpec) -> str:
        """Return what has no slot left for one more migration, or "" if there is one."""
        return self._slots.full(spec, self._state.vms[spec.vm].spec.datastore)

    def start(self, spec: MigrationSpec) -> None:
        """Count a migration that starts now."""
        self._slots.take(spec, self._state.vms[spec.vm].spec.datastore)
        self.hold(self._state.vms[spec.vm], spec.destination)

    def hold(self, vm: VmRecord, host: str) -> None:
        """Count a VM on one more host."""
        self.held.add(vm, host)
        if self._loads is not None and host not in self._counted[vm.spec.name]:
            self._counted[vm.spec.name].add(host)
            names, _, used = self._loads
            used[names[host]] += (expected_mhz(vm), vm.spec.memory_mib)


def expected_mhz(vm: VmRecord) -> float:
    """Return a VM's demand as measured; before the first sample what its profile begins with."""
    known = vm.demand_mhz() if vm.samples else vm.demand.at(0.0)
    return min(known, vm.spec.cpu_mhz)
