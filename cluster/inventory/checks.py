"""What must hold between hosts, VMs and events: sizes, places, references, times.

A quantity that was wrong in the file is NaN here (see `reading`). Comparisons are
therefore written so that a problem is noted when they are true, never when they are false.
"""

from collections import defaultdict
from collections.abc import Iterable

from cluster.inventory.assembly import Draft
from cluster.inventory.cluster_tables import EventTable
from cluster.inventory.groups import listed
from cluster.inventory.model import HostSpec, PowerPlanner, Profile, TimedKind, VmSpec
from cluster.inventory.names import suggestion
from cluster.inventory.problems import Key
from cluster.inventory.tables import VmTable

_OF_VMS = frozenset(
    {TimedKind.DEMAND, TimedKind.MIGRATE, TimedKind.CANCEL, TimedKind.POWER_ON, TimedKind.POWER_OFF}
)
_OF_HOSTS = frozenset({TimedKind.MAINTENANCE, TimedKind.END_MAINTENANCE, TimedKind.HOST_FAILURE})


def check(draft: Draft) -> None:
    """Note everything about sizes, places and times that cannot be."""
    hosts = tuple(draft.hosts.specs.values())
    networks = _distinct(network for host in hosts for network in host.networks)
    datastores = _distinct(datastore for host in hosts for datastore in host.datastores)
    for key, vm in draft.samples:
        before = len(draft.findings.found)
        _check_amounts(draft, vm, key)
        if hosts:
            _check_largest(draft, vm, key, hosts)
            _check_known(draft, vm, key, networks, datastores)
        if before == len(draft.findings.found) and hosts:
            _check_one_host_has_all(draft, vm, key, hosts)
    for vm in draft.vms.specs.values():
        if vm.host in draft.hosts.specs:
            _check_own_host(draft, vm, draft.vms.origins[vm.name], draft.hosts.specs[vm.host])
    _check_totals(draft, hosts)
    for index, event in enumerate(draft.tables.events):
        _check_event(draft, event, ("event", index))
    for index, table in enumerate(draft.tables.vms):
        _check_times(draft, table, ("vm", index))
    _check_scenario(draft)
    _check_power(draft)
    _check_faults(draft)


def _check_power(draft: Draft) -> None:
    power, add = draft.tables.power, draft.findings.add
    if power.target_ratio > power.high_ratio:
        wrong = f"{power.target_ratio:g} is more than high_ratio"
        add(("power", "target_ratio"), wrong, f"at most {power.high_ratio:g}")
    if power.low_ratio > power.target_ratio:
        wrong = f"{power.low_ratio:g} is more than target_ratio"
        add(("power", "low_ratio"), wrong, f"at most {power.target_ratio:g}")
    if not power.enabled:
        return
    if power.planner is not PowerPlanner.DVFS and not draft.tables.drs.enabled:
        wrong = "is on, and DRS, whose passes it is a part of, is off"
        add(("power", "enabled"), wrong, 'drs.enabled = true, or planner = "dvfs"')
    dark = [host.name for host in draft.hosts.specs.values() if not host.power_w]
    if power.planner is PowerPlanner.THR_MMT and dark:
        wrong = f"thr-mmt goes by power, and {dark[0]} has no power_w"
        add(("power", "planner"), wrong, "power_w on every host")


def _check_times(draft: Draft, table: VmTable, key: Key) -> None:
    add, duration_s = draft.findings.add, draft.tables.scenario.duration_s
    for name in ("arrives_s", "stays_s"):
        times = getattr(table, name)
        if isinstance(times, list) and times[0] > times[1]:
            wrong = f"from {times[0]:g} to {times[1]:g} is backwards"
            add((*key, name), wrong, "the earlier time first")
    if table.arrives_s is not None and table.arrives_s[1] >= duration_s:
        wrong = f"{table.arrives_s[1]:g} s is not before the end of the run at {duration_s:g} s"
        add((*key, "arrives_s"), wrong, "an earlier time, or a longer duration_s")
    if table.arrives_s is not None and table.clients is not None:
        wrong = "clients begin with the run, and this VM arrives later"
        add((*key, "clients"), wrong, "no clients, or no arrives_s")


