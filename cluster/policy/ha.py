"""HA: which host is lost, which VMs restart first, and what is kept free for them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from cluster.inventory.model import HostSpec, RestartPriority, VmSpec

# A VM without a CPU reservation takes this much of a slot (vSphere's das.vmcpuminmhz).
_SLOT_CPU_MHZ_MIN = 32.0
_ORDER = {RestartPriority.HIGH: 0, RestartPriority.MEDIUM: 1, RestartPriority.LOW: 2}


def restart_order(vms: Iterable[VmSpec]) -> list[VmSpec]:
    """Return the VMs that are restarted, by priority; of one priority the large first.

    The large ones fit in fewer places, so the small ones go around them. Names break ties.
    """
    wanted = [vm for vm in vms if vm.restart_priority is not RestartPriority.DISABLED]
    return sorted(wanted, key=lambda vm: (_ORDER[vm.restart_priority], -vm.memory_mib, vm.name))


class Suspicion:
    """Tells a lost host from a slow one: silence alone never makes a host lost.

    A host whose process is reported dead is lost at once, and need not come here. One whose
    *node* is reported dead may only be cut off: it is lost when `isolation_s_max` has
    passed without a word from it, because by then it has stunned its VMs by itself.
    """

    def __init__(self, isolation_s_max: float) -> None:
        self._isolation_s_max = isolation_s_max
        self._lost_at_s: dict[str, tuple[float, str]] = {}

    @property
    def wake_at(self) -> float | None:
        """When the next suspected host is lost, if it keeps silent."""
        return min((at_s for at_s, _ in self._lost_at_s.values()), default=None)

    def node_lost(self, host: str, reason: str, *, now: float) -> None:
        """A host's node is reported dead; a second report does not begin the wait again."""
        self._lost_at_s.setdefault(host, (now + self._isolation_s_max, reason))

    def heard(self, host: str) -> None:
        """A host has spoken: the report was wrong, or the host is back."""
        self._lost_at_s.pop(host, None)

    def lost(self, *, now: float) -> list[tuple[str, str]]:
        """Return the hosts that are lost by now, with the reason, and forget them."""
        due = [(host, reason) for host, (at_s, reason) in self._lost_at_s.items() if at_s <= now]
        for host, _ in due:
            del self._lost_at_s[host]
        return due


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Failover capacity in slots, each large enough for any VM.

    Attributes:
        left: In the cluster after the loss of the tolerated number of its largest hosts.
        needed: One for each VM.
    """

    cpu_mhz: float
    memory_mib: int
    left: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether every VM would find a slot."""
        return self.needed <= self.left


def failover_slots(
    hosts: Mapping[str, HostSpec], vms: Iterable[VmSpec], *, failures_tolerated: int
) -> Slots:
    """Return whether the VMs survive the loss of any `failures_tolerated` of the hosts.

    Source: "Host Failures Cluster Tolerates Admission Control Policy", vSphere Availability.
    A slot is as large as the largest CPU reservation and the largest memory, as memory is
    not overcommitted here. Never too hopeful; one large VM makes it too careful.
    """
    running = list(vms)
    cpu_mhz, memory_mib = _slot(running)
    by_host = _slots_by_host(hosts.values(), cpu_mhz, memory_mib)
    kept = by_host[: max(0, len(by_host) - failures_tolerated)]
    return Slots(cpu_mhz=cpu_mhz, memory_mib=memory_mib, left=sum(kept), needed=len(running))


def hosts_on_min(
    hosts: Iterable[HostSpec], vms: Iterable[VmSpec], *, failures_tolerated: int
) -> int:
    """Return with how many of the hosts on, whichever they are, the VMs survive such a loss.

    All of them, if that is not enough either.
    """
    running = list(vms)
    by_host = _slots_by_host(hosts, *_slot(running))
    if not running:
        return 0
    short = sum(left < len(running) for left in accumulate(by_host))  # the smallest survive
    return min(short + 1 + failures_tolerated, len(by_host))


def _slot(vms: list[VmSpec]) -> tuple[float, int]:
    """Return the MHz and MiB that any of the VMs finds room in."""
    cpu_mhz = max((vm.cpu_reservation_mhz for vm in vms), default=0.0)
    return max(cpu_mhz, _SLOT_CPU_MHZ_MIN), max((vm.memory_mib for vm in vms), default=1)


def _slots_by_host(hosts: Iterable[HostSpec], cpu_mhz: float, memory_mib: int) -> list[int]:
    """Return each host's slots, the smallest host first."""
    return sorted(
        min(math.floor(host.cpu_mhz / cpu_mhz), host.memory_mib // memory_mib) for host in hosts
    )
