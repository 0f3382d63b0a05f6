"""The endpoints at which hosts serve their own metrics, for clusters too large for one endpoint."""

from collections.abc import Callable, Iterable, Mapping

from cluster.actors.guest_work import GuestCounters
from cluster.actors.reports import HostSample
from cluster.actors.views import HostView
from cluster.inventory.model import MIB, HostSpec
from cluster.observe.host_exporter import HostExporter, HostFigures
from cluster.observe.serving import MetricsServer
from cluster.policy.state import HostState


class OwnMetrics:
    """Serves what the host's samples say, until it is closed."""

    def __init__(self, spec: HostSpec, *, address: str, per_vm: bool) -> None:
        """Serve on a free port of `address`."""
        self._spec = spec
        self._guests = GuestCounters()
        self._exporter = HostExporter(spec.name, memory_bytes=spec.memory_mib * MIB, per_vm=per_vm)
        self._server = MetricsServer(self._exporter.metrics, port=0, address=address)
        self.target = f"{address}:{self._server.port}"

    def sampled(self, sample: HostSample) -> None:
        """Take a sample."""
        demand = sum(vm.demand_mhz for vm in sample.vms)
        granted = sum(vm.granted_mhz for vm in sample.vms)
        name = self._spec.name
        self._exporter.sampled(
            HostFigures(
                cpu_load=demand / self._spec.cpu_mhz,
                memory_load=sum(vm.memory_mib for vm in sample.vms) / self._spec.memory_mib,
                happiness=served(granted, demand),
                vms=len(sample.vms),
                tx_bytes=sample.tx_bytes,
                rx_bytes=sample.rx_bytes,
                work=self._guests.since_last({name: sample})[name],
                vm_happiness={vm.vm: served(vm.granted_mhz, vm.demand_mhz) for vm in sample.vms},
            )
        )

    def close(self) -> None:
        """Serve no longer."""
        self._server.close()


class OwnEndpoints:
    """Where hosts serve; one that has begun anew after its death is told to again."""

    def __init__(self, serve: Callable[[Iterable[str]], Mapping[str, str]]) -> None:
        """`serve` tells these hosts to, and returns HOST:PORT of those that answered."""
        self._serve = serve
        self._where: dict[str, str] = {}
        self._processes: dict[str, tuple[str, int]] = {}

    def look(self, hosts: Iterable[HostView]) -> Mapping[str, str] | None:
        """Tell those that have another process than before; return all endpoints if one did.

        A host that does not respond keeps its old one, so that its scrapes fail.
        """
        there = {
            host.name: (host.facts.node, host.facts.pid)
            for host in hosts
            if host.facts is not None
            and host.state not in (HostState.STARTING, HostState.NOT_RESPONDING)
        }
        new = {name: one for name, one in there.items() if self._processes.get(name) != one}
        if not new:
            return None
        self._where.update(self._serve(new))
        self._processes.update(new)
        return dict(self._where)


def served(granted_mhz: float, demand_mhz: float) -> float:
    """Return the share of a demand that is met; 1 without demand."""
    return granted_mhz / demand_mhz if demand_mhz > 0 else 1.0
