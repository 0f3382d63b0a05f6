"""Where a VM without a host goes: the least loaded host that may take it."""

from cluster.policy.balancing import rules_of
from cluster.policy.preflight import admissible
from cluster.policy.state import ClusterState, VmRecord
from drs.rules import Strength


def best_host(state: ClusterState, vm: VmRecord, *, but: str | None = None) -> str | None:
    """Return the admissible host whose fuller resource stays emptiest, or None.

    A must rule that would be newly broken rules a host out. Demand that is not yet
    known counts as what the profile says at its beginning.
    """
    best: tuple[float, str] | None = None
    rules = [r for r in rules_of(state.scenario.rules) if r.strength is Strength.MUST]
    held = state.occupancy()
    before = {violation.cause() for rule in rules for violation in rule.check(held)}
    for name, host in state.hosts.items():
        there = state.held_by(name, but=vm.spec.name)
        if name == but or admissible(vm, None, host, there):
            continue
        placed = {**held, vm.spec.name: (name,)}
        if any(v.cause() not in before for rule in rules for v in rule.check(placed)):
            continue
        cpu = _expected_mhz(vm) + sum(_expected_mhz(state.vms[other.name]) for other in there)
        memory = vm.spec.memory_mib + sum(other.memory_mib for other in there)
        load = max(cpu / host.spec.cpu_mhz, memory / host.spec.memory_mib)
        best = min(best or (load, name), (load, name))
    return None if best is None else best[1]


def _expected_mhz(vm: VmRecord) -> float:
    known = vm.demand_mhz() if vm.samples else vm.demand.at(0.0)
    return min(known, vm.spec.cpu_mhz)