def _check_amounts(draft: Draft, vm: VmSpec, key: Key) -> None:
    add = draft.findings.add
    if vm.cpu_reservation_mhz > vm.cpu_mhz:
        wrong = f"{vm.cpu_reservation_mhz:g} is more than the VM's cpu_mhz"
        add((*key, "cpu_reservation_mhz"), wrong, f"at most {vm.cpu_mhz:g}")
    if vm.cpu_limit_mhz is not None and vm.cpu_reservation_mhz > vm.cpu_limit_mhz:
        wrong = f"{vm.cpu_limit_mhz:g} is less than the reservation"
        add((*key, "cpu_limit_mhz"), wrong, f"at least {vm.cpu_reservation_mhz:g}")
    if vm.memory_reservation_mib > vm.memory_mib:
        wrong = f"{vm.memory_reservation_mib} is more than the VM's memory_mib"
        add((*key, "memory_reservation_mib"), wrong, f"at most {vm.memory_mib}")


def _check_largest(draft: Draft, vm: VmSpec, key: Key, hosts: tuple[HostSpec, ...]) -> None:
    if all(vm.memory_mib > host.memory_mib for host in hosts):
        largest = max(host.memory_mib for host in hosts)
        wrong = f"a VM of {vm.memory_mib} MiB is larger than any host"
        draft.findings.add((*key, "memory_mib"), wrong, f"at most {largest}")
    if all(vm.cpu_mhz > host.cpu_mhz for host in hosts):
        largest_mhz = max(host.cpu_mhz for host in hosts)
        wrong = f"a VM of {vm.cpu_mhz:g} MHz is larger than any host"
        draft.findings.add((*key, "cpu_mhz"), wrong, f"at most {largest_mhz:g}")


def _check_known(
    draft: Draft, vm: VmSpec, key: Key, networks: tuple[str, ...], datastores: tuple[str, ...]
) -> None:
    for network in vm.networks:
        if network not in networks and not draft.findings.touch((*key, "networks")):
            wrong = f'no host has the network "{network}"'
            draft.findings.add((*key, "networks"), wrong, suggestion(network, networks))
    swap = vm.swap_datastore
    if swap is not None and swap not in datastores:
        wrong = f'no host has the datastore "{swap}"'
        draft.findings.add((*key, "swap_datastore"), wrong, suggestion(swap, datastores))
    if vm.datastore not in datastores and not draft.findings.touch((*key, "datastore")):
        wrong = f'no host has the datastore "{vm.datastore}"'
        draft.findings.add((*key, "datastore"), wrong, suggestion(vm.datastore, datastores))


def _check_one_host_has_all(
    draft: Draft, vm: VmSpec, key: Key, hosts: tuple[HostSpec, ...]
) -> None:
    if all(_lacks(vm, host) for host in hosts):
        wrong = "no single host has the memory, the CPU, the networks and the datastore it needs"
        draft.findings.add(key, wrong, "one host at least that has them all")


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _lacks(vm: VmSpec, host: HostSpec) -> tuple[str, ...]:
    """What the VM needs and the host, alone on it, does not have."""
    lacking = []
    if vm.memory_mib > host.memory_mib:
        lacking.append(f"{vm.memory_mib} MiB (it has {host.memory_mib})")
    if vm.cpu_mhz > host.cpu_mhz:
        lacking.append(f"{vm.cpu_mhz:g} MHz (it has {host.cpu_mhz:g})")
    lacking += [f'the network "{name}"' for name in vm.networks if name not in host.networks]
    if vm.datastore not in host.datastores:
        lacking.append(f'the datastore "{vm.datastore}"')
    return tuple(lacking)


def _check_own_host(draft: Draft, vm: VmSpec, key: Key, host: HostSpec) -> None:
    lacking = _lacks(vm, host)
    if lacking and not draft.findings.touch((*key, "networks")):
        wrong = f"{host.name} does not have {', '.join(lacking)}"
        draft.findings.add((*key, "host"), wrong, "another host, or none to let DRS choose")


