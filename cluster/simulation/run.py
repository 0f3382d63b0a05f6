"""`simulate`: a scenario in virtual time, with the files' rows as its result."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.inventory.faults import Faults
from cluster.inventory.model import Scenario
from cluster.migration.convergence import Convergence
from cluster.observe.record import (
    DrsPass,
    Engine,
    EventKind,
    EventRow,
    MigrationRow,
    Summary,
    TimelineRow,
)
from cluster.observe.rounds import RoundRow
from cluster.observe.summary import summarise
from cluster.policy.state import PowerState
from cluster.simulation.checking import check, check_end
from cluster.simulation.mishaps import plan_mishaps
from cluster.simulation.recording import Recorder
from cluster.simulation.world import Watcher, World
from drs import Plan, StepBudget
from drs.cost import Calibration

# On 100 hosts and 1,000 VMs at threshold 3, 50,000 and 300,000 steps a pass left the cluster
# no evener than 2,000 did, and took 2 and 12 times the CPU.
PASS_BUDGET = StepBudget(steps=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """What a simulation found; the rows are those of a live run's files.

    Attributes:
        failures: Why the run has failed; empty if all went well.
        interrupted: Ctrl-C came before the end; the rows tell what happened until then.
    """

    summary: Summary
    migrations: Sequence[MigrationRow]
    rounds: Sequence[RoundRow]
    timeline: Sequence[TimelineRow]
    events: Sequence[EventRow]
    passes: Sequence[DrsPass]
    failures: tuple[str, ...]
    interrupted: bool


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    calibration: Calibration | None = None,
    faults: Faults | None = None,
    convergence: Convergence | None = None,
    budget: StepBudget | None = None,
    serves_faults: bool = True,
    looked: Callable[[float], None] | None = None,
    watched: Callable[[World, Recorder], None] | None = None,
) -> SimulatedRun:
    """Run a scenario in virtual time; the same arguments give the same events.

    Args:
        faults: The scenario's when it is None.
        seed: Of decisions and faults; the scenario's when it is None.
        calibration: Measured overheads; the defaults of `drs.cost` when it is None.
        budget: Of one DRS pass, in search steps: never seconds, so that a plan does not
            depend on the machine. `PASS_BUDGET` when it is None.
        serves_faults: Hosts can carry post-copy, as live hosts with userfaultfd can.
        looked: Called with the virtual time after each sample, to show progress.
        watched: Called after each sample with the world and its rows, to show what happens;
            it must change neither.

    Raises:
        WorldBroken: If a checker finds a promise broken: a defect of this project.
    """
    run = _Run(
        scenario,
        seed=scenario.seed if seed is None else seed,
        calibration=calibration or Calibration(),
        faults=scenario.faults if faults is None else faults,
        convergence=convergence,
        budget=budget,
        serves_faults=serves_faults,
    )
    with _rare_collections():
        interrupted = run.go(looked, watched)
        return run.result(interrupted=interrupted)


class _Run:
    """A world and its recorder."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        calibration: Calibration,
        faults: Faults,
        convergence: Convergence | None,
        budget: StepBudget | None,
        serves_faults: bool,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._faults = faults
        self._recorder = Recorder(scenario)
        self._failures: list[str] = []
        watcher = Watcher(
            recorded=self._recorder.recorded, planned=self._planned, ended=self._recorder.ended
        )
        self._world = World(
            scenario,
            watcher,
            seed=seed,
            calibration=calibration,
            faults=faults,
            convergence=convergence,
            budget=budget or PASS_BUDGET,
            serves_faults=serves_faults,
        )

    def go(
        self,
        looked: Callable[[float], None] | None,
        watched: Callable[[World, Recorder], None] | None,
    ) -> bool:
        """Run to the end; return whether Ctrl-C came first."""
        scenario, world = self._scenario, self._world
        self._note(EventKind.RUN_STARTED, f"{scenario.name} begins, simulated, seed {self._seed}")
        try:
            world.start()
            if self._all_up():
                plan_mishaps(world, self._faults)
                self._play(looked, watched)
            world.drain()
        except KeyboardInterrupt:
            self._note(EventKind.RUN_ENDED, f"{scenario.name} was interrupted")
            return True
        check_end(world)
        self._note(EventKind.RUN_ENDED, f"{scenario.name} has ended")
        return False

    def result(self, *, interrupted: bool) -> SimulatedRun:
        """Condense what was recorded."""
        recorder, scenario = self._recorder, self._scenario
        summary = summarise(
            scenario=scenario.name,
            engine=Engine.SIMULATED,
            seed=self._seed,
            hosts=len(scenario.hosts),
            vms=len(scenario.vms),
            duration_s=self._world.clock.now,
            migrations=recorder.migrations,
            timeline=recorder.timeline,
            drs_passes=recorder.passes,
            unmet_demand_ratios=recorder.unmet_ratios,
            rule_violations=self._world.center.balance().rule_violations,
            integrity=None,
            power=self._world.meter.use(self._world.center.scenario_s(self._world.clock.now)),
            imbalance_from_s=recorder.balanced_from_s,
        )
        return SimulatedRun(
            summary=summary,
            migrations=recorder.migrations,
            rounds=recorder.rounds,
            timeline=recorder.timeline,
            events=recorder.events,
            passes=recorder.passes,
            failures=tuple(self._failures),
            interrupted=interrupted,
        )

    def _all_up(self) -> bool:
        """Whether every VM found a host; without one of them it would be another experiment."""
        vms, later = self._world.center.state.vms.items(), self._scenario.arriving
        off = [name for name, vm in vms if vm.power is PowerState.OFF and name not in later]
        if off:
            self._failures.append(f"not powered on: {', '.join(off)}")
        return not off

    def _play(
        self,
        looked: Callable[[float], None] | None,
        watched: Callable[[World, Recorder], None] | None,
    ) -> None:
        clock = self._world.clock
        for time_s in sample_times(self._scenario.duration_s, self._scenario.sample_s):
            # The sample comes before a DRS pass that is due at the same moment.
            clock.at(time_s, self._sample, first=True)
            clock.run_until(time_s)
            if looked is not None:
                looked(time_s)
            if watched is not None:
                watched(self._world, self._recorder)

    def _sample(self) -> None:
        demand, granted = self._world.sample()
        check(self._world)
        self._recorder.sampled(self._world, demand, granted)

    def _planned(self, time_s: float, plan: Plan, solve_s: float) -> None:
        self._recorder.planned(time_s, plan, solve_s=solve_s)

    def _note(self, kind: EventKind, text: str) -> None:
        time_s = round(self._world.clock.now, 9)
        self._recorder.events.append(EventRow(time_s=time_s, kind=kind, text=text))


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for reference cycles seldom: rows live to the end, and each look goes through them all."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def sample_times(duration_s: float, sample_s: float) -> list[float]:
    """Return when samples end: every `sample_s`, and at the end of the run."""
    count = int(duration_s / sample_s + 1e-9)
    times = [index * sample_s for index in range(1, count + 1)]
    if not times or times[-1] < duration_s - 1e-9:
        times.append(duration_s)
    return times
