"""One migration between two hosts in virtual time, with or without faults, and its checker.

    python -m cluster.simulation.trial SEED

replays the faulty trial of that seed and prints its story. The checker looks at the hosts
and the record, not at what the machine believes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.model import MIB, Mode
from cluster.migration.convergence import Convergence
from cluster.migration.machine import Migration
from cluster.migration.messages import Begun, CancelRequested, HostLost, Role
from cluster.migration.spec import MigrationSpec, Outcome, Result
from cluster.migration.story import Story
from cluster.policy.ownership import Ownership
from cluster.simulation.carry import Carrier
from cluster.simulation.clock import Clock
from cluster.simulation.faults import Channel, drawn_faults
from cluster.simulation.guest import GuestMemory
from cluster.simulation.link import Network
from cluster.simulation.seat import Seat, WorldBroken
from drs.cost import Calibration, DirtyModel, DirtyPattern, effective_rate

_SOURCE, _DESTINATION = "esx-1", "esx-2"
_STEPS_MAX = 100_000
_CALM_AT_S = 60.0
_END_AT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one migration."""

    outcome: Outcome
    demand_faults: int
    story: Story


class Owner:
    """Who keeps the record, which VirtualCenter is: it may be away, or stand still for a while.

    Attributes:
        objection: What a preflight at the commit would say; "" is nothing.
    """

    def __init__(self, clock: Clock, channel: Channel, spec: MigrationSpec) -> None:
        self.records = Ownership()
        self.records.claim(spec.vm, epoch=1, source=None, host=_SOURCE)
        self.objection = ""
        self._clock = clock
        self._channel = channel
        self._spec = spec
        self._refused: set[int] = set()
        self._away_until_s = 0.0
        self._writes = False
        self._stopped_until_s = 0.0

    def die(self, until_s: float, *, written: bool = False) -> None:
        """Answer nothing until then; the records are in its database and come back with it.

        With `written` it dies between the record and the answer of the commit that comes next.
        """
        self._away_until_s = max(self._away_until_s, until_s)
        self._writes = written

    def stop(self, until_s: float) -> None:
        """Stand still until then, and answer then what has come meanwhile (SIGSTOP, SIGCONT)."""
        self._stopped_until_s = max(self._stopped_until_s, until_s)

    def claim(self, epoch: int, answer: Callable[[str], None]) -> None:
        """Answer a commit, when and if it can."""
        now = self._clock.now
        if now < self._away_until_s:
            if self._writes:
                self._writes = False
                self._decide(epoch)
            return
        if now < self._stopped_until_s:
            self._clock.at(self._stopped_until_s, lambda: self.claim(epoch, answer))
        else:
            answer(self._decide(epoch))

    def _decide(self, epoch: int) -> str:
        """A refusal is remembered, so that no late asking gets a yes."""
        vm = self._spec.vm
        if epoch in self._refused:
            return "it was refused before"
        held = self.records.get(vm)
        granted = held is not None and held.epoch == epoch
        objects = self._channel.refuses()
        refusal = self.objection or ("the destination enters maintenance" if objects else "")
        if granted or not refusal:
            refusal = self.records.claim(vm, epoch=epoch, source=_SOURCE, host=_DESTINATION)
        if refusal:
            self._refused.add(epoch)
        return refusal


