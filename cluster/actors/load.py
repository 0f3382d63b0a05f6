"""Clients that talk to VMs for a whole run, and a probe on every VM that migrates."""

import asyncio
import random
import time
from dataclasses import dataclass

from cluster.actors.client import VmClient, VmOff
from cluster.actors.priority import goes_first
from cluster.actors.replies import Handle
from cluster.guests.base import Special
from cluster.guests.clients import ClientAccount, GapMeter, Gaps, RequestSource
from cluster.guests.registry import load_guest
from cluster.inventory.model import VmSpec

# Probing goes on for so long after all of the VM's memory has come to its new place.
_PROBE_AFTER_S = 0.5
# A migration that is not heard of for so long has ended without a switchover.
_PROBE_S_MAX = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the clients of one VM know at the end of a run.

    Attributes:
        gaps: By the epoch that a migration led to.
        latency_s_max: The slowest answer to a client's request.
        restarts: How often HA has restarted it; the accounts are of its last life alone, as
            it has forgotten the others.
        off: Why they stopped early; empty if the VM was there to the end.
    """

    vm: str
    accounts: list[ClientAccount]
    gaps: dict[int, Gaps]
    latency_s_max: float
    restarts: int
    off: str


class Load:
    """All clients of a run, on one loop in a process of their own."""

    def __init__(
        self, vms: tuple[VmSpec, ...], center: Handle, *, seed: int, probe_interval_s: float
    ) -> None:
        goes_first()
        self._specs = vms
        self._center = center
        self._seed = seed
        self._probe_interval_s = probe_interval_s
        self._stopping = asyncio.Event()
        self._vms: dict[str, _VmLoad] = {}

    async def start(self) -> None:
        """Begin to talk to every VM; told again, only to those it does not talk to yet."""
        for spec in self._specs:
            if spec.name not in self._vms:
                self._vms[spec.name] = _VmLoad(spec, self)

    async def gaps(self, wanted: list[tuple[str, int]]) -> list[Gaps | None]:
        """Return what clients felt of migrations, each by (vm, epoch it led to), if seen yet."""
        return [
            self._vms[vm].meter.gaps(epoch) if vm in self._vms else None for vm, epoch in wanted
        ]

    async def counts(self) -> tuple[int, int]:
        """Return requests sent and answered so far, by all clients and probes."""
        loads = self._vms.values()
        return sum(load.sent for load in loads), sum(load.answered for load in loads)

    async def finish(self) -> list[Books]:
        """Let every request under way be answered, stop, and hand over the books."""
        self._stopping.set()
        return [await load.finish() for load in self._vms.values()]

    # For the loads of the VMs.

    @property
    def center(self) -> Handle:
        return self._center

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def probe_interval_s(self) -> float:
        return self._probe_interval_s

    @property
    def stopping(self) -> asyncio.Event:
        return self._stopping


class _VmLoad:
    """The clients of one VM."""

    def __init__(self, spec: VmSpec, load: Load) -> None:
        self.meter = GapMeter()
        self._lines: list[_Line] = []
        self._spec = spec
        self._load = load
        self._latency_s_max = 0.0
        self._off = ""
        count = 0 if spec.clients is None else spec.clients.count
        self._tasks = [asyncio.create_task(self._talk(client)) for client in range(count)]
        self._in_probe = False
        self._watching = asyncio.create_task(self._watch())

    async def finish(self) -> Books:
        """Wait for the last answers; the probe stops between two probes."""
        await asyncio.gather(*self._tasks)
        if not self._in_probe:
            self._watching.cancel()
        # Cancelled, or on its way out: the probe under way is answered first.
        await asyncio.gather(self._watching, return_exceptions=True)
        return Books(
            vm=self._spec.name,
            accounts=[one.account for one in self._lines if one.born == self._born],
            gaps=self.meter.all_gaps(),
            latency_s_max=self._latency_s_max,
            restarts=max((one.restarts for one in self._lines), default=0),
            off=self._off,
        )

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self._lines)

    @property
    def answered(self) -> int:
        return sum(one.answered for one in self._lines)

    @property
    def _born(self) -> int:
        return max((one.born for one in self._lines), default=0)

    def _open(self, client: str) -> "_Line":
        line = _Line(VmClient(self._spec.name, client=client, center=self._load.center))
        self._lines.append(line)
        return line

    async def _talk(self, index: int) -> None:
        """Send requests at the client's rate, never two at once; a late one is not made up for."""
        assert self._spec.clients is not None
        program = load_guest(self._spec.guest.program, self._spec.guest.file)
        source = RequestSource(
            program, dict(self._spec.guest.params), client=index, seed=self._load.seed
        )
        line = self._open(f"client-{index}")
        interval_s = 1.0 / self._spec.clients.rate_hz
        due = time.monotonic() + random.Random(index).random() * interval_s
        while await self._wait(due - time.monotonic()):
            began = time.monotonic()
            try:
                await line.ask(source.next())
            except VmOff as off:
                self._off = str(off)
                return
            self._latency_s_max = max(self._latency_s_max, time.monotonic() - began)
            due = max(due + interval_s, time.monotonic())

    async def _wait(self, wait_s: float) -> bool:
        """Wait, and return whether to go on."""
        if self._load.stopping.is_set():
            return False
        try:
            await asyncio.wait_for(self._load.stopping.wait(), max(0.0, wait_s))
        except TimeoutError:
            return True
        return False

    async def _watch(self) -> None:
        """Probe while the VM migrates, and only then: probes cost what clients cost."""
        watcher = VmClient(self._spec.name, client="watcher", center=self._load.center)
        prober = self._open("prober")
        try:
            while not self._load.stopping.is_set():
                await watcher.moving()
                self._in_probe = True
                await self._probe(prober)
                self._in_probe = False
                watcher.forget_place()
        except VmOff as off:
            self._off = str(off)

    async def _probe(self, line: "_Line") -> None:
        prober = line.client
        until = last = time.monotonic() + _PROBE_S_MAX
        before: int | None = None
        moved = False
        while (now := time.monotonic()) < until and not self._load.stopping.is_set():
            await line.ask(Special.PROBE)
            self.meter.answered(time.monotonic(), epoch=prober.epoch)
            before = prober.epoch if before is None else before
            if prober.epoch > before and (prober.on_the_move or not moved):
                moved, until = True, min(time.monotonic() + _PROBE_AFTER_S, last)
            if not moved and not prober.on_the_move:
                break  # rolled back
            await asyncio.sleep(max(0.0, now + self._load.probe_interval_s - time.monotonic()))
        self.meter.drained()


class _Line:
    """One client, and its account with the VM's present life."""

    def __init__(self, client: VmClient) -> None:
        self.client = client
        self.account = ClientAccount()
        self.born = 0
        self.restarts = 0
        self._before = (0, 0)

    @property
    def sent(self) -> int:
        """Of all lives."""
        return self._before[0] + self.account.operations_sent + self.account.probes_sent

    @property
    def answered(self) -> int:
        """Of all lives."""
        return self._before[1] + self.account.answered

    async def ask(self, request: object) -> None:
        """Ask and keep account. What a new life answers is the first entry of a new account."""
        sent_s = time.monotonic()
        self.account.note_sent(request, now_s=sent_s)
        answer = await self.client.call(request)
        if self.born not in (0, self.client.born):
            self.restarts += 1
            self._before = (self.sent - 1, self.answered)
            self.account = ClientAccount()
            self.account.note_sent(request, now_s=sent_s)
        self.born = self.client.born
        self.account.note_answered(request, answer, now_s=time.monotonic())
