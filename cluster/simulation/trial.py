"""One migration between two hosts in virtual time, with or without faults, and its checker.

    python -m cluster.simulation.trial SEED

replays the faulty trial of that seed and prints its story. The checker looks at the hosts
and the record, not at what the machine believes.
"""

import sys
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
        self.ownership = Ownership()
        self.ownership.claim(spec.vm, epoch=1, source=None, host=_SOURCE)
        self.refused_epochs: set[int] = set()
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
            claim=self._claim,
            ended=lambda: None,
        )

    def run(self) -> Trial:
        """Run to the end.

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
            self._check_now()
        self._check_end()
        outcome = self.machine.outcome
        assert outcome is not None
        return Trial(
            outcome=outcome, demand_faults=self.carrier.demand_faults, story=self.machine.story
        )

    def _claim(self, epoch: int) -> str:
        """The owner's answer: a refusal is remembered, so that no late asking gets a yes."""
        spec = self.machine.spec
        if epoch in self.refused_epochs:
            return "it was refused before"
        held = self.ownership.get(spec.vm)
        granted = held is not None and held.epoch == epoch
        refusal = "the destination enters maintenance" if self.channel.refuses() else ""
        if granted or not refusal:
            refusal = self.ownership.claim(spec.vm, epoch=epoch, source=_SOURCE, host=_DESTINATION)
        if refusal:
            self.refused_epochs.add(epoch)
        return refusal

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
        record = self.ownership.get(self.machine.spec.vm)
        for seat, name in ((self.source, _SOURCE), (self.destination, _DESTINATION)):
            if seat.runs and (record is None or record.host != name):
                raise WorldBroken(f"{name} runs the VM, and the record is {record}")

    def _check_end(self) -> None:
        """Every migration ends, and as it says."""
        machine, source, destination = self.machine, self.source, self.destination
        if machine.outcome is None:
            raise WorldBroken(f"still {machine.state.phase.value} at {self.clock.now}")
        record = self.ownership.get(machine.spec.vm)
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
