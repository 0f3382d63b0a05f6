"""The fault matrix in virtual time: each row is one thing that goes wrong, put at one state.

    python -m cluster.simulation.injections ROW STATE SEED

replays one injection and prints its story. Where `faulty_trial` draws what happens when,
here a fault is placed: the moment the machine is in the state that was named. What must
hold afterwards is checked by the trial's own checkers, which look at hosts and record.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.model import MIB, Mode
from cluster.migration.messages import CancelRequested, HostLost, Role
from cluster.migration.spec import MigrationSpec, Outcome, Result
from cluster.migration.state import Phase
from cluster.simulation.faults import Spoil, drawn_faults
from cluster.simulation.seat import Seat, WorldBroken
from cluster.simulation.trial import TwoHosts
from drs.cost import Calibration, DirtyModel

_CALM_AT_S = 60.0
_LATE_S_MAX = 3.0
_CUTS_MAX = 4
# How often a trial also draws faults of its own beside the one that is placed.
_DRAWN_RATIO = 0.25
# Messages in one go that are spoilt, so that also repeats of a lost one are lost.
_SPOILT_MAX = 4

P = Phase
# The states that last: the others are passed within one event.
LASTING = (
    *(P.CREATED, P.PREPARING, P.PRECOPYING, P.INTERRUPTING, P.STUNNING, P.SENDING_STATE),
    *(P.COMMITTING, P.RESUMING, P.REMAINDER, P.UNREGISTERING, P.ROLLING_BACK),
)
_SENDING = (P.PRECOPYING, P.SENDING_STATE, P.REMAINDER)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the matrix.

    Attributes:
        what: Goes wrong, in words.
        states: Where it can.
        inject: Does it; called once, in that state.
    """

    what: str
    states: tuple[Phase, ...]
    inject: Callable[["Injector"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """One trial. `injections` is 0 where the state was not reached."""

    row: str
    state: Phase
    seed: int
    injections: int
    outcome: Outcome
    world: TwoHosts


class Injector:
    """A trial and the fault that is placed in it."""

    def __init__(self, row: str, state: Phase, seed: int) -> None:
        self.row, self.state, self.seed = row, state, seed
        self.rng = np.random.default_rng((seed, list(ROWS).index(row), LASTING.index(state)))
        self.world = _trial(row, state, seed, self.rng)
        self.injections = 0
        self.power_off = False
        self._cancelled = False
        self._placed = False

    def run(self) -> Injected:
        """Run the trial to its end.

        Raises:
            WorldBroken: If a law does not hold.
        """
        if self.state is P.CREATED:
            self._inject()
        try:
            trial = self.world.run(self._stepped)
            outcome = trial.outcome
        except WorldBroken:
            machine = self.world.machine
            if not (self.power_off and machine.outcome is not None and self._nobody_runs()):
                raise
            # Whoever powers a VM off asks for what the checkers take for a loss.
            outcome = machine.outcome
        self._check(outcome)
        return Injected(
            row=self.row,
            state=self.state,
            seed=self.seed,
            injections=self.injections,
            outcome=outcome,
            world=self.world,
        )

    def lose(self, seat: Seat, role: Role) -> None:
        """A host dies now; its death is reported at once, or late."""
        world = self.world
        world.carrier.seat_lost(seat)
        late_s = float(self.rng.choice((0.0, self.rng.uniform(0, _LATE_S_MAX))))
        world.clock.after(late_s, lambda: world.carrier.hear(HostLost(role=role)))

    def _stepped(self) -> None:
        machine = self.world.machine
        phase = machine.state.phase
        if not self._cancelled and phase is _leads_to(self.state):
            # Two states are on the way back alone: somebody has to ask for it.
            self._cancelled = True
            self.world.clock.after(0.0, lambda: self.world.carrier.hear(CancelRequested()))
        if phase is self.state and not self._placed and phase is not P.CREATED:
            self._placed = True
            late_s = float(self.rng.choice((0.0, self.rng.exponential(0.002))))
            self.world.clock.after(late_s, self._inject)

    def _inject(self) -> None:
        if self.world.machine.state.phase is not self.state:
            return  # it has passed meanwhile
        self.injections += 1
        ROWS[self.row].inject(self)

    def _nobody_runs(self) -> bool:
        return not (self.world.source.runs or self.world.destination.runs)

    def _check(self, outcome: Outcome) -> None:
        """What this row promises beside the laws."""
        early = self.state in (P.PREPARING, P.PRECOPYING, P.STUNNING, P.SENDING_STATE)
        promised = self.injections and self.world.faults is NO_FAULTS
        if promised and self.row == "F12" and early and outcome.result is Result.COMPLETED:
            raise WorldBroken("committed against what preflight says at the commit")
        if promised and self.row == "F1" and early and outcome.result is Result.COMPLETED:
            raise WorldBroken("completed although it was cancelled in time")
        if promised and self.row in ("F5", "F13", "F14") and outcome.result is Result.LOST:
            raise WorldBroken(f"lost without a death: {outcome.error}")


def _leads_to(state: Phase) -> Phase | None:
    return {P.INTERRUPTING: P.PRECOPYING, P.ROLLING_BACK: P.PRECOPYING}.get(state)


def _trial(row: str, state: Phase, seed: int, rng: np.random.Generator) -> TwoHosts:
    """A small migration with everything drawn, in a mode that comes to the state."""
    memory_mib = int(rng.choice((4, 16, 64)))
    modes = (Mode.HYBRID, Mode.POSTCOPY) if state is P.REMAINDER else tuple(Mode)
    if state in (P.PRECOPYING, P.INTERRUPTING, P.ROLLING_BACK):
        modes = (Mode.PRECOPY, Mode.HYBRID, Mode.AUTO)
    writes = 4e8 if row == "F9" else float(rng.choice((0, 1e6, 5e7)))
    guest = DirtyModel(
        write_rate_bytes_per_second=writes,
        working_set_bytes=float((memory_mib if row == "F9" else 1) * MIB),
    )
    spec = MigrationSpec(
        id=f"{row}-{state.value}-{seed}",
        vm="vm",
        source="esx-1",
        destination="esx-2",
        epoch=2,
        memory_bytes=memory_mib * MIB,
        mode=modes[int(rng.integers(len(modes)))],
        stall_s_max=2.0,
        downtime_s_max=0.3,
        rounds_max=int(rng.choice((1, 5, 30))),
    )
    faults: Faults = NO_FAULTS
    if rng.random() < _DRAWN_RATIO:
        faults = replace(drawn_faults(rng, until_s=_CALM_AT_S), host_crash=0.0)
    return TwoHosts(
        spec=spec,
        guest=guest,
        rate_bytes_per_second=1.25e8,
        calibration=Calibration(),
        faults=faults,
        rng=rng,
    )


# What each row does.


def _cancel(at: Injector) -> None:
    hear = at.world.carrier.hear
    hear(CancelRequested())
    hear(CancelRequested())


def _kill_source(at: Injector) -> None:
    at.lose(at.world.source, Role.SOURCE)


def _kill_destination(at: Injector) -> None:
    at.lose(at.world.destination, Role.DESTINATION)


def _kill_center(at: Injector) -> None:
    until_s = at.world.clock.now + float(at.rng.uniform(0.1, 10.0))
    at.world.center.die(until_s, written=bool(at.rng.integers(2)))


def _spoil_messages(at: Injector) -> None:
    """Lost, late (and so overtaken), or twice: the next ones, as drawn."""
    for _ in range(int(at.rng.integers(1, _SPOILT_MAX + 1))):
        at.world.channel.spoil_next(tuple(Spoil)[int(at.rng.integers(len(Spoil)))])


def _kill_pager(at: Injector) -> None:
    at.world.carrier.fail_send("the fault handler died")


def _spoil_batch(at: Injector) -> None:
    kinds = ("a page's checksum differs", "a batch is too short", "OwnerDiedError: a stale ref")
    at.world.carrier.fail_send(str(at.rng.choice(kinds)))


def _fill_store(at: Injector) -> None:
    """Back-pressure: nothing moves for a while; sometimes the batch fails in the end."""
    _cut(at, float(at.rng.uniform(0.05, 8.0)))
    if at.rng.random() < 0.3:
        at.world.carrier.fail_send("the object store is full")


def _nothing(at: Injector) -> None:
    """The guest itself is the fault: it dirties faster than the line carries."""


def _power_off(at: Injector) -> None:
    at.power_off = True
    at.world.carrier.power_off()


def _object(at: Injector) -> None:
    reasons = ("the destination enters maintenance", "VMotion is not licensed", "a local ISO")
    at.world.center.objection = str(at.rng.choice(reasons))


def _cut_again_and_again(at: Injector) -> None:
    """The line comes back after each failure, and is cut again."""
    clock, network, rate = at.world.clock, at.world.network, at.world.rate
    began_s = clock.now
    for _ in range(int(at.rng.integers(1, _CUTS_MAX + 1))):
        cut_s = float(at.rng.choice((0.05, 1.0, 3.0, 10.0)))
        clock.at(began_s, lambda: network.set_capacity(0, 0.0))
        clock.at(began_s + cut_s, lambda: network.set_capacity(0, rate))
        began_s += cut_s + float(at.rng.uniform(0.01, 0.5))


def _cut(at: Injector, cut_s: float) -> None:
    world = at.world
    world.network.set_capacity(0, 0.0)
    world.clock.after(cut_s, lambda: world.network.set_capacity(0, world.rate))


def _stop_center(at: Injector) -> None:
    at.world.center.stop(at.world.clock.now + float(at.rng.uniform(0.1, 30.0)))


ROWS: Mapping[str, Row] = {
    "F1": Row("cancel, twice", LASTING, _cancel),
    "F2": Row("the source dies", LASTING, _kill_source),
    "F3": Row("the destination dies", LASTING, _kill_destination),
    "F4": Row("VirtualCenter dies and comes back", LASTING, _kill_center),
    "F5": Row("messages lost, late, overtaken, twice", LASTING, _spoil_messages),
    "F6": Row("the fault handler dies", (P.REMAINDER,), _kill_pager),
    "F7": Row("a page corrupt, a batch cut short, a stale ref", _SENDING, _spoil_batch),
    "F8": Row("the object store is full", _SENDING, _fill_store),
    "F9": Row("dirtied faster than the line carries", (P.PRECOPYING,), _nothing),
    "F11": Row("the VM is powered off under way", LASTING, _power_off),
    "F12": Row("preconditions change after preflight", LASTING, _object),
    "F13": Row("the network fails again and again", _SENDING, _cut_again_and_again),
    "F14": Row("VirtualCenter stands still (SIGSTOP)", LASTING, _stop_center),
}
CASES = tuple((row, state) for row, of in ROWS.items() for state in of.states)


def inject(row: str, state: Phase, seed: int) -> Injected:
    """Run one trial with one row's fault at one state.

    Raises:
        WorldBroken: If a law does not hold.
    """
    return Injector(row, state, seed).run()


def failure(row: str, state: Phase, seed: int) -> tuple[int, str]:
    """Return how often the fault was injected, and what went wrong with the way to see it again."""
    injector = Injector(row, state, seed)
    try:
        injector.run()
    except Exception as error:
        replay = f"python -m cluster.simulation.injections {row} {state.value} {seed}"
        return injector.injections, f"{type(error).__name__}: {error}\nreplay: {replay}"
    return injector.injections, ""


def main(arguments: list[str]) -> None:
    """Replay the injection that is named."""
    row, state, seed = arguments
    injector = Injector(row, Phase(state), int(seed))
    world = injector.world
    print(world.machine.spec, world.faults, sep="\n")
    try:
        injector.run()
    finally:
        print(world.machine.story, world.machine.outcome, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
