"""The thread that runs a guest: steps, clients' requests, and the host's word above both.

The vCPU waits on its host's socket and on a bell that clients ring, so a stun is seen
within one quantum and without another thread's help. When the socket closes the guest
stops at once: a VM without its host may not run.
"""

import asyncio
import contextlib
import pickle
import select
import socket
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from cluster.actors.control_page import ControlPage
from cluster.actors.replies import Answered, Handle, Moved, NotHere, Reply
from cluster.actors.wire import Decoder, Header, WireClosed, encode
from cluster.guests.base import QUANTUM_S_MAX, STATE_BYTES_MAX, Budget, Guest, Special
from cluster.guests.memory_map import capture_state, restore_state
from cluster.memory.guest_memory import Mapping

# Guest time that a late step may catch up with. What is more is dropped and counted.
_CATCH_UP_S_MAX = 0.1
# Clients whose last answer is kept, so that a repeated request is not done twice.
_CLIENTS_MAX = 4096
# A client that asked so short a time before the stun asks on.
_ACTIVE_S = 0.1
_ACTIVE_MAX = 64
# A guest that runs elsewhere now waits so long with its next step, which may wait for many pages after
# a flip, for those clients: it takes two messages until they are here. The step catches up.
_CLIENTS_FIRST_S_MAX = 0.012
# Until the answer to the last of them has left.
_ANSWER_LEAVES_S = 0.001
# While memory is still arriving a step may wait for each page that it touches, and clients wait
# for the step: it is given its time in pieces, small ones first, larger while steps are quick.
# The least is one write of a guest that does 1,000 MB/s: clients would wait for the pages of more.
_PIECE_S_MIN = 0.000002
_QUICK_STEP_S = 0.0005
_SLOW_STEP_S = 0.002
# A guest that gets almost nothing still answers, if slowly.
_SHARE_MIN = 0.02
_IDLE_WAIT_S = 1.0


@dataclass(slots=True)
class Call:
    """A client's request on its way to the vCPU."""

    client: str
    number: int
    payload: object
    reply: "asyncio.Future[Reply]"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuState:
    """What travels at the switchover besides the pages.

    Attributes:
        answered: Each client's last request, and its answer.
        active: Clients that asked shortly before the stun.
    """

    guest: bytes
    answered: dict[str, tuple[int, object]]
    guest_s: float
    active: tuple[str, ...] = ()


