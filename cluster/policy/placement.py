"""Where a VM without a host goes: the least loaded host that may take it."""

from cluster.policy.preflight import admissible
from cluster.policy.state import ClusterState, VmRecord
from cluster.policy.usage import Usage


def best_host(
    state: ClusterState, vm: VmRecord, usage: Usage, *, but: frozenset[str] = frozenset()
) -> str | None:
    """Return the admissible host whose fuller resource stays emptiest, or None.

    Not one of `but`. A must rule that would be newly broken rules a host out. Demand that
    is not yet known counts as what the profile says at its beginning. Ties go to the
    first name.
    """
    for name in usage.emptiest(vm):
        if name not in but and not admissible(state, vm, name, usage):
            return name
    return None
