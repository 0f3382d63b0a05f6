"""A tiny cluster in memory that misbehaves: two hosts, an owner of the record, a bad network.

    python -m tests.migration.world SEED

replays one seed and prints its story. Each seed draws its own rates of faults (so that some
runs see one kind only), and all faults end at `CALM_AT_S`, so that every migration must end.
The checkers look at this world, not at what the machine believes.
"""

import heapq
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.machine import Migration, ProtocolError
from cluster.migration.messages import (
    Answer,
    Begun,
    CancelRequested,
    Command,
    Commit,
    Event,
    Failed,
    HostLost,
    Interrupt,
    Prepare,
    Progressed,
    Refused,
    Resume,
    Role,
    Rollback,
    SendDirty,
    SendRemainder,
    SendState,
    Stun,
    Succeeded,
    Throttle,
    Ticked,
    Unregister,
)
from cluster.migration.spec import MigrationSpec, Result
from cluster.migration.turn import Patience

PAGES = 1_000
PAGES_PER_SECOND = 2_000
CALM_AT_S = 20.0
END_AT_S = 120.0
STEPS_MAX = 20_000


class Violation(Exception):
    """The world is in a state that must never be."""


@dataclass(frozen=True)
class Faults:
    """Chances, of each message unless said otherwise."""

    lose: float
    duplicate: float
    delay: float  # by up to three seconds
    fail: float  # a command is answered Failed, having taken effect or not
    refuse: float  # a command that may be refused is
    die: float  # of each host, once in the run
    cancel: float  # once in the run, then perhaps again
    owner_away: float  # of the owner, for some seconds

    @classmethod
    def drawn(cls, rng: Random) -> "Faults":
        def rate(often: float) -> float:
            return rng.choice((0.0, 0.0, often / 4, often))

        return cls(
            lose=rate(0.4),
            duplicate=rate(0.4),
            delay=rate(0.4),
            fail=rate(0.4),
            refuse=rate(0.1),
            die=rate(0.8),
            cancel=rate(0.8),
            owner_away=rate(0.8),
        )


@dataclass
class Host:
    """One end. `fence` is the highest seq that it has seen; older commands are dropped."""

    alive: bool = True
    has_vm: bool = False
    running: bool = False
    complete: bool = False  # holds the whole state, so that it could run
    missing_pages: int = 0
    fence: int = 0
    sending: int = 0  # seq of the send under way
    answers: dict[int, Answer] = field(default_factory=dict)


