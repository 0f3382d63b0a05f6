"""What each host holds now, kept current through one pass of decisions."""

from cluster.inventory.model import VmSpec
from cluster.migration.spec import MigrationSpec
from cluster.policy.admission import Slots
from cluster.policy.state import ClusterState, VmRecord


class Usage:
    """Memory, CPU and migration slots by host; made from the state once, then told what is decided.

    Attributes:
        held: The hosts that hold each VM, as rules judge them.
    """

    def __init__(self, state: ClusterState) -> None:
        self.held = state.occupancy()
        self._state = state
        self._memory_mib = dict.fromkeys(state.hosts, 0)
        self._reserved_mhz = dict.fromkeys(state.hosts, 0.0)
        self._cpu_mhz: dict[str, float] | None = None
        self._slots = Slots(
            {name: host.spec for name, host in state.hosts.items()}, state.scenario.migration
        )
        for vm, hosts in self.held.items():
            for host in hosts:
                self._memory_mib[host] += state.vms[vm].spec.memory_mib
                self._reserved_mhz[host] += state.vms[vm].spec.cpu_reservation_mhz
        for spec in state.running():
            self._slots.take(spec, state.vms[spec.vm].spec.datastore)

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

    def cpu_mhz(self, host: str, *, but: VmRecord) -> float:
        """Return the demand expected on a host, with `but` not counted."""
        if self._cpu_mhz is None:
            self._cpu_mhz = dict.fromkeys(self._state.hosts, 0.0)
            for vm, hosts in self.held.items():
                for at in hosts:
                    self._cpu_mhz[at] += expected_mhz(self._state.vms[vm])
        mine = expected_mhz(but) if host in self.held[but.spec.name] else 0.0
        return self._cpu_mhz[host] - mine

    def full(self, spec: MigrationSpec) -> str:
        """Return what has no slot left for one more migration, or "" if there is one."""
        return self._slots.full(spec, self._state.vms[spec.vm].spec.datastore)

    def start(self, spec: MigrationSpec) -> None:
        """Count a migration that starts now."""
        self._slots.take(spec, self._state.vms[spec.vm].spec.datastore)
        self.hold(self._state.vms[spec.vm], spec.destination)

    def hold(self, vm: VmRecord, host: str) -> None:
        """Count a VM on one more host."""
        name = vm.spec.name
        if host in self.held[name]:
            return
        self.held[name] = (*self.held[name], host)
        self._memory_mib[host] += vm.spec.memory_mib
        self._reserved_mhz[host] += vm.spec.cpu_reservation_mhz
        if self._cpu_mhz is not None:
            self._cpu_mhz[host] += expected_mhz(vm)


def expected_mhz(vm: VmRecord) -> float:
    """Return a VM's demand as measured; before the first sample what its profile begins with."""
    known = vm.demand_mhz() if vm.samples else vm.demand.at(0.0)
    return min(known, vm.spec.cpu_mhz)
