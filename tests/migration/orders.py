"""Every order of messages, losses, failures, deaths and cancels within a budget, one by one.

Where the fuzz draws, this enumerates: from the start it follows every step that may come
next, and never the same situation twice. A situation is the machine's state without its
times and figures, the messages under way, the two hosts, and the owner's record. The machine
and the record's compare-and-set are the code that runs, not a model of it.

    python -m tests.migration.orders        # counts the situations within the bound of the docs
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cluster.inventory.model import Mode
from cluster.migration.estimates import Dirtying, LinkEstimate
from cluster.migration.machine import Migration
from cluster.migration.messages import (
    Begun,
    CancelRequested,
    Command,
    Commit,
    Event,
    Failed,
    HostLost,
    Interrupt,
    Prepare,
    Refused,
    Resume,
    Role,
    Rollback,
    SendRemainder,
    SendState,
    Stun,
    Succeeded,
    Throttle,
    Ticked,
    Unregister,
)
from cluster.migration.spec import Result
from cluster.migration.state import FINAL, RESULTS, Figures, State
from cluster.policy.ownership import Ownership, Record
from tests.migration.driving import spec

MISSING = 7
VM, SOURCE, DESTINATION = "vm", "a", "b"
OWNED = Record(epoch=1, host=SOURCE)
COMMITTED = Record(epoch=2, host=DESTINATION)


@dataclass(frozen=True, slots=True)
class Budget:
    """How often each thing may still go wrong."""

    lose: int = 0
    double: int = 0  # a message arrives, and will arrive again
    crash: int = 0  # VirtualCenter, after its record and before its answer; it comes back
    fail: int = 0
    refuse: int = 0
    die: int = 0
    cancel: int = 0
    impatience: int = 0  # ticks while an answer is still under way


@dataclass(frozen=True, slots=True)
class End:
    """One host's part; `fence` is the highest seq seen there."""

    alive: bool = True
    holds: bool = False
    runs: bool = False
    complete: bool = False
    missing: int = 0
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Situation:
    machine: State
    flying: frozenset[Command | Event]
    source: End
    destination: End
    record: Record
    refused: bool
    budget: Budget

    @property
    def committed(self) -> bool:
        return self.record == COMMITTED


