"""Preflight: may this VM run on that host, and may it go there now? Every reason at once, as data.

One table says what is checked. Numbers are those of the how-to's nine conditions.
Condition 8 differs by profile, because the how-to asks for the reverse of what VMware
requires: `vi3` wants the VM's port groups on the two hosts to have *different* labels and
matches them by physical network, as the how-to is written; `vsphere` wants the *same*
label on both, on the same network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cluster.inventory.model import PAGE_BYTES, HostSpec, Mode, Scenario, VmSpec
from cluster.migration.convergence import predicted_flip_s
from cluster.policy import conditions
from cluster.policy.problems import Problem
from cluster.policy.question import Moment, Question
from cluster.policy.state import ClusterState, HostRecord, VmRecord
from cluster.policy.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of the table.

    Attributes:
        reads: The facts that it looks at, for people.
        cure: What the user should do.
        condition: Its number in the how-to; None is not one of the nine.
        at_power_on: It also says whether a VM may be powered on there.
        lasting: Waiting does not help.
    """

    name: str
    reads: str
    cure: str
    find: Callable[[Question], Iterable[str]]
    condition: int | None = None
    at_power_on: bool = False
    lasting: bool = True


CHECKS: tuple[Check, ...] = (
    Check(
        name="local device",
        condition=1,
        reads="the VM's devices",
        cure="Disconnect the device, or use an image on shared storage.",
        find=conditions.local_device,
    ),
    Check(
        name="internal switch",
        condition=2,
        reads="the VM's networks, the source's switches",
        cure="Connect the VM to a virtual switch that has a card.",
        find=conditions.internal_switch,
    ),
    Check(
        name="cpu affinity",
        condition=3,
        reads="the VM's CPU affinity",
        cure="Remove the CPU affinity.",
        find=conditions.cpu_affinity,
    ),
    Check(
        name="cluster relationship",
        condition=4,
        reads="the VM's cluster membership",
        cure="Take the VM out of its cluster of VMs, or move it powered off.",
        find=conditions.cluster_relationship,
    ),
    Check(
        name="swap",
        condition=5,
        reads="where the VM's swap file is, the destination's datastores",
        cure="Put the swap file on a datastore that both hosts reach.",
        find=conditions.swap,
    ),
    Check(
        name="datastore",
        condition=6,
        reads="the VM's datastore, the destination's datastores",
        cure="Present the datastore to the destination.",
        find=conditions.datastore,
        at_power_on=True,
    ),
    Check(
        name="cpu",
        condition=7,
        reads="CPU family and features of both hosts, the VM's mask, the EVC baseline",
        cure="Choose a host with a compatible CPU, mask the features, or set an EVC baseline.",
        find=conditions.cpu,
    ),
    Check(
        name="labels",
        condition=8,
        reads="the labels of the VM's port groups on both hosts, the profile",
        cure="Rename the port group.",
        find=conditions.labels,
    ),
    Check(
        name="vmotion port",
        condition=9,
        reads="the VMkernel port groups of both hosts",
        cure="Configure a VMkernel port group for VMotion, in one subnet on all hosts.",
        find=conditions.vmotion_ports,
    ),
    Check(
        name="network",
        reads="the VM's networks, the destination's networks",
        cure="Connect the destination to the network.",
        find=conditions.network,
        at_power_on=True,
    ),
    Check(
        name="gigabit",
        reads="the rates of both hosts' VMotion cards",
        cure="Use a card of 1 Gbit/s or faster.",
        find=conditions.gigabit,
    ),
    Check(
        name="vmotion enabled",
        reads="both hosts' configuration for VMotion",
        cure="Turn VMotion on under Licensed Features, Add-Ons.",
        find=conditions.enabled,
    ),
    Check(
        name="licence",
        reads="both hosts' licences",
        cure="Install a licence that covers the host.",
        find=conditions.licence,
    ),
    Check(
        name="esx licence",
        reads="the destination's licence for ESX Server",
        cure="Install a licence that covers the host.",
        find=conditions.esx_licence,
        at_power_on=True,
    ),
    Check(
        name="host state",
        reads="the states of both hosts",
        cure="Choose a connected host, or wait until this one is.",
        find=conditions.host_state,
        at_power_on=True,
    ),
    Check(
        name="size",
        reads="the VM's memory and CPU reservation, the destination's size",
        cure="Choose a larger host.",
        find=conditions.size,
        at_power_on=True,
    ),
    Check(
        name="capacity",
        reads="memory and CPU that are not taken on the destination",
        cure="Move another VM away first.",
        find=conditions.capacity,
        at_power_on=True,
        lasting=False,
    ),
    Check(
        name="rule",
        reads="the placement rules, where all VMs are",
        cure="Choose another host, or change the rule.",
        find=conditions.rule,
        at_power_on=True,
        lasting=False,
    ),
    Check(
        name="tracker",
        reads="the mode that was asked for, what both hosts' kernels can do",
        cure="Choose the mode precopy or auto.",
        find=conditions.tracker,
    ),
    Check(
        name="stun limit",
        reads="the VM's stun limit, past switchovers, the mode, both hosts' cards",
        cure="Raise the VM's stun limit, or choose a faster card or the mode hybrid.",
        find=conditions.stun_limit,
        lasting=False,
    ),
)


