"""The cluster as DRS sees it: one snapshot of what VirtualCenter knows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import Automation
from cluster.policy.preflight import lasting_problems
from cluster.policy.rules import rules_of
from cluster.policy.state import ClusterState, HostRecord, HostState, PowerState, VmRecord
from drs import Snapshot
from drs import model as drs_model

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
    HostState.ENTERING_STANDBY: drs_model.HostState.ENTERING_MAINTENANCE,
    HostState.STANDBY: drs_model.HostState.STANDBY,
    HostState.NOT_RESPONDING: drs_model.HostState.NOT_RESPONDING,
}


def snapshot_of(state: ClusterState, among: Sequence[str] | None = None) -> Snapshot:
    """Return the cluster as DRS sees it: demand is each VM's mean over the window.

    A VM that is starting takes its room and is not recommended to move. One that migrates
    counts on its source until the migration has ended. `among` names the hosts that it is
    about, with every host that holds a VM among them; all of them if it is None.
    """
    sources = {spec.vm: spec.source for spec in state.running()}
    vms = placed_vms(state)
    hosts = [state.hosts[name] for name in (state.hosts if among is None else among)]
    return Snapshot.build(
        [host.spec.name for host in hosts],
        [vm.spec.name for vm in vms],
        [[host.spec.cpu_mhz, host.spec.memory_mib] for host in hosts],
        [[vm.demand_mhz(), vm.spec.memory_mib] for vm in vms],
        [sources.get(vm.spec.name, vm.host) for vm in vms],
        reservation=[[vm.spec.cpu_reservation_mhz, vm.spec.memory_reservation_mib] for vm in vms],
        limit=[[vm.spec.cpu_limit_mhz or float("inf"), float("inf")] for vm in vms],
        shares=[[vm.spec.cpu_shares, 10.0 * vm.spec.memory_mib] for vm in vms],
        allowed=_allowed(state, vms, hosts),
        host_states=[_HOST_STATES[host.state] for host in hosts],
        memory_bytes=[float(vm.spec.memory_bytes) for vm in vms],
        moved_at_s=[vm.moved_at_s for vm in vms],
        automation=[_automation(state, vm) for vm in vms],
        in_flight=[
            (spec.vm, spec.destination) for spec in state.running() if state.vms[spec.vm].host
        ],
        rules=rules_of(state.scenario.rules, among=frozenset(vm.spec.name for vm in vms)),
    )


def placed_vms(state: ClusterState) -> list[VmRecord]:
    """Return the VMs of a snapshot, in its order."""
    return [vm for vm in state.vms.values() if vm.host is not None]


def _automation(state: ClusterState, vm: VmRecord) -> drs_model.Automation | None:
    if vm.power is not PowerState.ON or vm.host is None or not _licensed(state.hosts[vm.host]):
        return drs_model.Automation.DISABLED
    return None if vm.spec.automation is None else AUTOMATION[vm.spec.automation]


def _allowed(
    state: ClusterState, vms: list[VmRecord], hosts: list[HostRecord]
) -> npt.NDArray[np.bool_]:
    """(V, H) where each VM's migration would find no lasting problem, its own host included.

    Thousands of VMs and hosts come in few kinds, and a kind is judged once.
    """
    host_kind = state.host_kinds.numbers(host.spec for host in hosts)
    vm_kind = state.vm_kinds.numbers(vm.spec for vm in vms)
    at = dict(zip((host.spec.name for host in hosts), host_kind.tolist(), strict=True))
    source_kind = np.array([at[vm.host or ""] for vm in vms], np.int64)
    kinds = state.host_kinds.found
    pairs, which = np.unique(vm_kind * len(kinds) + source_kind, return_inverse=True)
    table = np.array(
        [
            [
                not lasting_problems(
                    state.scenario,
                    state.vm_kinds.found[pair // len(kinds)],
                    kinds[pair % len(kinds)],
                    host,
                )
                for host in kinds
            ]
            for pair in pairs.tolist()
        ],
        np.bool_,
    ).reshape(len(pairs), len(kinds))
    licensed = np.array([_licensed(host) for host in hosts], np.bool_)
    allowed: npt.NDArray[np.bool_] = table[np.ix_(which, host_kind)] & licensed
    return allowed


def _licensed(host: HostRecord) -> bool:
    """DRS moves VMs only between hosts that are licensed for it and for VMotion."""
    return not host.lacking.get(Feature.VMOTION) and not host.lacking.get(Feature.DRS)
