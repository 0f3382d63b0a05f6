"""The sends of one migration in virtual time: scan, bytes on the shared line, and the answer."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cluster.inventory.model import PAGE_BYTES
from cluster.migration.messages import (
    Answer,
    Failed,
    Progressed,
    Refused,
    SendDirty,
    SendRemainder,
    SendState,
    Succeeded,
)
from cluster.simulation.clock import Clock
from cluster.simulation.guest import GuestMemory, demand_faults
from cluster.simulation.link import Flow, Network
from cluster.simulation.seat import Seat, WorldBroken
from drs.cost import Calibration, scan_s

# A live source looks at its send ten times a second. Here the first look tells the dirty
# rate as it does there; the further ones only break the silence, so a few are enough.
_FIRST_PROGRESS_S = 0.1
_REPORTS_PER_STALL = 3

SendCommand = SendDirty | SendState | SendRemainder


@dataclass(slots=True, kw_only=True, eq=False)
class _Send:
    """A send under way; `flow` is there while its bytes are on the line."""

    command: SendCommand
    pages: int
    scan_s: float
    began_s: float = 0.0
    flow: Flow | None = None


class Sender:
    """Sends what the machine asks for, one command at a time.

    Attributes:
        demand_faults: Of remainders so far.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        network: Network,
        links: tuple[int, ...],
        guest: GuestMemory,
        source: Seat,
        destination: Seat,
        calibration: Calibration,
        stall_s_max: float,
        answered: Callable[[Answer], None],
        progressed: Callable[[Progressed], None],
    ) -> None:
        """`answered` gets each send's one answer, `progressed` its reports."""
        self.demand_faults = 0
        self._clock = clock
        self._network = network
        self._links = links
        self._guest = guest
        self._source = source
        self._destination = destination
        self._calibration = calibration
        self._report_every_s = stall_s_max / _REPORTS_PER_STALL
        self._answered = answered
        self._progressed = progressed
        self._send: _Send | None = None
        self._limit_bytes_per_second = math.inf
        self._anything_sent = False

    @property
    def seq(self) -> int | None:
        """Of the send under way."""
        return None if self._send is None else self._send.command.seq

    def limit(self, bytes_per_second: float) -> None:
        """Use so much of the line at most, from now on."""
        self._limit_bytes_per_second = bytes_per_second
        if self._send is not None and self._send.flow is not None:
            self._network.limit(self._send.flow, bytes_per_second)

    def begin(self, command: SendCommand) -> None:
        """Scan, and put what is to be sent on the line."""
        if not self._destination.alive:
            self._answered(Failed(reply_to=command.seq, reason="the peer is dead"))
            return
        if not (self._source.holds and self._destination.holds):
            self._answered(Refused(reply_to=command.seq, reason="the VM is off"))
            return
        send = self._scanned(command)
        self._send = send
        self._clock.after(send.scan_s, lambda: self._start_flow(send))
        self._clock.after(_FIRST_PROGRESS_S, lambda: self._report(send))

    def interrupt(self, send_seq: int) -> None:
        """End that send, if it is under way, with what it has sent."""
        send = self._send
        if send is None or send.command.seq != send_seq:
            return
        sent_bytes = 0 if send.flow is None else self._network.sent_bytes(send.flow)
        sent = min(send.pages, sent_bytes // PAGE_BYTES)
        self._guest.put_back(send.pages - sent)
        dirty = self._guest.dirty_pages(now=self._clock.now)
        answer = Succeeded(
            reply_to=send_seq, pages_sent=sent, pages_dirty=dirty, sent_bytes=sent_bytes
        )
        self._end(send, answer)

    def drop(self) -> None:
        """End the send without an answer; of a remainder the rest is still missing."""
        send, self._send = self._send, None
        if send is not None and send.flow is not None:
            sent_bytes = self._network.stop(send.flow)
            if isinstance(send.command, SendRemainder):
                self._destination.missing_pages -= sent_bytes // PAGE_BYTES

    def _scanned(self, command: SendCommand) -> _Send:
        """Find the pages to send. Round 0 sends all that was ever written, and so does a first flip."""
        guest = self._guest
        match command:
            case SendRemainder():
                return _Send(command=command, pages=self._destination.missing_pages, scan_s=0.0)
            case SendDirty():
                dirty = guest.harvest(now=self._clock.now)
                pages = guest.populated_pages if command.round == 0 else dirty
                return _Send(command=command, pages=pages, scan_s=self._calibration.round_s)
        if guest.running or self._source.runs:
            raise WorldBroken("the state is read while the guest runs")
        dirty = guest.harvest(now=self._clock.now)
        pages = dirty if self._anything_sent else guest.populated_pages
        # Before a flip the bulk was harvested ahead of the stun; see `drs.cost`.
        found = 0 if command.bitmap_only else pages
        scanning_s = scan_s(guest.pages * PAGE_BYTES, found, self._calibration)
        return _Send(command=command, pages=pages, scan_s=scanning_s)

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
                bitmap = self._guest.pages * self._calibration.bitmap_bytes_per_page
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
        if self._send is not send:
            return
        left, pages_sent = self._guest.dirty_pages(now=self._clock.now), send.pages
        match send.command:
            case SendState(bitmap_only=True):
                self._destination.complete = True
                left = self._destination.missing_pages = send.pages
                pages_sent = 0
            case SendState():
                self._destination.complete = True
                left = self._destination.missing_pages = 0
            case SendRemainder():
                left = self._destination.missing_pages = 0
                self.demand_faults += demand_faults(send.pages, self._guest.model, copied_s)
            case SendDirty():
                self._anything_sent = True
        answer = Succeeded(
            reply_to=send.command.seq,
            pages_sent=pages_sent,
            pages_dirty=left,
            sent_bytes=self._wire_bytes(send),
            scan_s=send.scan_s,
            copy_s=copied_s,
        )
        self._end(send, answer)

    def _report(self, send: _Send) -> None:
        """Say that the send lives, as long as its bytes move."""
        if self._send is not send:
            return
        if send.flow is None or send.flow.rate_bytes_per_second > 0:
            sent = 0 if send.flow is None else self._network.sent_bytes(send.flow)
            dirty = self._guest.dirty_pages(now=self._clock.now)
            seq = send.command.seq
            self._progressed(Progressed(reply_to=seq, bytes_sent=sent, pages_dirty=dirty))
        self._clock.after(self._report_every_s, lambda: self._report(send))

    def _end(self, send: _Send, answer: Answer) -> None:
        self.drop()
        self._source.answers[send.command.seq] = answer
        self._answered(answer)
