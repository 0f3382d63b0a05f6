"""May this VM run on that host, and may it go there now? Every reason at once, as data."""

from collections.abc import Iterable
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


def admissible(
    vm: VmRecord, source: HostRecord | None, destination: HostRecord, there: Iterable[VmSpec]
) -> list[Problem]:
    """Return why `vm` cannot go to `destination` now.

    `there` is what runs on the destination or is on its way there, `vm` itself apart.
    """
    problems = compatible(vm.spec, destination.spec)
    if destination.state is not HostState.CONNECTED:
        problems.append(
            Problem(
                check="host state",
                text=f"{destination.spec.name} is {destination.state.value}",
                lasting=False,
            )
        )
    if source is not None and source.spec.cpu_family != destination.spec.cpu_family:
        problems.append(
            Problem(
                check="cpu",
                text=(
                    f"{source.spec.name} is {source.spec.cpu_family}, "
                    f"{destination.spec.name} is {destination.spec.cpu_family}"
                ),
            )
        )
    used_mib = sum(other.memory_mib for other in there)
    if used_mib + vm.spec.memory_mib > destination.spec.memory_mib:
        problems.append(
            Problem(
                check="memory",
                text=(
                    f"{destination.spec.name} has {destination.spec.memory_mib - used_mib} MiB left, "
                    f"{vm.spec.name} needs {vm.spec.memory_mib}"
                ),
                lasting=False,
            )
        )
    return problems
