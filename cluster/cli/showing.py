"""What the live view shows of a cluster."""

from cluster.actors.views import ClusterView, MigrationView
from cluster.cli.recording import Recorder
from cluster.inventory.model import Scenario
from cluster.migration.spec import Result
from cluster.observe.live import LiveDrs, LiveHost, LiveMigration, LiveState


def live_state(
    scenario: Scenario, view: ClusterView, recorder: Recorder, footnotes: tuple[str, ...]
) -> LiveState:
    """Return the picture of this moment."""
    rates = {row.host: row for row in recorder.timeline[-len(view.hosts) :]}
    results = [row.result for row in recorder.migrations]
    samples = recorder.timeline[:: max(len(view.hosts), 1)]
    return LiveState(
        scenario=scenario.name,
        time_s=max(view.time_s, 0.0),
        duration_s=scenario.duration_s,
        hosts=tuple(
            LiveHost(
                name=host.name,
                cpu_load=host.demand_mhz / host.cpu_mhz,
                memory_load=host.used_mib / host.memory_mib,
                vms=host.vms,
                state=host.state.value,
                tx_bytes_per_second=rates[host.name].tx_bytes_per_second if rates else 0.0,
                rx_bytes_per_second=rates[host.name].rx_bytes_per_second if rates else 0.0,
            )
            for host in view.hosts
        ),
        migrations=tuple(_migration(m) for m in view.migrations if m.started_s is not None),
        imbalance=tuple(row.imbalance for row in samples),
        imbalance_target=view.balance.target if view.balance.target < 1e9 else None,
        completed=results.count(Result.COMPLETED),
        failed=len(results) - results.count(Result.COMPLETED),
        queued=sum(m.started_s is None for m in view.migrations),
        drs=LiveDrs(
            passes=len(recorder.passes),
            recommended=sum(one.recommended for one in recorder.passes),
            applied=sum(one.applied for one in recorder.passes),
            next_s=_next_pass_s(scenario, view.time_s),
        )
        if scenario.drs.enabled
        else None,
        footnotes=footnotes,
    )


def _next_pass_s(scenario: Scenario, time_s: float) -> float | None:
    """When DRS looks again: at every whole interval, as the Center counts them; None at the end."""
    interval_s = scenario.drs.interval_s
    due_s = (max(time_s, 0.0) // interval_s + 1) * interval_s
    return due_s if due_s < scenario.duration_s else None


def _migration(view: MigrationView) -> LiveMigration:
    progress = view.progress
    return LiveMigration(
        vm=view.spec.vm,
        source=view.spec.source,
        destination=view.spec.destination,
        phase="queued" if progress is None else progress.phase.replace("_", " "),
        round=progress.round if progress else 0,
        rate_bytes_per_second=progress.rate_bytes_per_second if progress else 0.0,
        dirty_pages=progress.dirty_pages if progress else 0,
        progress=progress.sent_bytes / view.spec.memory_bytes if progress else 0.0,
    )