def ask(question: Question) -> list[Problem]:
    """Return every problem; without a source only what keeps the VM from being powered on."""
    return [
        Problem(check=check.name, text=text, cure=check.cure, lasting=check.lasting)
        for check in CHECKS
        if check.at_power_on or question.source is not None
        for text in check.find(question)
    ]


def expected_stun_s(
    state: ClusterState, vm: VmSpec, ends: Iterable[HostRecord], mode: Mode | None
) -> float:
    """Return for how long a migration may stun a VM, as far as can be known before it starts.

    A flip costs what past switchovers cost and the numbers of the missing pages, at worst of
    all. A pre-copy switches over as soon as it would take what is allowed, so that is expected.
    """
    settings = state.scenario.migration
    if (mode or settings.mode) is Mode.PRECOPY:
        return max(state.overhead_s, vm.downtime_s_max or settings.downtime_s_max)
    rates = [end.spec.nic.rate_bytes_per_second for end in ends]
    known = [rate for rate in rates if rate is not None]
    pages = vm.memory_bytes // PAGE_BYTES
    return predicted_flip_s(pages, pages, min(known, default=None), state.overhead_s)


def lasting_problems(
    scenario: Scenario, vm: VmSpec, source: HostSpec, destination: HostSpec
) -> list[Problem]:
    """Return what in their configuration keeps `vm` from going from `source` to `destination`."""
    question = Question(
        vm=vm,
        source=source,
        destination=destination,
        profile=scenario.profile,
        evc_features=scenario.evc_features,
    )
    return ask(question)


def admissible(
    state: ClusterState,
    vm: VmRecord,
    destination: str,
    usage: Usage,
    *,
    mode: Mode | None = None,
    on_the_way: bool = False,
) -> list[Problem]:
    """Return why `vm` cannot go from its host to `destination` now, or be powered on there.

    `on_the_way`: both hosts will hold it, and VMs that belong together may part meanwhile.
    """
    source = None if vm.host is None else state.hosts[vm.host]
    there = state.hosts[destination]
    here = () if vm.host is None else (vm.host,)
    broken = state.rules.newly_broken(
        usage.held,
        vm.spec.name,
        before=here,
        after=(*here, destination) if on_the_way else (destination,),
        on_the_way=on_the_way,
    )
    moment = Moment(
        source=None if source is None else source.facts(),
        destination=there.facts(),
        free_mib=usage.free_mib(destination, but=vm.spec),
        free_reserved_mhz=usage.free_reserved_mhz(destination, but=vm.spec),
        broken_rules=tuple(violation.message for violation in broken),
        mode=mode,
        line_bytes_per_second=None if vm.host is None else state.links.rate(vm.host, destination),
        stun_s=0.0 if source is None else expected_stun_s(state, vm.spec, (source, there), mode),
    )
    return ask(
        Question(
            vm=vm.spec,
            source=None if source is None else source.spec,
            destination=there.spec,
            profile=state.scenario.profile,
            evc_features=state.scenario.evc_features,
            moment=moment,
        )
    )
