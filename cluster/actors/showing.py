"""What VirtualCenter knows, made into what it shows."""

from collections.abc import Mapping, Sequence

from cluster.actors.chronicle import Kind
from cluster.actors.reports import HostReport, HostSample, MigrationProgress
from cluster.actors.views import (
    ClusterView,
    HostLicences,
    HostView,
    LicenceView,
    MigrationView,
    VmView,
)
from cluster.inventory.licence_terms import licences_needed
from cluster.journal.journal import Noted
from cluster.policy.center import Center


def cluster_view(
    center: Center,
    *,
    now: float,
    reports: Mapping[str, HostReport],
    samples: Mapping[str, HostSample],
    progress: Mapping[str, MigrationProgress],
    verifying: int,
    entries: Sequence[Noted],
    number: int,
) -> ClusterView:
    """Return the cluster at this moment, and `entries` as what has happened."""
    state = center.state
    things = {kind: tuple(e.note for e in entries if e.kind == kind.value) for kind in Kind}
    return ClusterView(
        number=number,
        time_s=center.scenario_s(now),
        all_up=center.all_up,
        balance=center.balance(),
        hosts=tuple(
            host_view(center, name, reports.get(name), samples.get(name)) for name in state.hosts
        ),
        samples=dict(samples),
        vms=tuple((name, vm.host, vm.power) for name, vm in state.vms.items()),
        migrations=tuple(
            MigrationView(
                spec=m.spec,
                queued_s=m.queued_s,
                started_s=m.started_s,
                waiting_for=m.waiting_for,
                progress=progress.get(m.spec.id),
            )
            for m in state.migrations.values()
        ),
        happened=things[Kind.STORY],
        ended=things[Kind.ENDED],
        verified=things[Kind.VERIFIED],
        verifying=verifying,
        problems=things[Kind.PROBLEM],
        licences=center.licences(now=now),
        awaiting_restart=sum(vm.restart_wanted for vm in state.vms.values()),
    )


def licence_view(center: Center, *, now: float) -> LicenceView | None:
    """Return who may do what, and why; None before the calendar is known."""
    licensing, status = center.state.licensing, center.licences(now=now)
    if licensing is None or status is None:
        return None
    return LicenceView(
        status=status,
        held_at=center.state.licences_at,
        hosts=tuple(
            HostLicences(
                host=name,
                needed=licences_needed(host.spec.sockets, host.spec.cores_per_socket),
                ticked=licensing.ticked(name),
                lacking=tuple(host.lacking.items()),
            )
            for name, host in center.state.hosts.items()
        ),
    )


def host_view(
    center: Center, name: str, report: HostReport | None, sample: HostSample | None
) -> HostView:
    """Return a host as it is now."""
    record = center.state.hosts[name]
    vms = sample.load.vms if sample else ()
    held = center.state.residents[name].values()
    return HostView(
        name=name,
        state=record.state,
        cpu_mhz=record.spec.cpu_mhz,
        memory_mib=record.spec.memory_mib,
        demand_mhz=sum(vm.demand_mhz for vm in vms),
        granted_mhz=sum(vm.granted_mhz for vm in vms),
        used_mib=sum(vm.spec.memory_mib for vm in held),
        vms=len(held),
        tx_bytes=sample.tx_bytes if sample else 0,
        rx_bytes=sample.rx_bytes if sample else 0,
        standby_processes=sample.standby_processes if sample else 0,
        facts=None if report is None else report.facts,
    )


def vm_view(center: Center, name: str, samples: Mapping[str, HostSample]) -> VmView | None:
    """Return a VM as it is now; None if there is none of this name."""
    record = center.state.vms.get(name)
    if record is None:
        return None
    host = samples.get(record.host or "")
    sample = None if host is None else next((one for one in host.vms if one.vm == name), None)
    return VmView(
        spec=record.spec,
        host=record.host,
        power=record.power,
        epoch=record.epoch,
        demand_mhz=record.demand_mhz(),
        ended_reason=record.ended_reason,
        sample=sample,
    )