class Orders:
    """The situations that one mode can come to."""

    def __init__(self, mode: Mode, budget: Budget) -> None:
        self.spec = spec(mode=mode)
        self.start = Situation(
            machine=State(),
            flying=frozenset({Begun()}),
            source=End(holds=True, runs=True, complete=True),
            destination=End(),
            record=OWNED,
            refused=False,
            budget=budget,
        )

    def explore(self, situations_max: int) -> tuple[int, set[Result]]:
        """Visit them all; return their number and how they end.

        Raises:
            AssertionError: With the way to a situation that must not be.
        """
        came: dict[Situation, Situation | None] = {self.start: None}
        waiting = [self.start]
        results = set()
        while waiting:
            here = waiting.pop()
            assert len(came) < situations_max, "more situations than expected"
            try:
                nexts = list(self.following(here))
                check(here)
                if not nexts:
                    results.add(check_end(here))
            except AssertionError as error:
                raise AssertionError(f"{error}\n" + way(came, here)) from error
            for there in nexts:
                if there not in came:
                    came[there] = here
                    waiting.append(there)
        return len(came), results

    def following(self, here: Situation) -> Iterator[Situation]:
        for message in here.flying:
            yield from self.delivered(here, message, here.flying - {message})
            if here.budget.double and not isinstance(message, Begun | HostLost):
                spent = replace(here.budget, double=here.budget.double - 1)
                yield from self.delivered(replace(here, budget=spent), message, here.flying)
        yield from self.mishaps(here)
        yield from self.tick(here)

    def delivered(
        self, here: Situation, message: Command | Event, flying: frozenset[Command | Event]
    ) -> Iterator[Situation]:
        """A message arrives, or is lost on the way; `flying` is what is under way then."""
        left = replace(here, flying=flying)
        if isinstance(message, Begun | CancelRequested | HostLost | Succeeded | Failed | Refused):
            yield self.hear(left, message)
        else:
            yield from self.execute(left, message)
        budget = here.budget
        if budget.lose and not isinstance(message, Begun | HostLost):
            yield replace(left, budget=replace(budget, lose=budget.lose - 1))

    def mishaps(self, here: Situation) -> Iterator[Situation]:
        budget = here.budget
        if budget.cancel:
            left = replace(here, budget=replace(budget, cancel=budget.cancel - 1))
            yield self.hear(left, CancelRequested())
        if budget.die:
            spent = replace(budget, die=budget.die - 1)
            for role, name in ((Role.SOURCE, "source"), (Role.DESTINATION, "destination")):
                if getattr(here, name).alive:
                    flying = here.flying | {HostLost(role=role)}
                    dead = {name: End(alive=False)}
                    yield replace(here, budget=spent, flying=flying, **dead)

    def tick(self, here: Situation) -> Iterator[Situation]:
        machine = self.at(here)
        if machine.wake_at is None:
            return
        # With nothing under way only the clock goes on; before that, impatience is counted.
        if here.flying:
            if not here.budget.impatience or machine.state.asked.silent_at_s is None:
                return
            spent = replace(here.budget, impatience=here.budget.impatience - 1)
            here = replace(here, budget=spent)
        yield self.hear(here, Ticked())

    def at(self, here: Situation) -> Migration:
        machine = Migration(self.spec, checking=True)
        machine.state = here.machine
        return machine

    def hear(self, here: Situation, event: Event) -> Situation:
        machine = self.at(here)
        now = machine.wake_at if isinstance(event, Ticked) else 0.0
        commands = machine.handle(event, now=now)
        return replace(here, machine=timeless(machine.state), flying=here.flying.union(commands))

    def execute(self, here: Situation, command: Command) -> Iterator[Situation]:
        """A command arrives: it works, fails with or without effect, or is refused."""
        budget = here.budget
        done, answer = effect(here, command)
        if answer is None:
            yield done
            return
        yield replace(done, flying=done.flying | {answer})
        if budget.crash and isinstance(command, Commit):
            yield replace(done, budget=replace(budget, crash=budget.crash - 1))
        if budget.fail:
            failed = Failed(reply_to=command.seq, reason="?")
            spent = replace(budget, fail=budget.fail - 1)
            yield replace(here, flying=here.flying | {failed}, budget=spent)
            yield replace(done, flying=done.flying | {failed}, budget=spent)
        # Who has done it already says so again, and cannot refuse it any more.
        granted = (isinstance(command, Commit) and here.committed) or (
            isinstance(command, Prepare) and here.destination.holds
        )
        if budget.refuse and isinstance(command, Prepare | Stun | Commit) and not granted:
            refused = Refused(reply_to=command.seq, reason="no")
            yield replace(
                refusing(here, command),
                flying=here.flying | {refused},
                budget=replace(budget, refuse=budget.refuse - 1),
            )


def refusing(here: Situation, command: Command) -> Situation:
    """A refusal is for good: who gave it does not carry the same command out when it comes again."""
    if isinstance(command, Commit):
        return replace(here, refused=True)
    name = "destination" if isinstance(command, Prepare) else "source"
    end: End = getattr(here, name)
    return replace(here, **{name: replace(end, fence=max(end.fence, command.seq + 1))})


def effect(here: Situation, command: Command) -> tuple[Situation, Event | None]:
    """What a command does where it arrives, and its answer; None where nobody answers."""
    yes = Succeeded(reply_to=command.seq)
    if isinstance(command, Interrupt | Throttle):
        return here, yes
    if isinstance(command, Commit):
        if here.refused:
            return here, Refused(reply_to=command.seq, reason="refused before")
        record, refusal = claim(here.record, command.epoch)
        if refusal:
            return replace(here, refused=True), Refused(reply_to=command.seq, reason=refusal)
        return replace(here, record=record), yes
    if isinstance(command, SendRemainder) and not here.source.alive:
        return here, _of_the_living(here.destination, command)
    name = "destination" if isinstance(command, Prepare | Resume) else "source"
    end: End = getattr(here, name)
    if not end.alive:
        return here, Failed(reply_to=command.seq, reason="dead")
    if command.seq < end.fence:
        return here, None
    here = replace(here, **{name: replace(end, fence=command.seq)})
    return _carried_out(here, command, yes)


def claim(record: Record, epoch: int) -> tuple[Record, str]:
    """Ask the real owner of the record, brought to where it is."""
    owner = Ownership()
    owner.claim(VM, epoch=OWNED.epoch, source=None, host=SOURCE)
    if record == COMMITTED:
        owner.claim(VM, epoch=record.epoch, source=SOURCE, host=DESTINATION)
    refusal = owner.claim(VM, epoch=epoch, source=SOURCE, host=DESTINATION)
    after = owner.get(VM)
    assert after is not None
    return after, refusal


