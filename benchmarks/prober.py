"""The process that probes a VM from outside, as an actor. Not a benchmark."""

import asyncio
import time
from dataclasses import dataclass, field

from cluster.actors.client import VmClient, VmOff
from cluster.actors.priority import goes_first
from cluster.guests.base import Special

_SAMPLE_S = 0.02
_OFF_S = 0.002


@dataclass(slots=True)
class Probes:
    """Answers in the order they came; times of `time.monotonic()`, one clock for the machine.

    Attributes:
        epochs: Of the VM that gave each answer: it grows with each migration.
        writes: (time, epoch, writes the guest has done), every 20 ms, or as often as probes.
    """

    answered_s: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    writes: list[tuple[float, int, int]] = field(default_factory=list)


class Prober:
    """Asks the guest every `interval_s`, never twice at once, from `begin` to `end`."""

    def __init__(self, vm: str, center: object, *, interval_s: float) -> None:
        goes_first()
        self._probe = VmClient(vm, client="lab-prober", center=center)
        self._count = VmClient(vm, client="lab-counter", center=center)
        self._interval_s = interval_s
        self._sample_s = max(_SAMPLE_S, interval_s)
        self._probes = Probes()
        self._on = False
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Start to probe; the VM has answered once when this returns."""
        self._probes = Probes()
        for client in (self._probe, self._count):
            client.forget_place()
        await self._probe.call(Special.PROBE)
        self._on = True
        self._tasks = [
            asyncio.create_task(self._run(self._probe_once, self._interval_s)),
            asyncio.create_task(self._run(self._count_once, self._sample_s)),
        ]

    async def end(self) -> Probes:
        """Stop after the answer under way, and hand over what was seen."""
        self._on = False
        await asyncio.gather(*self._tasks)
        return self._probes

    async def _run(self, ask: object, interval_s: float) -> None:
        while self._on:
            due = time.monotonic() + interval_s
            try:
                await ask()
            except VmOff:
                due += _OFF_S  # lost with its host: HA may start it again
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _probe_once(self) -> None:
        await self._probe.call(Special.PROBE)
        self._probes.answered_s.append(time.monotonic())
        self._probes.epochs.append(self._probe.epoch)

    async def _count_once(self) -> None:
        done = await self._count.call("writes")
        self._probes.writes.append((time.monotonic(), self._count.epoch, done))
