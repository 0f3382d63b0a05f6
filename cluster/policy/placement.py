"""Where a VM without a host goes: the least loaded host that may take it."""

from collections.abc import Iterator

from cluster.policy.preflight import admissible
from cluster.policy.standby import efficiency_mhz_per_w
from cluster.policy.state import ClusterState, VmRecord
from cluster.policy.usage import Usage


def best_host(
    state: ClusterState, vm: VmRecord, usage: Usage, *, but: frozenset[str] = frozenset()
) -> str | None:
    """Return the admissible host whose fuller resource stays emptiest, or None.

    Not one of `but`. A must rule that would be newly broken rules a host out. Demand that
    is not yet known counts as what the profile says at its beginning. Ties go to the
    first name. With power management the hosts come by what a Watt buys there instead, and
    the first that stays below the target takes the VM.
    """
    order = _packed(state, vm, usage) if state.scenario.power.enabled else usage.emptiest(vm)
    for name in order:
        if name not in but and not admissible(state, vm, name, usage):
            return name
    return None


def _packed(state: ClusterState, vm: VmRecord, usage: Usage) -> Iterator[str]:
    """The hosts that stay below `low_ratio`, the most efficient first; then the rest.

    How much demand jumps is not known yet, so nothing is filled to the target.
    """
    fill = state.scenario.power.low_ratio
    load = usage.loads_with(vm)
    order = sorted(load, key=lambda name: -efficiency_mhz_per_w(state.hosts[name].spec))
    yield from (name for name in order if load[name] <= fill)
    yield from sorted((name for name in order if load[name] > fill), key=load.__getitem__)