def _of_the_living(end: End, command: Command) -> Event:
    if not end.alive:
        return Failed(reply_to=command.seq, reason="both dead")
    if end.missing:
        return Refused(reply_to=command.seq, reason="pages are missing")
    return Succeeded(reply_to=command.seq)


def _carried_out(here: Situation, command: Command, yes: Event) -> tuple[Situation, Event]:
    source, destination = here.source, here.destination
    match command:
        case Prepare():
            return replace(here, destination=replace(destination, holds=True)), yes
        case Stun():
            return replace(here, source=replace(source, runs=False)), yes
        case Resume():
            if not destination.complete:
                return here, Refused(reply_to=command.seq, reason="no VM")
            return replace(here, destination=replace(destination, runs=True)), yes
        case Unregister():
            return replace(here, source=replace(source, holds=False, complete=False)), yes
        case Rollback():
            assert source.holds, "rolled back after it was freed"
            if destination.alive:
                fence = max(destination.fence, command.seq)
                destination = replace(destination, holds=False, complete=False, fence=fence)
            return replace(here, source=replace(source, runs=True), destination=destination), yes
    if not destination.alive:
        return here, Failed(reply_to=command.seq, reason="peer dead")
    match command:
        case SendState(bitmap_only=bitmap_only):
            assert not source.runs, "the state was read while the VM ran"
            missing = MISSING if bitmap_only else 0
            there = replace(destination, complete=True, missing=missing)
            return replace(here, destination=there), replace(yes, pages_dirty=missing)
        case SendRemainder():
            return replace(here, destination=replace(destination, missing=0)), yes
        case _:
            return here, yes


def timeless(state: State) -> State:
    """The state without what only measures."""
    asked, figures = state.asked, state.figures
    if asked is not None:
        waits = asked.silent_at_s is not None
        asked = replace(
            asked,
            first_s=0.0,
            asked_s=0.0,
            silent_at_s=1.0 if waits else None,
            again_at_s=None if waits else 1.0,
        )
    return replace(
        state,
        now_s=0.0,
        asked=asked,
        error="?" if state.error else "",
        link=LinkEstimate(),
        dirtying=Dirtying(),
        left_pages=(),
        figures=Figures(
            started_s=None if figures.started_s is None else 0.0,
            ended_s=None if figures.ended_s is None else 0.0,
            stunned=figures.stunned,
            ran_after_stun=figures.ran_after_stun,
        ),
    )


def check(here: Situation) -> None:
    """One runner at most, and the one that the record names."""
    assert not (here.source.runs and here.committed), "the source runs after the commit"
    assert not (here.destination.runs and not here.committed), "the destination runs before it"


def check_end(here: Situation) -> Result:
    """Nothing is under way and nothing will be: the migration has ended as it says."""
    assert here.machine.phase in FINAL, "it does not end"
    result = RESULTS[here.machine.phase]
    source, destination = here.source, here.destination
    match result:
        case Result.COMPLETED:
            there = destination.runs and not destination.missing
            assert here.committed, "completed without a commit"
            assert there or not destination.alive, "completed without a VM"
        case Result.ABORTED | Result.REFUSED:
            assert not here.committed, "given up after the commit"
            assert source.runs or not source.alive, "nobody runs it"
            assert not destination.holds, "the destination keeps what it has"
        case Result.LOST:
            whole = destination.complete and (not destination.missing or source.holds)
            assert not (whole if here.committed else source.runs), "lost, and yet there"
    return result


def way(came: dict[Situation, Situation | None], here: Situation) -> str:
    """The situations that led here."""
    steps = []
    at: Situation | None = here
    while at is not None:
        flying = ", ".join(sorted(map(str, at.flying)))
        steps.append(f"{at.machine.phase.value}: {flying}")
        at = came[at]
    return "\n".join(reversed(steps))


# The bound that docs/faults.md states: one of each, in every combination. With a tick that comes
# too early beside them there are so many more that half an hour is not enough.
BOUND = Budget(lose=1, double=1, fail=1, refuse=1, crash=1, die=1)


def main() -> None:
    """Explore each mode within the bound, and print how much that was."""
    for mode in (Mode.PRECOPY, Mode.HYBRID):
        began = time.monotonic()
        count, results = Orders(mode, BOUND).explore(20_000_000)
        ends = ", ".join(sorted(result.value for result in results))
        print(
            f"{mode.value}: {count:,} situations in {time.monotonic() - began:.0f} s; ends: {ends}"
        )


if __name__ == "__main__":
    main()