class Vcpu(threading.Thread):
    """One guest's only thread of execution.

    Invariant: guest code runs only while `_running`, and only on this thread.
    """

    def __init__(
        self,
        *,
        guest: Guest,
        epoch: int,
        memory: Mapping,
        control: ControlPage,
        host: socket.socket,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[str], None],
    ) -> None:
        """`loop` is the actor's; `ended` is called on this thread, last of all."""
        super().__init__(name="vcpu", daemon=True)
        self._guest = guest
        self._epoch = epoch
        self._counters = memory.pages[0].view("uint64")
        self._control = control
        self._host = host
        self._loop = loop
        self._ended = ended
        self._decoder = Decoder()
        self._bell_in, self._bell_out = socket.socketpair()
        self._bell_out.setblocking(False)
        self._calls: deque[Call] = deque()
        self._replies: list[tuple[Call, Reply]] = []
        self._answered: OrderedDict[str, tuple[int, object]] = OrderedDict()
        self._asked_s: dict[str, float] = {}
        self._awaited: set[str] = set()
        self._moving = False
        self._then: Handle | None = None
        self._running = False
        self._end_reason: str | None = None
        self._last_step = self._next_step = 0.0
        self._piece_s = _PIECE_S_MIN
        self._not_before = 0.0

    # Called on the actor's threads.

    def submit(self, call: Call) -> None:
        """Queue a request; its future is answered when the guest, or a move, has."""
        self._calls.append(call)
        self._ring()

    def expect(self, moving: bool, then: Handle | None) -> None:
        """Say where requests go once the VM is stunned; None keeps them waiting here."""
        self._moving, self._then = moving, then
        self._ring()

    def _ring(self) -> None:
        # A full buffer means that the bell is ringing already.
        with contextlib.suppress(BlockingIOError):
            self._bell_out.send(b"!")

    # The thread.

    def run(self) -> None:
        try:
            while self._end_reason is None:
                self._turn()
        except (WireClosed, ConnectionError):  # reset, if the host had not read all we said
            self._end_reason = "the host's socket closed"
        self._running = False
        self._turn_away(NotHere(reason=self._end_reason or ""))
        self._flush()
        self._ended(self._end_reason or "")

    def _turn(self) -> None:
        readable, _, _ = select.select(
            [self._host, self._bell_in], [], [], self._wait_s(time.monotonic())
        )
        if self._bell_in in readable:
            self._bell_in.recv(4096)
        if self._host in readable:
            self._serve_host()
        if self._running:
            try:
                self._serve_clients()
                # After a flip a step waits for the pages that it touches: answers do not.
                self._flush()
                self._step_if_due(time.monotonic())
            except Exception as error:
                self._fail(error)
        elif self._then is not None:
            self._turn_away(Moved(to=self._then))
        self._flush()

    def _wait_s(self, now: float) -> float:
        if not self._running:
            return _IDLE_WAIT_S
        due = self._next_step
        if self._calls:
            due = min(due, self._not_before)
        return min(max(0.0, due - now), _IDLE_WAIT_S)

    # The host's commands.

    def _serve_host(self) -> None:
        data = self._host.recv(1 << 20)
        if not data:
            raise WireClosed
        for header, payload in self._decoder.feed(data):
            self._obey(header, payload)

    def _obey(self, header: Header, payload: bytes) -> None:
        result: Header = {"re": header["id"]}
        body = b""
        match header["kind"]:
            case "stun":
                self._running = False
                if header.get("captures"):
                    body = self._capture_into(result)
            case "resume":
                self._resume(time.monotonic())
            case "capture":
                body = self._capture_into(result)
            case "restore":
                self._restore(payload)
            case "exit":
                self._end_reason = str(header.get("reason", "powered off"))
            case other:
                result["error"] = f"unknown command {other}"
        self._host.sendall(encode(result, body))

    def _resume(self, now: float) -> None:
        self._running = True
        self._last_step = self._next_step = self._not_before = now
        self._piece_s = _PIECE_S_MIN
        if self._awaited:
            self._next_step += _CLIENTS_FIRST_S_MAX

    def _capture_into(self, result: Header) -> bytes:
        """Return the state; what cannot travel becomes the answer's error."""
        try:
            return self._capture()
        except (ValueError, TypeError, pickle.PicklingError) as error:
            result["error"] = str(error)
            return b""

    def _capture(self) -> bytes:
        state = CpuState(
            guest=capture_state(self._guest),
            answered=dict(self._answered),
            guest_s=self._control.get("guest_s"),
            active=self._active(time.monotonic()),
        )
        body = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
        if len(body) > 2 * STATE_BYTES_MAX:
            raise ValueError(f"CPU and device state pickles to {len(body)} bytes, over the limit")
        return body

    def _restore(self, payload: bytes) -> None:
        state: CpuState = pickle.loads(payload)
        restore_state(self._guest, state.guest)
        self._answered = OrderedDict(state.answered)
        self._control.put("guest_s", state.guest_s)
        self._awaited = set(state.active)

    def _active(self, now: float) -> tuple[str, ...]:
        found = [name for name, at in self._asked_s.items() if now - at < _ACTIVE_S]
        return tuple(found[-_ACTIVE_MAX:])

    # The guest.

    def _step_if_due(self, now: float) -> None:
        if now < self._next_step:
            return
        self._awaited.clear()  # who has not come by now is waited for no more
        elapsed = now - self._last_step
        if elapsed > _CATCH_UP_S_MAX:
            self._control.add("behind_s", elapsed - _CATCH_UP_S_MAX)
            elapsed = _CATCH_UP_S_MAX
        arriving = self._control.get("arriving") != 0.0
        granted = min(elapsed, self._piece_s) if arriving else elapsed
        demand_mhz = self._control.get("demand_mhz")
        seconds = granted * self._control.share
        self._guest.step(
            Budget(seconds=seconds, cycles=demand_mhz * seconds, demand_mhz=demand_mhz)
        )
        took = time.monotonic() - now
        owed = elapsed - granted
        self._last_step = now - owed
        self._next_step = now + took if owed > 0.0 else max(now + self._guest.period_s, now + took)
        if arriving:
            self._piece_s = _piece(self._piece_s, took)
        self._control.add("guest_s", seconds)
        self._control.add("steps", 1)
        if took > QUANTUM_S_MAX:
            self._control.add("overruns", 1)
        if took > self._control.get("step_s_max"):
            self._control.put("step_s_max", took)

    def _serve_clients(self) -> None:
        now = began = time.monotonic()
        # A quantum at most, so that a flood of requests delays no stun.
        while self._calls and now >= self._not_before and now - began < QUANTUM_S_MAX:
            call = self._calls.popleft()
            self._replies.append((call, self._answer(call)))
            self._control.add("requests", 1)
            done = time.monotonic()
            # A vCPU that is granted a share of its time runs that share of the time.
            share = max(self._control.share, _SHARE_MIN)
            self._not_before = done + (done - now) * (1.0 / share - 1.0)
            now = done

    def _answer(self, call: Call) -> Reply:
        number, answer = self._answered.get(call.client, (-1, None))
        if call.number < number:
            return NotHere(reason=f"request {call.number} is older than the last one, {number}")
        if call.number > number:
            if call.payload is Special.PROBE:
                self._counters[0] += 1
                answer = int(self._counters[0])
            else:
                answer = self._guest.handle(call.payload)
            self._answered[call.client] = (call.number, answer)
            self._answered.move_to_end(call.client)
            while len(self._answered) > _CLIENTS_MAX:
                self._asked_s.pop(self._answered.popitem(last=False)[0], None)
        self._heard(call.client, time.monotonic())
        moving = self._moving or self._control.get("arriving") != 0.0
        return Answered(answer=answer, epoch=self._epoch, moving=moving, then=self._then)

    def _heard(self, client: str, now: float) -> None:
        """Note when a client asked, and step on soon if it is the last that was waited for."""
        self._asked_s[client] = now
        if client in self._awaited:
            self._awaited.discard(client)
            if not self._awaited:
                self._next_step = min(self._next_step, now + _ANSWER_LEAVES_S)

    def _fail(self, error: Exception) -> None:
        """The guest raised: this VM is over, and only this one."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._end_reason = (
            f"the guest raised {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
        )
        self._running = False
        self._host.sendall(encode({"kind": "guest_failed", "error": self._end_reason}))

    # Replies go to the actor's loop in one hop for all that a turn produced.

    def _turn_away(self, reply: Reply) -> None:
        while self._calls:
            self._replies.append((self._calls.popleft(), reply))

    def _flush(self) -> None:
        if self._replies:
            replies, self._replies = self._replies, []
            self._loop.call_soon_threadsafe(_set_replies, replies)


def _piece(piece_s: float, took_s: float) -> float:
    """Return how much guest time the next step is given at most, after one that took so long."""
    if took_s > _SLOW_STEP_S:
        return max(piece_s / 4, _PIECE_S_MIN)
    return min(2 * piece_s, _CATCH_UP_S_MAX) if took_s < _QUICK_STEP_S else piece_s


def _set_replies(replies: list[tuple[Call, Reply]]) -> None:
    for call, reply in replies:
        if not call.reply.done():
            call.reply.set_result(reply)
