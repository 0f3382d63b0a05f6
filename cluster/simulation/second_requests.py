"""Row F10 of the fault matrix: a second migration of the same VM, there and back, over the limits.

    python -m cluster.simulation.second_requests STATE SEED

A whole cluster with VirtualCenter's decisions: while one VM's migration is in the state that
was named, somebody asks for another one of it, and for more migrations than the limits admit.
"""

import sys
from dataclasses import dataclass, field

import numpy as np

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.migration.messages import CancelRequested
from cluster.migration.spec import MigrationSpec, Outcome, Result, Trigger
from cluster.migration.state import Phase
from cluster.policy.messages import MigrationRequested, Record
from cluster.simulation.checking import check, check_end
from cluster.simulation.seat import WorldBroken
from cluster.simulation.world import Watcher, World
from drs import Plan
from drs.cost import Calibration

_GIGABIT = 1.25e8
_PER_HOST_MAX = 2
_OTHERS = 5
_STEPS_MAX = 100_000
_VM = "vm-0"


@dataclass(slots=True)
class SecondRequests:
    """One trial. `injections` is 1 if the second requests came in that state."""

    state: Phase
    seed: int
    injections: int = 0
    said: list[str] = field(default_factory=list)
    outcomes: list[tuple[MigrationSpec, Outcome]] = field(default_factory=list)

    def run(self) -> None:
        """Run it.

        Raises:
            WorldBroken: If a law does not hold, or the second request is not refused.
        """
        rng = np.random.default_rng((self.seed, list(Phase).index(self.state)))
        watcher = Watcher(recorded=self._recorded, planned=_no_plan, ended=self._ended)
        world = World(
            _scenario(rng, self.state), watcher, seed=self.seed, calibration=Calibration()
        )
        world.start()
        world.feed(_request(_VM, "esx-1"))
        cancelled = False
        for _ in range(_STEPS_MAX):
            check(world)
            _check_limits(world)
            move = next((m for m in world.moves.values() if m.spec.vm == _VM), None)
            phase = None if move is None else move.carrier.machine.state.phase
            way_back = self.state in (Phase.INTERRUPTING, Phase.ROLLING_BACK)
            if move is not None and way_back and not cancelled and phase is Phase.PRECOPYING:
                cancelled = True
                move.carrier.hear(CancelRequested())
                phase = move.carrier.machine.state.phase
            if phase is self.state and not self.injections:
                self._ask_again(world)
            busy = world.moves or world.center.state.migrations
            if not busy or not world.clock.step():
                break
        self._go_back(world)
        check_end(world)

    def _ask_again(self, world: World) -> None:
        self.injections += 1
        for there in ("esx-2", "esx-0", "esx-1"):
            before = len(self.said)
            world.feed(_request(_VM, there))
            if not any("refused" in text for text in self.said[before:]):
                raise WorldBroken(f"a second migration of {_VM} was not refused")
        for other in range(1, _OTHERS + 1):
            world.feed(_request(f"vm-{other}", "esx-1"))

    def _go_back(self, world: World) -> None:
        """There and back: what was moved, or was not, can be moved again."""
        here = world.center.state.vms[_VM].host
        there = "esx-0" if here != "esx-0" else "esx-2"
        count = len(self.outcomes)
        world.feed(_request(_VM, there))
        world.drain()
        last = [outcome.result for spec, outcome in self.outcomes[count:] if spec.vm == _VM]
        if last != [Result.COMPLETED] or world.center.state.vms[_VM].host != there:
            raise WorldBroken(f"the migration after it ended as {last}")

    def _recorded(self, now: float, record: Record) -> None:
        self.said.append(record.text)

    def _ended(self, spec: MigrationSpec, outcome: Outcome, demand_faults: int) -> None:
        self.outcomes.append((spec, outcome))


def _no_plan(now: float, plan: Plan, solve_s: float) -> None:
    raise WorldBroken("DRS is off, and has planned")


def _request(vm: str, destination: str) -> MigrationRequested:
    return MigrationRequested(vm=vm, destination=destination, trigger=Trigger.USER)


def _check_limits(world: World) -> None:
    for host in world.host_index:
        ends = [host in (spec.source, spec.destination) for spec in world.center.state.running()]
        if sum(ends) > _PER_HOST_MAX:
            raise WorldBroken(f"{sum(ends)} migrations at once on {host}")


def _scenario(rng: np.random.Generator, state: Phase) -> Scenario:
    modes = (Mode.HYBRID, Mode.POSTCOPY) if state is Phase.REMAINDER else tuple(Mode)
    if state in (Phase.PRECOPYING, Phase.INTERRUPTING, Phase.ROLLING_BACK):
        modes = (Mode.PRECOPY, Mode.HYBRID, Mode.AUTO)
    nic = Nic(rate_bytes_per_second=_GIGABIT)
    params = (("rate_mb_s", float(rng.choice((0, 5, 50)))), ("working_set_mib", 8))
    return Scenario(
        name="second",
        duration_s=60.0,
        hosts=tuple(
            HostSpec(name=f"esx-{at}", cpu_mhz=8000.0, memory_mib=2048, nic=nic) for at in range(3)
        ),
        vms=tuple(
            VmSpec(
                name=f"vm-{at}",
                memory_mib=int(rng.choice((16, 64))),
                cpu_mhz=1000.0,
                guest=GuestSpec(program="writer", params=params),
                demand=Constant(mhz=100.0),
                host="esx-0",
            )
            for at in range(_OTHERS + 1)
        ),
        drs=DrsSettings(enabled=False),
        migration=MigrationSettings(
            mode=modes[int(rng.integers(len(modes)))], per_host_max=_PER_HOST_MAX
        ),
    )


def failure(state: Phase, seed: int) -> tuple[int, str]:
    """Return whether the requests came in that state, and what went wrong with the way to see it."""
    trial = SecondRequests(state, seed)
    try:
        trial.run()
    except Exception as error:
        replay = f"python -m cluster.simulation.second_requests {state.value} {seed}"
        return trial.injections, f"{type(error).__name__}: {error}\nreplay: {replay}"
    return trial.injections, ""


def main(arguments: list[str]) -> None:
    """Replay the trial that is named."""
    trial = SecondRequests(Phase(arguments[0]), int(arguments[1]))
    try:
        trial.run()
    finally:
        print("\n".join(trial.said))


if __name__ == "__main__":
    main(sys.argv[1:])
