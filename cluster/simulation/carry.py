"""Carries out the commands of one migration machine in virtual time; decides nothing.

The same `Migration` that a live source host drives. Each command takes what the calibration
measured for it, sends take their bytes over the shared links, and every command is
answered through a channel that may misbehave.
"""

import math
from collections.abc import Callable

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
from cluster.simulation.guest import GuestMemory
from cluster.simulation.link import Network
from cluster.simulation.seat import Seat
from cluster.simulation.sending import Sender
from drs.cost import Calibration


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
        claim: Callable[[int, Callable[[str], None]], None],
        ended: Callable[[], None],
    ) -> None:
        """`claim` asks for the record at an epoch; it may tell "" or the refusal, soon, late or never."""
        self.machine = machine
        self.guest = guest
        self.source = source
        self.destination = destination
        self._clock = clock
        self._calibration = calibration
        self._channel = channel
        self._claim = claim
        self._ended = ended
        self._sender = Sender(
            clock=clock,
            network=network,
            links=links,
            guest=guest,
            source=source,
            destination=destination,
            calibration=calibration,
            stall_s_max=machine.spec.stall_s_max,
            answered=self._answer,
            progressed=self._progressed,
        )
        self._wake: Timer | None = None
        self._over = False

    @property
    def demand_faults(self) -> int:
        """Accesses that waited for a page, in all remainders."""
        return self._sender.demand_faults

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
        self._sender.drop()
        if self._wake is not None:
            self._wake.cancel()

    def set_share(self, rate_bytes_per_second: float | None) -> None:
        """Let the migration use that much of the line; None is no limit."""
        rate = math.inf if rate_bytes_per_second is None else rate_bytes_per_second
        self._sender.limit(rate * self._calibration.rate_efficiency_ratio)

    def seat_lost(self, seat: Seat) -> None:
        """A host has died with all that it held."""
        seat.alive = False
        seat.empty()
        if seat is self.source:
            self._sender.drop()
        elif (seq := self._sender.seq) is not None:
            self._sender.drop()
            self._answer(Failed(reply_to=seq, reason="the peer died"))

    def fail_send(self, reason: str) -> bool:
        """End the send under way without success, as a bad batch does; return if there was one."""
        seq = self._sender.seq
        if seq is not None:
            self._sender.drop()
            self._answer(Failed(reply_to=seq, reason=reason))
        return seq is not None

    def power_off(self) -> None:
        """The VM is ended by a user, wherever it is; a send of its memory ends too."""
        self.source.empty()
        self.destination.empty()
        if (seq := self._sender.seq) is not None:
            self._sender.drop()
            self._answer(Refused(reply_to=seq, reason="the VM is off"))

    # Commands out.

    def _carry_out(self, command: Command) -> None:
        match command:
            case Throttle():
                if self.source.alive:
                    self.guest.throttle(command.ratio, now=self._clock.now)
                    self._answer(Succeeded(reply_to=command.seq))
            case Interrupt():
                if self.source.alive:
                    self._sender.interrupt(command.send_seq)
                    self._answer(Succeeded(reply_to=command.seq))
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
        if command.seq < seat.fence or command.seq == self._sender.seq:
            return
        if command.seq > seat.fence and seat is self.source:
            self._sender.drop()
        seat.fence = command.seq
        if command.seq in seat.answers:
            self._answer(seat.answers[command.seq])
        elif self._channel.fails():
            self._answer(Failed(reply_to=command.seq, reason="it could not be done"))
        else:
            self._begin(seat, command)

    def _begin(self, seat: Seat, command: Command) -> None:
        calibration = self._calibration
        match command:
            case Prepare():
                self._after(calibration.prepare_s, seat, command, self._prepare)
            case SendDirty() | SendState() | SendRemainder():
                self._sender.begin(command)
            case Stun():
                self._after(calibration.quiesce_s, seat, command, self._stun)
            case Resume():
                self._after(calibration.resume_s, seat, command, self._resume)
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
        self._claim(command.epoch, lambda refusal: self._claimed(command.seq, refusal))

    def _claimed(self, seq: int, refusal: str) -> None:
        if refusal:
            self._answer(Refused(reply_to=seq, reason=refusal))
        else:
            self._answer(Succeeded(reply_to=seq))

    def _ask_destination(self, command: SendRemainder) -> None:
        seat = self.destination
        if not seat.alive:
            self._answer(Failed(reply_to=command.seq, reason="both hosts are dead"))
        elif seat.missing_pages:
            reason = f"{seat.missing_pages} pages are missing"
            self._answer(Refused(reply_to=command.seq, reason=reason))
        else:
            self._answer(Succeeded(reply_to=command.seq))

    def _answer(self, answer: Answer) -> None:
        if not isinstance(answer, Refused) and self._channel.fails():
            answer = Failed(reply_to=answer.reply_to, reason="the answer was lost")
        self._channel.deliver(lambda: self.hear(answer))

    def _progressed(self, event: Progressed) -> None:
        self._channel.deliver(lambda: self.hear(event))
