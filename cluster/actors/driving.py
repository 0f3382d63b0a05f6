"""Drives one migration machine in wall-clock time: commands out, answers in."""

import asyncio
from collections.abc import Awaitable, Callable

from cluster.migration.machine import Migration
from cluster.migration.messages import (
    Answer,
    Begun,
    Command,
    Event,
    Prepare,
    Progressed,
    SendDirty,
    SendRemainder,
    SendState,
    Ticked,
)
from cluster.migration.state import Phase

_PROGRESS_S = 0.1


class Driver:
    """The loop between a machine, which decides, and the source's end, which acts."""

    def __init__(
        self,
        machine: Migration,
        carry_out: Callable[[Command], Awaitable[Answer]],
        progress: Callable[[int], Awaitable[Progressed | None]],
        now: Callable[[], float],
        turned: Callable[[Event], None],
    ) -> None:
        """`progress` looks at the command of that `seq`, and returns None if nothing has moved.

        `turned` is called after each event.
        """
        self._machine = machine
        self._carry_out = carry_out
        self._progress = progress
        self._now = now
        self._turned = turned
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: int | None = None

    @property
    def phase(self) -> Phase:
        """Where the migration is."""
        return self._machine.state.phase

    def tell(self, event: Event) -> None:
        """Put in an event from outside: a cancel, a lost host."""
        self._inbox.put_nowait(event)

    async def run(self) -> None:
        """Return when the machine has finished.

        Raises:
            ProtocolError: If the machine was told something that cannot be; our bug.
        """
        try:
            self._handle(Begun())
            while not self._machine.finished:
                self._handle(await self._next_event())
        finally:
            for task in self._tasks:
                task.cancel()

    def _handle(self, event: Event) -> None:
        for command in self._machine.handle(event, now=self._now()):
            if isinstance(command, Prepare | SendDirty | SendState | SendRemainder):
                # Noted here and not in the task: the next wait must know of it already.
                self._sending = command.seq
            task = asyncio.create_task(self._answer(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._turned(event)

    async def _answer(self, command: Command) -> None:
        answer = await self._carry_out(command)
        if self._sending == command.seq:
            self._sending = None
        self._inbox.put_nowait(answer)

    async def _next_event(self) -> Event:
        """Wait for an event, for `wake_at`, or while sending for the next sign of progress."""
        while True:
            wake_at = self._machine.wake_at
            wait_s = None if wake_at is None else max(0.0, wake_at - self._now())
            sending = self._sending
            if sending is None or (wait_s is not None and wait_s <= _PROGRESS_S):
                try:
                    return await asyncio.wait_for(self._inbox.get(), wait_s)
                except TimeoutError:
                    return Ticked()
            try:
                return await asyncio.wait_for(self._inbox.get(), _PROGRESS_S)
            except TimeoutError:
                report = await self._progress(sending)
            if report is not None:
                return report