class TwoHosts:
    """A source, a destination, a line between them, and the owner of the record."""

    def __init__(
        self,
        *,
        spec: MigrationSpec,
        guest: DirtyModel,
        rate_bytes_per_second: float,
        calibration: Calibration,
        convergence: Convergence | None = None,
        faults: Faults = NO_FAULTS,
        rng: np.random.Generator,
        checking: bool = False,
    ) -> None:
        self.clock = Clock()
        self.faults = faults
        self.rng = rng
        self.channel = Channel(self.clock, faults, rng)
        self.rate = effective_rate(rate_bytes_per_second, calibration)
        self.network = Network(self.clock, (self.rate, self.rate))
        self.center = Owner(self.clock, self.channel, spec)
        self.machine = Migration(spec, convergence=convergence, checking=checking)
        self.source = Seat(holds=True, runs=True, complete=True)
        self.destination = Seat()
        self.carrier = Carrier(
            machine=self.machine,
            clock=self.clock,
            network=self.network,
            links=(0, 1),
            guest=GuestMemory(spec.memory_pages, guest, now=0.0),
            source=self.source,
            destination=self.destination,
            calibration=calibration,
            channel=self.channel,
            claim=self.center.claim,
            ended=lambda: None,
        )

    def run(self, stepped: Callable[[], None] | None = None) -> Trial:
        """Run to the end; `stepped` is called after each step, and may interfere.

        Raises:
            WorldBroken: If a checker finds what must never be.
        """
        self._plan()
        for _ in range(_STEPS_MAX):
            late = self.machine.finished and self.clock.now > self.faults.until_s
            due = self.clock.next_s
            if late or due is None or (self.faults is not NO_FAULTS and due > _END_AT_S):
                break
            self.clock.step()
            if stepped is not None:
                stepped()
            self._check_now()
        self._check_end()
        outcome = self.machine.outcome
        assert outcome is not None
        return Trial(
            outcome=outcome, demand_faults=self.carrier.demand_faults, story=self.machine.story
        )

    def _plan(self) -> None:
        """Place what happens once: the start, deaths with their reports, cuts, cancels."""
        faults, rng, clock, hear = self.faults, self.rng, self.clock, self.carrier.hear
        clock.at(0.0, lambda: hear(Begun()))
        for seat, role in ((self.source, Role.SOURCE), (self.destination, Role.DESTINATION)):
            if self.channel.happens(faults.host_crash):
                dies_s = rng.exponential(faults.crash_s_mean)
                clock.at(dies_s, lambda seat=seat: self.carrier.seat_lost(seat))  # type: ignore[misc]
                clock.at(
                    dies_s + rng.uniform(0, faults.delay_s_max),
                    lambda role=role: hear(HostLost(role=role)),  # type: ignore[misc]
                )
        for chance, share in ((faults.link_cut, 0.0), (faults.link_slow, 0.1)):
            if self.channel.happens(chance):
                self._plan_slow(share)
        for _ in range(2):
            if self.channel.happens(faults.cancel):
                at_s = rng.exponential(faults.crash_s_mean)
                clock.at(at_s, lambda: hear(CancelRequested()))

    def _plan_slow(self, share: float) -> None:
        slow_s = self.rng.exponential(self.faults.crash_s_mean)
        healed_s = slow_s + self.rng.uniform(0, self.faults.link_cut_s_max)
        self.clock.at(slow_s, lambda: self.network.set_capacity(0, self.rate * share))
        self.clock.at(healed_s, lambda: self.network.set_capacity(0, self.rate))

    def _check_now(self) -> None:
        """Never two runners, and none that the record does not name."""
        record = self.center.records.get(self.machine.spec.vm)
        for seat, name in ((self.source, _SOURCE), (self.destination, _DESTINATION)):
            if seat.runs and (record is None or record.host != name):
                raise WorldBroken(f"{name} runs the VM, and the record is {record}")

    def _check_end(self) -> None:
        """Every migration ends, and as it says."""
        machine, source, destination = self.machine, self.source, self.destination
        if machine.outcome is None:
            raise WorldBroken(f"still {machine.state.phase.value} at {self.clock.now}")
        record = self.center.records.get(machine.spec.vm)
        at_source = record is not None and record.host == _SOURCE
        match machine.outcome.result:
            case Result.COMPLETED:
                there = destination.runs and not destination.missing_pages
                good = not at_source and (there or not destination.alive)
                good = good and (not source.holds or bool(machine.outcome.error))
            case Result.ABORTED | Result.REFUSED:
                good = at_source and (source.runs or not source.alive) and not destination.holds
            case Result.LOST:
                whole = destination.complete and (not destination.missing_pages or source.holds)
                good = not (source.runs if at_source else whole)
        if not good:
            raise WorldBroken(
                f"ended as {machine.outcome.result.value} ({machine.outcome.error}) with {record},"
                f" source {source}, destination {destination}"
            )


def migrate_once(
    spec: MigrationSpec,
    guest: DirtyModel,
    *,
    rate_bytes_per_second: float,
    calibration: Calibration | None = None,
    convergence: Convergence | None = None,
) -> Trial:
    """Simulate one undisturbed migration of a VM with `guest` in it over a line of its own.

    `spec.overhead_s` is taken from the calibration, as a live cluster would have learned it.
    """
    return TwoHosts(
        spec=spec,
        guest=guest,
        rate_bytes_per_second=rate_bytes_per_second,
        calibration=calibration or Calibration(),
        convergence=convergence,
        rng=np.random.default_rng(0),
    ).run()


def faulty_trial(seed: int) -> TwoHosts:
    """Return a small migration with everything drawn from the seed: mode, guest, line, faults."""
    rng = np.random.default_rng(seed)
    memory_mib = int(rng.choice((4, 64, 256)))
    guest = DirtyModel(
        pattern=(DirtyPattern.UNIFORM, DirtyPattern.SWEEP)[int(rng.integers(2))],
        write_rate_bytes_per_second=float(rng.choice((0, 1e6, 5e7, 4e8))),
        working_set_bytes=float(rng.choice((1, 16, memory_mib)) * MIB),
    )
    spec = MigrationSpec(
        id=f"seed-{seed}",
        vm="vm",
        source=_SOURCE,
        destination=_DESTINATION,
        epoch=2,
        memory_bytes=memory_mib * MIB,
        mode=tuple(Mode)[int(rng.integers(len(Mode)))],
        stall_s_max=2.0,
        downtime_s_max=0.3,
        rounds_max=int(rng.choice((1, 5, 30))),
    )
    return TwoHosts(
        spec=spec,
        guest=guest,
        rate_bytes_per_second=float(rng.choice((1.25e8, 1.25e9))),
        calibration=Calibration(),
        faults=drawn_faults(rng, until_s=_CALM_AT_S),
        rng=rng,
    )


def failure(seed: int) -> str | None:
    """Run the faulty trial of a seed; return what went wrong, and how to see it again."""
    try:
        faulty_trial(seed).run()
    except Exception as error:
        return f"{type(error).__name__}: {error}\nreplay: python -m cluster.simulation.trial {seed}"
    return None


def main(arguments: list[str]) -> None:
    """Replay the seed that is named."""
    world = faulty_trial(int(arguments[0]))
    print(world.machine.spec, world.faults, sep="\n")
    try:
        world.run()
    finally:
        print(world.machine.story, world.machine.outcome, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
