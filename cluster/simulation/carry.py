"""Carries out the commands of one migration machine in virtual time; decides nothing.

The same `Migration` that a live source host drives. Each command takes what the calibration
measured for it, sends take their bytes over the shared links, and every command is
answered through a channel that may misbehave.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.inventory.model import PAGE_BYTES
from cluster.migration.machine import Migration
from cluster.migration.messages import (
    Answer,
    Command,
    Commit,
    Event,
    Failed,
    Interrupt,
    Prepare,
    Progressed,
    Refused,
    Resume,
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
from cluster.simulation.clock import Clock, Timer
from cluster.simulation.faults import Channel
from cluster.simulation.guest import GuestMemory, demand_faults
from cluster.simulation.link import Flow, Network
from drs.cost import Calibration, scan_s

# A live source looks at its send ten times a second. Here the first look tells the dirty
# rate as it does there; the further ones only break the silence, so a few are enough.
_FIRST_PROGRESS_S = 0.1
_REPORTS_PER_STALL = 3


class WorldBroken(Exception):
    """Something happened that must never happen; a defect, found by a checker."""


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One host's part of one VM.

    Attributes:
        holds: Memory is allocated here.
        complete: State and pages are here, apart from `missing_pages` after a flip.
        fence: The highest seq that was seen; an older command is dropped.
        answers: Given so far; a command that comes twice is answered the same.
    """

    alive: bool = True
    holds: bool = False
    runs: bool = False
    complete: bool = False
    missing_pages: int = 0
    fence: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)

    def empty(self) -> None:
        """Nothing of the VM is here any more."""
        self.holds = self.runs = self.complete = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Send:
    """A send under way."""

    command: SendDirty | SendState | SendRemainder
    pages: int
    scan_s: float
    began_s: float = 0.0
    flow: Flow | None = None


