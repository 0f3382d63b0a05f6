"""The cluster as DRS sees it: one snapshot of what VirtualCenter knows."""

from collections.abc import Hashable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cluster.inventory.demand import Constant
from cluster.inventory.model import Automation, GuestSpec, HostSpec, VmSpec
from cluster.inventory.switches import KernelPort
from cluster.policy.licence_terms import Feature
from cluster.policy.networking import interface_of
from cluster.policy.preflight import lasting_problems
from cluster.policy.rules import rules_of
from cluster.policy.state import ClusterState, HostRecord, HostState, PowerState, VmRecord
from drs import Snapshot
from drs import model as drs_model

Kind = TypeVar("Kind", bound=Hashable)

AUTOMATION = {
    Automation.MANUAL: drs_model.Automation.MANUAL,
    Automation.PARTIALLY: drs_model.Automation.PARTIALLY_AUTOMATED,
    Automation.FULLY: drs_model.Automation.FULLY_AUTOMATED,
}
_HOST_STATES = {
    HostState.STARTING: drs_model.HostState.NOT_RESPONDING,
    HostState.CONNECTED: drs_model.HostState.CONNECTED,
    HostState.ENTERING_MAINTENANCE: drs_model.HostState.ENTERING_MAINTENANCE,
    HostState.MAINTENANCE: drs_model.HostState.MAINTENANCE,
    HostState.NOT_RESPONDING: drs_model.HostState.NOT_RESPONDING,
}
_NO_GUEST = GuestSpec(program="")
_NO_DEMAND = Constant(mhz=0.0)


def snapshot_of(state: ClusterState) -> Snapshot:
    """Return the cluster as DRS sees it: demand is each VM's mean over the window.

    A VM that is starting takes its room and is not recommended to move. One that migrates
    counts on its source until the migration has ended.
    """
    sources = {spec.vm: spec.source for spec in state.running()}
    vms = [vm for vm in state.vms.values() if vm.host is not None]
    hosts = list(state.hosts.values())
    return Snapshot.build(
        [host.spec.name for host in hosts],
        [vm.spec.name for vm in vms],
        [[host.spec.cpu_mhz, host.spec.memory_mib] for host in hosts],
        [[vm.demand_mhz(), vm.spec.memory_mib] for vm in vms],
        [sources.get(vm.spec.name, vm.host) for vm in vms],
        reservation=[[vm.spec.cpu_reservation_mhz, vm.spec.memory_reservation_mib] for vm in vms],
        limit=[[vm.spec.cpu_limit_mhz or float("inf"), float("inf")] for vm in vms],
        shares=[[vm.spec.cpu_shares, 10.0 * vm.spec.memory_mib] for vm in vms],
        allowed=_allowed(state, vms),
        host_states=[_HOST_STATES[host.state] for host in hosts],
        memory_bytes=[float(vm.spec.memory_bytes) for vm in vms],
        moved_at_s=[vm.moved_at_s for vm in vms],
        automation=[_automation(state, vm) for vm in vms],
        in_flight=[
            (spec.vm, spec.destination) for spec in state.running() if state.vms[spec.vm].host
        ],
        rules=rules_of(state.scenario.rules, among=frozenset(vm.spec.name for vm in vms)),
    )


def _automation(state: ClusterState, vm: VmRecord) -> drs_model.Automation | None:
    if vm.power is not PowerState.ON or vm.host is None or not _licensed(state.hosts[vm.host]):
        return drs_model.Automation.DISABLED
    return None if vm.spec.automation is None else AUTOMATION[vm.spec.automation]


def _allowed(state: ClusterState, vms: list[VmRecord]) -> npt.NDArray[np.bool_]:
    """(V, H) where each VM's migration would find no lasting problem, its own host included.

    Thousands of VMs and hosts come in few kinds, and a kind is judged once.
    """
    host_kinds, host_kind = _kinds([_host_kind(host.spec) for host in state.hosts.values()])
    at = dict(zip(state.hosts, host_kind.tolist(), strict=True))
    vm_kinds, vm_kind = _kinds([(_vm_kind(vm.spec), at[vm.host or ""]) for vm in vms])
    table = np.array(
        [
            [
                not lasting_problems(state.scenario, vm, host_kinds[source], host)
                for host in host_kinds
            ]
            for vm, source in vm_kinds
        ],
        np.bool_,
    ).reshape(len(vm_kinds), len(host_kinds))
    licensed = np.array([_licensed(host) for host in state.hosts.values()], np.bool_)
    allowed: npt.NDArray[np.bool_] = table[np.ix_(vm_kind, host_kind)] & licensed
    return allowed


def _licensed(host: HostRecord) -> bool:
    """DRS moves VMs only between hosts that are licensed for it and for VMotion."""
    return not host.lacking.get(Feature.VMOTION) and not host.lacking.get(Feature.DRS)


def _kinds(items: list[Kind]) -> tuple[list[Kind], npt.NDArray[np.int64]]:
    """Return the distinct items, and the index of each item among them."""
    index: dict[Kind, int] = {}
    which = [index.setdefault(item, len(index)) for item in items]
    return list(index), np.array(which, np.int64)


def _vm_kind(spec: VmSpec) -> VmSpec:
    """The VM without what no check of its configuration reads; what is new in it is kept."""
    return replace(
        spec, name="", host=None, guest=_NO_GUEST, demand=_NO_DEMAND, clients=None, seed=0
    )


def _host_kind(spec: HostSpec) -> HostSpec:
    """The host likewise; of a VMkernel port only its subnet is compared."""
    switches = tuple(
        replace(switch, kernel_ports=tuple(_subnet(port) for port in switch.kernel_ports))
        for switch in spec.switches
    )
    return replace(spec, name="", fault_domain="", switches=switches)


def _subnet(port: KernelPort) -> KernelPort:
    interface = interface_of(port)
    if interface is None:
        return port
    return replace(port, ip_address=str(interface.network.network_address))
