"""Hosts that break something at a named command of a migration, and what begins them. Not a benchmark.

The host, its VMs and their memory are the real ones; only the moment is chosen here, because a
blackout of ten milliseconds is not met by chance.
"""

import asyncio
import os
import signal
import uuid
from dataclasses import dataclass, replace

import numpy as np
import ray
from ray.exceptions import RayError

import cluster.actors.births as births_module
import cluster.actors.cluster as cluster_module
import cluster.actors.departures as departures_module
from cluster.actors.host import Host
from cluster.actors.source_end import SourceEnd
from cluster.actors.virtualcenter import VirtualCenter
from cluster.migration.spec import Trigger
from cluster.policy.messages import (
    Asked,
    MaintenanceRequested,
    MigrationRequested,
    PowerOffRequested,
)

_LATE_S = 0.3
_STOPPED_S = 1.5
_FULL_S = 1.0
_FULL_RATIO = 0.9
_PIECE_BYTES = 32 << 20
_BREAKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """What breaks, at which command of a VM's next migration, before or after it.

    Attributes:
        what: A key of `STRIKES`.
        center_pid: Of VirtualCenter's process, for what stops or kills it.
        third: A host that is no end of the migration.
    """

    what: str
    command: str
    after: bool = False
    center_pid: int = 0
    third: str = ""


_ARMED: dict[str, Breakage] = {}
_STRUCK: set[str] = set()


class FaultySource(SourceEnd):
    """A source's end that strikes when its VM's migration comes to the command."""

    _damage = ""
    _breaks = 0

    async def _do(self, command):
        armed = _ARMED.get(self.spec.vm)
        if armed is None or type(command).__name__ != armed.command:
            return await super()._do(command)
        del _ARMED[self.spec.vm]
        _STRUCK.add(self.spec.vm)
        if not armed.after:
            await STRIKES[armed.what](self, armed)
            return await super()._do(command)
        answer = await super()._do(command)
        await STRIKES[armed.what](self, armed)
        return await super()._do(command) if armed.what == "double" else answer

    async def read_batch(self, bytes_max, rate_bytes_per_second):
        if self._breaks:
            self._breaks -= 1
            raise ConnectionError("the network failed")
        waybill, batch = await super().read_batch(bytes_max, rate_bytes_per_second)
        if self._damage and batch is not None and len(batch.data):
            damage, self._damage = self._damage, ""
            data = batch.data.copy()
            data[len(data) // 2, 100] ^= 1
            batch = replace(batch, data=data if damage == "corrupt" else data[:-1])
        return waybill, batch


class FaultyHost(Host):
    """A host whose migrations can be broken."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        departures_module.SourceEnd = FaultySource

    async def arm(self, vm, breakage):
        """Break that at the VM's next migration from here."""
        _STRUCK.discard(vm)
        _ARMED[vm] = breakage

    async def disarm(self, vm):
        """Break nothing any more, and say whether it has happened."""
        _ARMED.pop(vm, None)
        return vm in _STRUCK

    async def kill_pager(self, migration):
        """Kill the process that serves the faults of a VM that comes in."""
        end = self._arrivals._ends.get(migration)
        if end is not None and end._late is not None:
            os.kill(end._late._pager.pid, signal.SIGKILL)


class FaultyCenter(VirtualCenter):
    """VirtualCenter whose hosts, begun again, are faulty ones too."""

    def __init__(self, *arguments, **options):
        births_module.Host = FaultyHost
        super().__init__(*arguments, **options)


def faulty_from_now_on():
    """Let clusters that this process launches have faulty hosts."""
    births_module.Host = FaultyHost
    cluster_module.VirtualCenter = FaultyCenter


async def _nothing(end, armed):
    """The guest is fault enough, or the command is given twice."""


async def _late(end, armed):
    await asyncio.sleep(_LATE_S)


async def _kill_source(end, armed):
    os.kill(os.getpid(), signal.SIGKILL)


async def _kill_destination(end, armed):
    ray.kill(end._destination, no_restart=True)
    # Not before the death can be noticed: what follows must meet a dead host.
    await asyncio.sleep(0.05)


async def _kill_center(end, armed):
    os.kill(armed.center_pid, signal.SIGKILL)


async def _stop_center(end, armed):
    """VirtualCenter stands still for a while; nobody's process has to live on for its going on."""
    os.kill(armed.center_pid, signal.SIGSTOP)
    go_on = f"sleep {_STOPPED_S}; kill -CONT {armed.center_pid}"
    await asyncio.create_subprocess_exec("sh", "-c", go_on, start_new_session=True)


async def _lose_answer(end, armed):
    raise OSError("the answer was lost")


async def _kill_pager(end, armed):
    """The fault handler of this migration's VM, at the destination."""
    await end._destination.kill_pager.remote(end.spec.id)


async def _damage(end, armed):
    end._damage = armed.what


async def _break_network(end, armed):
    end._breaks = _BREAKS


async def _fill_store(end, armed):
    """Somebody else fills the object store for a second."""
    loop = asyncio.get_running_loop()
    held = await loop.run_in_executor(None, _filled)
    loop.call_later(_FULL_S, held.clear)


def _filled():
    room = ray.available_resources().get("object_store_memory", 0.0)
    room = min(room, ray.cluster_resources()["object_store_memory"])
    piece = np.zeros(_PIECE_BYTES, dtype=np.uint8)
    return [ray.put(piece) for _ in range(int(room * _FULL_RATIO / _PIECE_BYTES))]


async def _cancel(end, armed):
    for _ in range(2):
        await _told(end._line._center.request_cancel.remote(end.spec.vm))


async def _second(end, armed):
    wish = MigrationRequested(vm=end.spec.vm, destination=armed.third, trigger=Trigger.USER)
    await _told(end._line._center.request_migration.remote(wish))


async def _power_off(end, armed):
    await _ask(end, PowerOffRequested(vm=end.spec.vm))


async def _close_destination(end, armed):
    await _ask(end, MaintenanceRequested(host=end.spec.destination))


async def _ask(end, wish):
    asked = Asked(key=uuid.uuid4().hex, by="faults", wish=wish)
    await _told(end._line._center.ask.remote(asked))


async def _told(asking):
    """Wait until VirtualCenter has heard it, or is known to be away."""
    try:
        await asking
    except RayError as error:
        print(f"VirtualCenter: {error}", flush=True)


STRIKES = {
    "cancel": _cancel,
    "kill source": _kill_source,
    "kill destination": _kill_destination,
    "kill center": _kill_center,
    "stop center": _stop_center,
    "lose answer": _lose_answer,
    "late": _late,
    "double": _nothing,
    "kill pager": _kill_pager,
    "corrupt": _damage,
    "truncate": _damage,
    "fill store": _fill_store,
    "busy guest": _nothing,
    "second": _second,
    "power off": _power_off,
    "close destination": _close_destination,
    "break network": _break_network,
}