def _check_totals(draft: Draft, hosts: tuple[HostSpec, ...]) -> None:
    if draft.hosts.uncounted:
        return  # more hosts were meant, and some of the VMs for them
    placed: dict[str, list[VmSpec]] = defaultdict(list)
    for vm in draft.vms.specs.values():
        if vm.host is not None and vm.arrives_s is None:
            placed[vm.host].append(vm)
    for host in hosts:
        vms = placed[host.name]
        needed = sum(vm.memory_mib for vm in vms)
        names = listed(vm.name for vm in vms)
        key = draft.hosts.origins[host.name]
        if needed > host.memory_mib and len(vms) > 1:
            wrong = f"{host.name} has {host.memory_mib} MiB, the VMs placed there have {needed}"
            right = f"fewer or smaller ones than {names}, or more memory"
            draft.findings.add((*key, "memory_mib"), wrong, right)
        reserved = sum(vm.cpu_reservation_mhz for vm in vms)
        if reserved > host.cpu_mhz:
            wrong = f"{host.name} has {host.cpu_mhz:g} MHz, {reserved:g} are reserved there"
            draft.findings.add((*key, "cpu_mhz"), wrong, f"smaller reservations of {names}")
    needed = sum(vm.memory_mib for vm in draft.vms.specs.values() if vm.arrives_s is None)
    there = sum(host.memory_mib for host in hosts)
    if hosts and needed > there:
        wrong = f"the VMs have {needed} MiB together, the hosts {there}"
        draft.findings.add(("vm",), wrong, "fewer or smaller VMs, or more hosts")


def _check_event(draft: Draft, event: EventTable, key: Key) -> None:
    add, touch = draft.findings.add, draft.findings.touch
    duration_s = draft.tables.scenario.duration_s
    if event.at_s >= duration_s:
        wrong = f"{event.at_s:g} s is not before the end of the run at {duration_s:g} s"
        add((*key, "at_s"), wrong, "an earlier time, or a longer duration_s")
    if touch((*key, "kind")):
        return
    if event.kind is TimedKind.DEMAND and event.demand is None and not touch((*key, "demand")):
        add((*key, "demand"), "is missing", "the new demand, in MHz or as a table")
    kind = f"an event of kind {event.kind.value}"
    if event.kind is not TimedKind.DEMAND and event.demand is not None:
        add((*key, "demand"), f"means nothing to {kind}", "leave it out")
    for name, kinds, right in (
        ("vms", _OF_VMS, "names of VMs"),
        ("hosts", _OF_HOSTS, "names of hosts"),
        ("destination", {TimedKind.MIGRATE}, ""),
        ("mode", {TimedKind.MIGRATE}, ""),
        ("wait", {TimedKind.MAINTENANCE}, ""),
    ):
        given = getattr(event, name) is not None
        if given and event.kind not in kinds:
            add((*key, name), f"means nothing to {kind}", "leave it out")
        elif right and not given and event.kind in kinds and not touch((*key, name)):
            add((*key, name), "is missing", f"{kind} needs {right}")


def _check_scenario(draft: Draft) -> None:
    scenario = draft.tables.scenario
    if scenario.evc_features is not None and scenario.profile is not Profile.VSPHERE:
        wrong = f"means nothing to the profile {scenario.profile.value}"
        draft.findings.add(("scenario", "evc_features"), wrong, 'profile = "vsphere"')
    if scenario.sample_s > scenario.duration_s:
        wrong = f"{scenario.sample_s:g} s is longer than the run of {scenario.duration_s:g} s"
        draft.findings.add(("scenario", "sample_s"), wrong, "a shorter time")


def _check_faults(draft: Draft) -> None:
    faults, duration_s = draft.tables.faults, draft.tables.scenario.duration_s
    if faults.until_s is not None and faults.until_s > duration_s:
        wrong = f"{faults.until_s:g} s is past the end of the run at {duration_s:g} s"
        draft.findings.add(("faults", "until_s"), wrong, "an earlier time, or leave it out")
    if faults.host_repair_s is not None and faults.host_mtbf_s is None:
        wrong = "means nothing without host_mtbf_s"
        draft.findings.add(("faults", "host_repair_s"), wrong, "add host_mtbf_s, or leave it out")
