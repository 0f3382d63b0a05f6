"""A client's handle to a VM: by name, wherever it runs; loses no request and repeats none.

A request carries the client's name and a number. It is sent again, with the same number,
until it is answered; the VM answers a repeated number with the first answer, which moves
with it. So a request is done exactly once as long as the VM's memory lives.
"""

import asyncio
import time

from ray.exceptions import RayError

from cluster.actors.replies import Answered, Handle, Moved, NotHere, Place, Reply
from cluster.actors.request_line import RequestLine

_PAUSE_S = 0.01
# Without any answer for this long the VM counts as unreachable.
_SILENCE_S_MAX = 60.0


class VmOff(Exception):
    """The VM is off: powered off, failed, or lost."""


class VmClient:
    """One client of one VM; not for two requests at once.

    Attributes:
        epoch: Of the VM that answered last.
        born: The epoch under which that VM was booted: with another one than before, HA has
            restarted it, and it remembers no request of before.
        on_the_move: It said that it is about to move, or that its memory is still arriving.
    """

    def __init__(self, vm: str, *, client: str, center: Handle) -> None:
        """`client` is unique among all clients of the VM, for ever."""
        self._vm = vm
        self._client = client
        self._center = center
        self._line: RequestLine | None = None
        self._next: RequestLine | None = None
        self._number = 0
        self.epoch = 0
        self.born = 0
        self.on_the_move = False

    def forget_place(self) -> None:
        """Ask VirtualCenter for the VM's place before the next call."""
        self._follow(None)

    async def call(self, payload: object) -> object:
        """Have the guest do one request, exactly once; wait through a migration.

        Raises:
            VmOff: If VirtualCenter says so.
            TimeoutError: If nobody has answered for `_SILENCE_S_MAX`.
        """
        self._number += 1
        heard_s = time.monotonic()
        while True:
            line = self._line or await self._locate()
            reply = await self._ask(line, payload)
            match reply:
                case Answered():
                    self.epoch, self.on_the_move = reply.epoch, reply.moving
                    line.open()  # who asks once asks again
                    self._expect(reply.then)
                    return reply.answer
                case Moved(to=to):
                    self._follow(to)
                    heard_s = time.monotonic()
                case NotHere():
                    self._follow(None)
                    if time.monotonic() - heard_s > _SILENCE_S_MAX:
                        raise TimeoutError(f"{self._vm} has not answered: {reply.reason}")
                    await asyncio.sleep(_PAUSE_S)

    async def moving(self) -> None:
        """Return when the VM is about to move.

        Raises:
            VmOff: If VirtualCenter says so.
        """
        while True:
            line = self._line or await self._locate()
            try:
                await line.vm.watch.remote()
                return
            except RayError:
                self._follow(None)
                await asyncio.sleep(_PAUSE_S)

    async def _ask(self, line: RequestLine, payload: object) -> Reply:
        try:
            return await line.ask(self._number, payload)
        except RayError as error:
            return NotHere(reason=f"its process is gone ({type(error).__name__})")

    async def _locate(self) -> RequestLine:
        """Ask VirtualCenter, again while it is away.

        Raises:
            VmOff: If it says so.
            TimeoutError: If it has not answered for `_SILENCE_S_MAX`.
        """
        end_s = time.monotonic() + _SILENCE_S_MAX
        while True:
            try:
                found: Place | None = await self._center.locate.remote(self._vm)
            except RayError as error:
                if time.monotonic() > end_s:
                    raise TimeoutError(f"VirtualCenter has not told where {self._vm} is") from error
                await asyncio.sleep(_PAUSE_S)
                continue
            if found is None:
                raise VmOff(f"{self._vm} is off")
            self.epoch, self.born = found.epoch, found.born
            self._line = RequestLine(found.vm, self._client)
            return self._line

    def _expect(self, then: Handle | None) -> None:
        """Open a line to the next place: a first call through a handle costs milliseconds."""
        if then is not None and (self._next is None or then != self._next.vm):
            self._expect_nothing()
            self._next = RequestLine(then, self._client)
            self._next.open()

    def _expect_nothing(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def _follow(self, to: Handle | None) -> None:
        """Ask there from now on; None: ask VirtualCenter where."""
        if self._line is not None:
            self._line.close()
        if to is not None and self._next is not None and to == self._next.vm:
            self._line, self._next = self._next, None
            return
        self._expect_nothing()
        self._line = None if to is None else RequestLine(to, self._client)