class World:
    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.faults = Faults.drawn(rng)
        self.machine = Migration(
            MigrationSpec(
                id=str(seed),
                vm="vm",
                source="a",
                destination="b",
                epoch=2,
                memory_bytes=PAGES * PAGE_BYTES,
                mode=rng.choice(list(Mode)),
                stall_s_max=2.0,
                downtime_s_max=0.1,
                rounds_max=rng.choice((1, 3, 10)),
                rate_bytes_per_second=PAGES_PER_SECOND * PAGE_BYTES,
            ),
            patience=Patience(retry_s_max=1.0, unregister_tries_max=3),
            checking=True,
        )
        self.source = Host(has_vm=True, running=True, complete=True)
        self.destination = Host()
        self.record = (1, "a")
        self.refused_epochs: set[int] = set()
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # Time and messages.

    def at(self, time_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time_s, next(self._order), act))

    def chance(self, rate: float) -> bool:
        return self.now < CALM_AT_S and self.rng.random() < rate

    def deliver(self, act: Callable[[], None]) -> None:
        """Carry a message: once, never, twice, soon or late."""
        if self.chance(self.faults.lose):
            return
        for _ in range(2 if self.chance(self.faults.duplicate) else 1):
            late_s = self.rng.uniform(0, 3) if self.chance(self.faults.delay) else 0.0
            self.at(self.now + self.rng.uniform(0.0001, 0.005) + late_s, act)

    def hear(self, event: Event) -> None:
        for command in self.machine.handle(event, now=self.now):
            self.deliver(lambda command=command: self.carry_out(command))
        due = self.machine.wake_at
        if due is not None:
            self.at(due, lambda: self.hear(Ticked()) if self.machine.wake_at == due else None)

    def answer(self, answer: Answer) -> None:
        if not isinstance(answer, Refused) and self.chance(self.faults.fail):
            answer = Failed(reply_to=answer.reply_to, reason="no answer")
        self.deliver(lambda: self.hear(answer))

    # Carrying commands out.

    def carry_out(self, command: Command) -> None:
        match command:
            case Throttle():
                self.answer(Succeeded(reply_to=command.seq))
            case Interrupt():
                if self.source.sending == command.send_seq:
                    self.end_send(command.send_seq, Succeeded(reply_to=command.send_seq))
                self.answer(Succeeded(reply_to=command.seq))
            case Commit():
                self.commit(command)
            case SendRemainder() if not self.source.alive:
                self.answer_for_the_dead(command)
            case Prepare() | Resume():
                self.on(self.destination, command)
            case _:
                self.on(self.source, command)

    def on(self, host: Host, command: Command) -> None:
        """Let a host carry a command out, unless a newer one has been seen there."""
        if not host.alive:
            if self.chance(0.5):
                self.answer(Failed(reply_to=command.seq, reason="host died"))
            return
        if command.seq < host.fence:
            return
        host.fence = command.seq
        if command.seq in host.answers:
            self.answer(host.answers[command.seq])
            return
        if self.chance(self.faults.fail / 2):
            self.answer(Failed(reply_to=command.seq, reason="could not"))
            return
        answer = self.effect(host, command)
        if answer is not None:
            host.answers[command.seq] = answer
            self.answer(answer)

    def effect(self, host: Host, command: Command) -> Answer | None:
        done = Succeeded(reply_to=command.seq)
        match command:
            case Prepare():
                if self.chance(self.faults.refuse):
                    return Refused(reply_to=command.seq, reason="no memory")
                host.has_vm = True
            case SendDirty() | SendRemainder():
                return self.start_send(command)
            case SendState():
                if self.source.running:
                    raise Violation("the state is read while the source runs")
                return self.start_send(command)
            case Stun():
                if self.chance(self.faults.refuse):
                    return Refused(reply_to=command.seq, reason="no VM")
                host.running = False
            case Resume():
                if not host.complete or self.chance(self.faults.refuse / 4):
                    host.has_vm = host.complete = False
                    return Refused(reply_to=command.seq, reason="the VM's process died")
                host.running = True
            case Rollback():
                return self.roll_back(command)
            case Unregister():
                host.has_vm = host.complete = False
        return done

    def answer_for_the_dead(self, command: SendRemainder) -> None:
        if not self.destination.alive:
            return
        if self.destination.missing_pages:
            self.answer(Refused(reply_to=command.seq, reason="pages are missing"))
        else:
            self.answer(Succeeded(reply_to=command.seq))

    def start_send(self, command: SendDirty | SendState | SendRemainder) -> None:
        if not self.source.has_vm:
            raise Violation(f"{command} finds no VM")
        if self.source.sending != command.seq:
            self.source.sending = command.seq
            pages = self.rng.choice((0, 10, 200, PAGES))
            self.report(command, self.now + pages / PAGES_PER_SECOND)

    def report(self, command: Command, ends_s: float) -> None:
        """Report progress ten times a second until the send ends or is superseded."""
        source, destination = self.source, self.destination
        if not source.alive or source.sending != command.seq or source.fence > command.seq:
            return
        if not destination.alive:
            self.end_send(command.seq, Failed(reply_to=command.seq, reason="peer died"))
        elif self.now >= ends_s:
            self.sent(command)
        else:
            event = Progressed(reply_to=command.seq, bytes_sent=1, pages_dirty=1)
            self.deliver(lambda: self.hear(event))
            self.at(min(ends_s, self.now + 0.1), lambda: self.report(command, ends_s))

    def sent(self, command: Command) -> None:
        left = self.rng.choice((0, 5, 300, PAGES))
        match command:
            case SendState():
                self.destination.complete = True
                self.destination.missing_pages = left if command.bitmap_only else 0
                left = self.destination.missing_pages
            case SendRemainder():
                self.destination.missing_pages = left = 0
            case _:
                pass
        answer = Succeeded(
            reply_to=command.seq, pages_sent=PAGES, sent_bytes=PAGES * PAGE_BYTES, pages_dirty=left
        )
        self.end_send(command.seq, answer)

    def end_send(self, seq: int, answer: Answer) -> None:
        self.source.sending = 0
        self.source.answers[seq] = answer
        self.answer(answer)

    def roll_back(self, command: Rollback) -> Answer | None:
        source, destination = self.source, self.destination
        if not source.has_vm:
            return Refused(reply_to=command.seq, reason="no VM here")
        source.running, source.sending = True, 0
        # The source runs at once; yes is said only when the destination has forgotten too.
        if destination.alive:
            if self.chance(self.faults.lose):
                self.answer(Failed(reply_to=command.seq, reason="no way to the destination"))
                return None
            destination.fence = max(destination.fence, command.seq)
            destination.has_vm = destination.complete = False
        return Succeeded(reply_to=command.seq)

    def commit(self, command: Commit) -> None:
        epoch, _ = self.record
        if command.epoch in self.refused_epochs:
            answer = Refused(reply_to=command.seq, reason="refused before")
        elif epoch == command.epoch:
            answer = Succeeded(reply_to=command.seq)
        elif self.chance(self.faults.refuse):
            self.refused_epochs.add(command.epoch)
            answer = Refused(reply_to=command.seq, reason="preflight")
        elif self.chance(self.faults.owner_away):
            answer = Failed(reply_to=command.seq, reason="VirtualCenter is away")
        else:
            self.record = (command.epoch, "b")
            answer = Succeeded(reply_to=command.seq)
        self.answer(answer)

    # The run.

    def plan(self) -> None:
        """Place what happens once: the start, deaths with their reports, cancels."""
        rng = self.rng
        self.at(rng.uniform(0, 0.2), lambda: self.hear(Begun()))
        for host, role in ((self.source, Role.SOURCE), (self.destination, Role.DESTINATION)):
            if rng.random() < self.faults.die:
                dies_s = rng.expovariate(1.0)
                self.at(dies_s, lambda host=host: self.kill(host))
                event = HostLost(role=role)
                self.at(dies_s + rng.uniform(0, 5), lambda event=event: self.hear(event))
        for _ in range(2):
            if rng.random() < self.faults.cancel:
                self.at(rng.expovariate(1.0), lambda: self.hear(CancelRequested()))

    @staticmethod
    def kill(host: Host) -> None:
        host.alive = host.running = host.has_vm = host.complete = False
        host.sending = 0

    def run(self) -> None:
        self.plan()
        for _ in range(STEPS_MAX):
            if not self._queue or (self.machine.finished and self.now > CALM_AT_S):
                break
            self.now, _, act = heapq.heappop(self._queue)
            if self.now > END_AT_S:
                break
            act()
            self.check_now()
        self.check_end()

    def check_now(self) -> None:
        """Never two runners, and none that the record does not name."""
        for host, name in ((self.source, "a"), (self.destination, "b")):
            if host.running and self.record[1] != name:
                raise Violation(f"{name} runs, and the record is {self.record}")

    def check_end(self) -> None:
        machine, source, destination = self.machine, self.source, self.destination
        if not machine.finished:
            raise Violation(f"still {machine.state.phase.value} at {self.now}")
        at_source = self.record[1] == "a"
        match machine.outcome.result:
            case Result.COMPLETED:
                good = not at_source and (
                    not destination.alive or (destination.running and not destination.missing_pages)
                )
                good = good and (not source.has_vm or bool(machine.outcome.error))
            case Result.ABORTED | Result.REFUSED:
                good = at_source and (source.running or not source.alive)
                good = good and not destination.has_vm
            case Result.LOST:
                whole = destination.alive and destination.complete
                whole = whole and (not destination.missing_pages or source.has_vm)
                good = not (source.running if at_source else whole)
        if not good:
            raise Violation(
                f"ended as {machine.outcome.result.value} ({machine.outcome.error}) with the record"
                f" {self.record}, source {source}, destination {destination}"
            )


def failure(seed: int) -> str | None:
    """Run one seed; return what went wrong and how to see it again."""
    world = World(seed)
    try:
        world.run()
    except (Violation, ProtocolError, AssertionError) as error:
        return f"{error}\nreplay: python -m tests.migration.world {seed}"
    return None


def main(arguments: list[str]) -> None:
    world = World(int(arguments[0]))
    print(world.machine.spec, world.faults, sep="\n")
    try:
        world.run()
    finally:
        print(world.machine.story, world.machine.outcome, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
