"""The metrics that a host serves itself: what it knows better, and sooner, than VirtualCenter."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.observe.exporter import GuestWork
from cluster.observe.instruments import Instruments
from cluster.observe.metrics import HOSTS_OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """A host over the sample just ended.

    Attributes:
        tx_bytes, rx_bytes: Of its VMotion network card since the host's start.
        vm_happiness: Of every VM that runs there, the share of its demand that it gets.
    """

    cpu_load: float
    memory_load: float
    happiness: float
    vms: int
    tx_bytes: int
    rx_bytes: int
    work: GuestWork
    vm_happiness: Mapping[str, float]


class HostExporter:
    """One host's own metrics, under the names and labels that VirtualCenter's endpoint gives them."""

    def __init__(self, host: str, *, memory_bytes: int, per_vm: bool = True) -> None:
        """`per_vm=False` leaves out every metric that has a series a VM."""
        left_out = [metric for metric in HOSTS_OWN if metric.per_vm and not per_vm]
        self._instruments = Instruments(HOSTS_OWN, left_out=left_out)
        self.metrics, self.registry = self._instruments, self._instruments.registry
        self._host = host
        self._vms: set[str] = set()
        self._tx_bytes = self._rx_bytes = 0
        self._instruments.set("vmotion_host_memory_bytes", memory_bytes, host)

    def sampled(self, figures: HostFigures) -> None:
        """Take a sample."""
        made, host = self._instruments, self._host
        made.set("vmotion_host_cpu_load_ratio", figures.cpu_load, host)
        made.set("vmotion_host_memory_load_ratio", figures.memory_load, host)
        made.set("drs_host_happiness_ratio", figures.happiness, host)
        made.set("vmotion_host_vms", figures.vms, host)
        sent, received = figures.tx_bytes - self._tx_bytes, figures.rx_bytes - self._rx_bytes
        self._tx_bytes, self._rx_bytes = figures.tx_bytes, figures.rx_bytes
        made.add("vmotion_host_transmit_bytes_total", sent, host)
        made.add("vmotion_host_receive_bytes_total", received, host)
        made.add("vmotion_host_guest_behind_seconds_total", figures.work.behind_s, host)
        made.add("vmotion_host_guest_overruns_total", figures.work.overruns, host)
        made.add("vmotion_host_guest_requests_total", figures.work.requests, host)
        for vm in self._vms - figures.vm_happiness.keys():
            made.remove("drs_vm_happiness_ratio", vm)
        self._vms = set(figures.vm_happiness)
        for vm, ratio in figures.vm_happiness.items():
            made.set("drs_vm_happiness_ratio", ratio, vm)

    def text(self) -> str:
        """What a scrape gets."""
        return self._instruments.text()