class Carrier:
    """One migration's world: two seats, the links between them, the record's owner."""

    def __init__(
        self,
        *,
        machine: Migration,
        clock: Clock,
        network: Network,
        links: tuple[int, ...],
        guest: GuestMemory,
        source: Seat,
        destination: Seat,
        calibration: Calibration,
        channel: Channel,
        claim: Callable[[int], str],
        ended: Callable[[], None],
    ) -> None:
        """`claim` asks for the record at an epoch and returns "" or the refusal."""
        self.machine = machine
        self.guest = guest
        self.source = source
        self.destination = destination
        self.demand_faults = 0
        self._clock = clock
        self._network = network
        self._links = links
        self._calibration = calibration
        self._channel = channel
        self._claim = claim
        self._ended = ended
        self._send: _Send | None = None
        self._wake: Timer | None = None
        self._limit_bytes_per_second = math.inf
        self._over = False

    # Events in.

    def hear(self, event: Event) -> None:
        """Give the machine an event and let its commands travel."""
        if self._over:
            return
        for command in self.machine.handle(event, now=self._clock.now):
            self._channel.deliver(lambda command=command: self._carry_out(command))  # type: ignore[misc]
        if self._wake is not None:
            self._wake.cancel()
        if (wake_at := self.machine.wake_at) is not None:
            self._wake = self._clock.at(wake_at, lambda: self.hear(Ticked()))
        if self.machine.finished:
            self.abandon()
            self._ended()

    def abandon(self) -> None:
        """Nobody drives this migration any more: it is over, or its driver is dead."""
        self._over = True
        self._drop_send()
        if self._wake is not None:
            self._wake.cancel()

    def set_share(self, rate_bytes_per_second: float | None) -> None:
        """Let the migration use that much of the line; None is no limit."""
        rate = math.inf if rate_bytes_per_second is None else rate_bytes_per_second
        self._limit_bytes_per_second = rate * self._calibration.rate_efficiency_ratio
        if self._send is not None and self._send.flow is not None:
            self._network.limit(self._send.flow, self._limit_bytes_per_second)

    def seat_lost(self, seat: Seat) -> None:
        """A host has died with all that it held."""
        seat.alive = False
        seat.empty()
        if seat is self.source:
            self._drop_send()
        elif self._send is not None:
            seq = self._send.command.seq
            self._drop_send()
            self._answer(Failed(reply_to=seq, reason="the peer died"))

    def power_off(self) -> None:
        """The VM is ended by a user, wherever it is; a send of its memory ends too."""
        self.source.empty()
        self.destination.empty()
        if self._send is not None:
            seq = self._send.command.seq
            self._drop_send()
            self._answer(Refused(reply_to=seq, reason="the VM is off"))

    # Commands out.

    def _carry_out(self, command: Command) -> None:
        match command:
            case Throttle():
                if self.source.alive:
                    self.guest.throttle(command.ratio, now=self._clock.now)
                    self._answer(Succeeded(reply_to=command.seq))
            case Interrupt():
                self._interrupt(command)
            case Commit():
                self._clock.after(self._calibration.commit_s, lambda: self._commit(command))
            case SendRemainder() if not self.source.alive:
                self._ask_destination(command)
            case Prepare() | Resume():
                self._let(self.destination, command)
            case _:
                self._let(self.source, command)

    def _let(self, seat: Seat, command: Command) -> None:
        """Let a host carry a command out, unless it has seen a newer one."""
        if not seat.alive:
            self._answer(Failed(reply_to=command.seq, reason="the host is dead"))
            return
        under_way = self._send is not None and self._send.command.seq == command.seq
        if command.seq < seat.fence or under_way:
            return
        if command.seq > seat.fence and seat is self.source:
            self._drop_send()
        seat.fence = command.seq
        if command.seq in seat.answers:
            self._answer(seat.answers[command.seq])
        elif self._channel.fails():
            self._answer(Failed(reply_to=command.seq, reason="it could not be done"))
        else:
            self._begin(seat, command)

    def _begin(self, seat: Seat, command: Command) -> None:
        now, calibration = self._clock.now, self._calibration
        match command:
            case Prepare():
                self._after(calibration.prepare_s, seat, command, self._prepare)
            case SendDirty():
                first = command.round == 0
                harvested = self.guest.harvest(now=now)
                pages = self.guest.populated_pages if first else harvested
                self._begin_send(command, pages, calibration.round_s)
            case Stun():
                self._after(calibration.quiesce_s, seat, command, self._stun)
            case SendState():
                self._begin_state(command)
            case Resume():
                self._after(calibration.resume_s, seat, command, self._resume)
            case SendRemainder():
                self._begin_send(command, self.destination.missing_pages, 0.0)
            case Rollback():
                self._after(calibration.resume_s, seat, command, self._roll_back)
            case Unregister():
                self._after(0.0, seat, command, self._unregister)

    def _after(
        self, delay_s: float, seat: Seat, command: Command, act: Callable[[int], Answer | None]
    ) -> None:
        """Do it later, unless the host has died or has been told something newer by then."""

        def later() -> None:
            if not seat.alive:
                self._answer(Failed(reply_to=command.seq, reason="the host died"))
            elif seat.fence == command.seq and command.seq not in seat.answers:
                answer = act(command.seq)
                if answer is not None:
                    seat.answers[command.seq] = answer
                    self._answer(answer)

        self._clock.after(delay_s, later)

    def _prepare(self, seq: int) -> Answer:
        if not self.destination.alive or self._channel.refuses():
            return Refused(reply_to=seq, reason="the destination has no room")
        self.destination.holds = True
        return Succeeded(reply_to=seq)

    def _stun(self, seq: int) -> Answer:
        if not self.source.holds or self._channel.refuses():
            return Refused(reply_to=seq, reason="the VM is off")
        self.guest.stun(now=self._clock.now)
        self.source.runs = False
        return Succeeded(reply_to=seq)

    def _resume(self, seq: int) -> Answer:
        seat = self.destination
        if not seat.complete:
            return Refused(reply_to=seq, reason="there is no VM to run")
        seat.runs = True
        self.guest.resume(now=self._clock.now)
        return Succeeded(reply_to=seq)

    def _unregister(self, seq: int) -> Answer:
        self.source.holds = self.source.complete = False
        return Succeeded(reply_to=seq)

    def _roll_back(self, seq: int) -> Answer:
        """The source runs at once; the answer is yes when the destination has forgotten too."""
        if not self.source.holds:
            return Refused(reply_to=seq, reason="the source has no VM")
        self.guest.resume(now=self._clock.now)
        self.source.runs = True
        if self.destination.alive:
            self.destination.fence = max(self.destination.fence, seq)
            self.destination.holds = self.destination.complete = False
        return Succeeded(reply_to=seq)

    def _commit(self, command: Commit) -> None:
        refusal = self._claim(command.epoch)
        if refusal:
            self._answer(Refused(reply_to=command.seq, reason=refusal))
        else:
            self._answer(Succeeded(reply_to=command.seq))

    def _ask_destination(self, command: SendRemainder) -> None:
        seat = self.destination
        if not seat.alive:
            self._answer(Failed(reply_to=command.seq, reason="both hosts are dead"))
        elif seat.missing_pages:
            reason = f"{seat.missing_pages} pages are missing"
            self._answer(Refused(reply_to=command.seq, reason=reason))
        else:
            self._answer(Succeeded(reply_to=command.seq))

    # Sends.

    def _begin_state(self, command: SendState) -> None:
        if self.guest.running or self.source.runs:
            raise WorldBroken("the state is read while the guest runs")
        now = self._clock.now
        # Post-copy has sent nothing yet: everything is missing.
        nothing_sent = not self.machine.state.figures.rounds
        dirty = self.guest.harvest(now=now)
        pages = self.guest.populated_pages if nothing_sent else dirty
        # Before a flip the bulk was harvested ahead of the stun; see `drs.cost`.
        found = 0 if command.bitmap_only else pages
        memory_bytes = self.guest.pages * PAGE_BYTES
        self._begin_send(command, pages, scan_s(memory_bytes, found, self._calibration))

    def _begin_send(
        self,
        command: SendDirty | SendState | SendRemainder,
        pages: int,
        scanning_s: float,
    ) -> None:
        if not self.destination.alive:
            self._answer(Failed(reply_to=command.seq, reason="the peer is dead"))
            return
        if not (self.source.holds and self.destination.holds):
            self._answer(Refused(reply_to=command.seq, reason="the VM is off"))
            return
        send = _Send(command=command, pages=pages, scan_s=scanning_s)
        self._send = send
        self._clock.after(scanning_s, lambda: self._start_flow(send))
        self._clock.after(_FIRST_PROGRESS_S, lambda: self._report(send))

    def _start_flow(self, send: _Send) -> None:
        if self._send is not send:
            return
        send.began_s = self._clock.now
        send.flow = self._network.start(
            self._links,
            self._wire_bytes(send),
            lambda: self._flow_done(send),
            limit_bytes_per_second=self._limit_bytes_per_second,
        )

    def _wire_bytes(self, send: _Send) -> int:
        page_bytes = send.pages * PAGE_BYTES
        match send.command:
            case SendState(bitmap_only=True):
                bitmap = self.guest.pages * self._calibration.bitmap_bytes_per_page
                return int(bitmap + self._calibration.state_bytes)
            case SendState():
                return int(page_bytes + self._calibration.state_bytes)
            case _:
                return page_bytes

    def _flow_done(self, send: _Send) -> None:
        if self._send is not send:
            return
        copied_s = self._clock.now - send.began_s
        send.flow = None
        tail_s = self._calibration.state_s if isinstance(send.command, SendState) else 0.0
        self._clock.after(tail_s, lambda: self._sent(send, copied_s))

    def _sent(self, send: _Send, copied_s: float) -> None:
        if self._send is not send or not self.source.alive:
            return
        left = self.guest.dirty_pages(now=self._clock.now)
        match send.command:
            case SendState(bitmap_only=bitmap_only):
                self.destination.complete = True
                left = self.destination.missing_pages = send.pages if bitmap_only else 0
            case SendRemainder():
                left = self.destination.missing_pages = 0
                self.demand_faults += demand_faults(send.pages, self.guest.model, copied_s)
            case _:
                pass
        flips = isinstance(send.command, SendState) and send.command.bitmap_only
        self._end_send(
            send,
            Succeeded(
                reply_to=send.command.seq,
                pages_sent=0 if flips else send.pages,
                pages_dirty=left,
                sent_bytes=self._wire_bytes(send),
                scan_s=send.scan_s,
                copy_s=copied_s,
            ),
        )

    def _report(self, send: _Send) -> None:
        """Say that the send lives, as long as its bytes move."""
        if self._send is not send or not self.source.alive:
            return
        moving = send.flow is None or send.flow.rate_bytes_per_second > 0
        if moving:
            sent = 0 if send.flow is None else self._network.sent_bytes(send.flow)
            dirty = self.guest.dirty_pages(now=self._clock.now)
            event = Progressed(reply_to=send.command.seq, bytes_sent=sent, pages_dirty=dirty)
            self._channel.deliver(lambda: self.hear(event))
        every_s = self.machine.spec.stall_s_max / _REPORTS_PER_STALL
        self._clock.after(every_s, lambda: self._report(send))

    def _interrupt(self, command: Interrupt) -> None:
        if not self.source.alive:
            return
        send = self._send
        if send is not None and send.command.seq == command.send_seq:
            sent_bytes = 0 if send.flow is None else self._network.sent_bytes(send.flow)
            sent = min(send.pages, sent_bytes // PAGE_BYTES)
            self.guest.put_back(send.pages - sent)
            dirty = self.guest.dirty_pages(now=self._clock.now)
            answer = Succeeded(
                reply_to=command.send_seq,
                pages_sent=sent,
                pages_dirty=dirty,
                sent_bytes=sent_bytes,
            )
            self._end_send(send, answer)
        self._answer(Succeeded(reply_to=command.seq))

    def _end_send(self, send: _Send, answer: Answer) -> None:
        self._drop_send()
        self.source.answers[send.command.seq] = answer
        self._answer(answer)

    def _drop_send(self) -> None:
        send, self._send = self._send, None
        if send is not None and send.flow is not None:
            sent_bytes = self._network.stop(send.flow)
            if isinstance(send.command, SendRemainder):
                self.destination.missing_pages -= sent_bytes // PAGE_BYTES

    def _answer(self, answer: Answer) -> None:
        if not isinstance(answer, Refused) and self._channel.fails():
            answer = Failed(reply_to=answer.reply_to, reason="the answer was lost")
        self._channel.deliver(lambda: self.hear(answer))
