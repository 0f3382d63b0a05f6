"""May this VM run on that host, and may it go there now? Every reason at once, as data."""

from dataclasses import dataclass

from cluster.inventory.model import HostSpec, VmSpec
from cluster.policy.state import HostRecord, HostState, VmRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why not, under the name of its check.

    Attributes:
        lasting: Waiting does not help: only a change of configuration does.
    """

    check: str
    text: str
    lasting: bool = True


def compatible(vm: VmSpec, host: HostSpec) -> list[Problem]:
    """Return what in their configuration keeps `vm` from running on `host`, load apart."""
    problems: list[Problem] = []
    missing = [network for network in vm.networks if network not in host.networks]
    if missing:
        problems.append(Problem(check="network", text=f"{host.name} has no {', '.join(missing)}"))
    if vm.datastore not in host.datastores:
        problems.append(
            Problem(check="datastore", text=f"{host.name} does not reach {vm.datastore}")
        )
    if vm.memory_mib > host.memory_mib:
        problems.append(
            Problem(
                check="memory",
                text=f"{vm.name} needs {vm.memory_mib} MiB, {host.name} has {host.memory_mib}",
            )
        )
    return problems


def lasting_problems(vm: VmSpec, source: HostSpec, destination: HostSpec) -> list[Problem]:
    """Return what in their configuration keeps `vm` from going from `source` to `destination`."""
    problems = compatible(vm, destination)
    if source.cpu_family != destination.cpu_family:
        text = (
            f"{source.name} is {source.cpu_family}, {destination.name} is {destination.cpu_family}"
        )
        problems.append(Problem(check="cpu", text=text))
    return problems


def admissible(
    vm: VmRecord, source: HostRecord | None, destination: HostRecord, *, free_mib: int
) -> list[Problem]:
    """Return why `vm` cannot go to `destination` now; `source` None powers it on there.

    `free_mib` is what the destination has left, `vm` itself not counted.
    """
    if source is None:
        problems = compatible(vm.spec, destination.spec)
    else:
        problems = lasting_problems(vm.spec, source.spec, destination.spec)
    if destination.state is not HostState.CONNECTED:
        text = f"{destination.spec.name} is {destination.state.value}"
        problems.append(Problem(check="host state", text=text))
    if vm.spec.memory_mib > free_mib:
        text = f"{destination.spec.name} has {free_mib} MiB left, {vm.spec.name} needs {vm.spec.memory_mib}"
        problems.append(Problem(check="memory", text=text, lasting=False))
    return problems
