"""What the live view shows of a simulation."""

from collections.abc import Sequence

from cluster.inventory.model import Scenario
from cluster.migration.spec import Result
from cluster.observe.live import LiveDrs, LiveHost, LiveMigration, LiveState
from cluster.simulation.recording import Recorder
from cluster.simulation.world import Move, World
from drs.load import imbalance_target


def virtual_state(
    scenario: Scenario, world: World, recorder: Recorder, footnotes: tuple[str, ...] = ()
) -> LiveState:
    """Return the picture of the newest sample."""
    count = len(scenario.hosts)
    completed = sum(row.result is Result.COMPLETED for row in recorder.migrations)
    target = imbalance_target(scenario.drs.threshold, count)
    return LiveState(
        scenario=scenario.name,
        time_s=world.clock.now,
        duration_s=scenario.duration_s,
        hosts=tuple(
            LiveHost(
                name=row.host,
                cpu_load=row.cpu_load,
                memory_load=row.memory_load,
                vms=row.vms,
                state=row.state,
                tx_bytes_per_second=row.tx_bytes_per_second,
                rx_bytes_per_second=row.rx_bytes_per_second,
            )
            for row in recorder.timeline[-count:]
        ),
        migrations=_moves(list(world.moves.values())),
        imbalance=tuple(row.imbalance for row in recorder.timeline[::count]),
        imbalance_target=target if target < 1e9 else None,
        completed=completed,
        failed=len(recorder.migrations) - completed,
        queued=len(world.center.state.migrations) - len(world.moves),
        drs=LiveDrs(
            passes=len(recorder.passes),
            recommended=sum(one.recommended for one in recorder.passes),
            applied=sum(one.applied for one in recorder.passes),
        )
        if scenario.drs.enabled
        else None,
        footnotes=footnotes,
    )


def _moves(moves: Sequence[Move]) -> tuple[LiveMigration, ...]:
    shown = []
    for move in moves:
        state = move.carrier.machine.state
        rounds = state.figures.rounds
        shown.append(
            LiveMigration(
                vm=move.spec.vm,
                source=move.spec.source,
                destination=move.spec.destination,
                phase=state.phase.value.replace("_", " "),
                round=state.round,
                rate_bytes_per_second=state.link.bytes_per_second or 0.0,
                dirty_pages=rounds[-1].pages_dirty if rounds else 0,
                progress=state.figures.precopy_bytes / max(move.spec.memory_bytes, 1),
            )
        )
    return tuple(shown)
