"""Which Ray node each ESX host runs on, and whether the nodes hold what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.inventory.model import MIB, HostSpec, Placement, VmSpec

# What a process of Python with Ray takes beside a guest's memory, as measured
# (benchmarks/startup.py) and rounded up.
VM_PROCESS_BYTES = 64 * MIB
HOST_PROCESS_BYTES = 128 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A Ray node as it is before the start. `memory_bytes` is what it offers to workers."""

    id: str
    address: str
    memory_bytes: int
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """Where hosts go. With `problems` it cannot be, and each says what is missing."""

    nodes: dict[str, str]
    problems: tuple[str, ...]


def plan_hosts(
    hosts: Sequence[HostSpec],
    vms: Sequence[VmSpec],
    nodes: Sequence[NodeFacts],
    *,
    strategy: Placement,
    standby_processes: int = 0,
) -> HostPlan:
    """Lay hosts over nodes so that each node holds the VMs that start on its hosts.

    Each host keeps so many VM processes standing by. The hosts that need most are placed first.
    VMs that DRS places are checked against the sum of what is left, because where they go is not
    known yet.
    """
    each = HOST_PROCESS_BYTES + standby_processes * VM_PROCESS_BYTES
    needs = {host.name: each for host in hosts}
    homeless_bytes = 0
    for vm in vms:
        if vm.host is None:
            homeless_bytes += vm.memory_bytes + VM_PROCESS_BYTES
        else:
            needs[vm.host] += vm.memory_bytes + VM_PROCESS_BYTES
    free = {node.id: node.memory_bytes for node in nodes}
    count = dict.fromkeys(free, 0)
    placed: dict[str, str] = {}
    problems: list[str] = []
    for host in sorted(hosts, key=lambda host: -needs[host.name]):
        need = needs[host.name]
        suited = [node for node in nodes if set(host.node_labels) <= set(node.labels)]
        fitting = [node for node in suited if free[node.id] >= need]
        if not fitting:
            problems.append(_why_not(host, need, suited, nodes, free))
            continue
        if strategy is Placement.PACK:
            node = fitting[0]
        else:
            node = min(fitting, key=lambda node: (count[node.id], -free[node.id]))
        placed[host.name] = node.id
        free[node.id] -= need
        count[node.id] += 1
    left = sum(free.values())
    if not problems and homeless_bytes > left:
        problems.append(
            f"VMs without a host need {homeless_bytes // MIB} MiB, and beside the others the nodes"
            f" have {left // MIB} MiB left: add a node, or let fewer VMs start"
        )
    return HostPlan(nodes=placed, problems=tuple(problems))


def _why_not(
    host: HostSpec,
    need: int,
    suited: Sequence[NodeFacts],
    nodes: Sequence[NodeFacts],
    free: dict[str, int],
) -> str:
    if not suited:
        wanted = ", ".join(f"{name}={value}" for name, value in host.node_labels)
        there = sorted({f"{k}={v}" for node in nodes for k, v in node.labels if "/" not in k})
        return (
            f"{host.name} needs a Ray node with {wanted}; the nodes have"
            f" {', '.join(there) or 'no labels'}: ray start --labels={wanted.replace(', ', ',')}"
        )
    best = max(suited, key=lambda node: free[node.id])
    return (
        f"{host.name} needs {need // MIB} MiB for its VMs and their processes; the Ray node with most"
        f" room for it, {best.address}, has {free[best.id] // MIB} MiB left"
    )
