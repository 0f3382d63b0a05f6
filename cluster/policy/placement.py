"""Where a VM without a host goes: the least loaded host that may take it."""

from cluster.policy.preflight import admissible
from cluster.policy.state import ClusterState, VmRecord
from cluster.policy.usage import Usage, expected_mhz


def best_host(
    state: ClusterState, vm: VmRecord, usage: Usage, *, but: frozenset[str] = frozenset()
) -> str | None:
    """Return the admissible host whose fuller resource stays emptiest, or None.

    Not one of `but`. A must rule that would be newly broken rules a host out. Demand that
    is not yet known counts as what the profile says at its beginning. Ties go to the
    first name.
    """
    best: tuple[float, str] | None = None
    wanted_mhz = expected_mhz(vm)
    for name, host in state.hosts.items():
        if name in but:
            continue
        cpu = wanted_mhz + usage.cpu_mhz(name, but=vm)
        memory = vm.spec.memory_mib + host.spec.memory_mib - usage.free_mib(name, but=vm.spec)
        candidate = max(cpu / host.spec.cpu_mhz, memory / host.spec.memory_mib), name
        if best is not None and best < candidate:
            continue  # the cheap comparison first: most hosts lose it
        if not admissible(state, vm, name, usage):
            best = candidate
    return None if best is None else best[1]
