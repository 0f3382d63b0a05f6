"""An ESX host that breaks something at a named command of a migration. Not a benchmark.

The host, its VMs and their memory are the real ones; only the moment is chosen here, because a
blackout of ten milliseconds is not met by chance.
"""

import asyncio
import os
import signal
from dataclasses import dataclass

import ray

import cluster.actors.host as host_module
from cluster.actors.host import Host
from cluster.actors.source_end import SourceEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """What breaks, at which command of a VM's next migration, before or after it.

    Attributes:
        what: A key of `_STRIKES`.
        center_pid: Of VirtualCenter's process, for what stops it.
    """

    what: str
    command: str
    after: bool = False
    center_pid: int = 0


_ARMED: dict[str, Breakage] = {}
_STRUCK: set[str] = set()


class FaultySource(SourceEnd):
    """A source's end that strikes when its VM's migration comes to the command."""

    async def _do(self, command):
        armed = _ARMED.get(self.spec.vm)
        if armed is None or type(command).__name__ != armed.command:
            return await super()._do(command)
        del _ARMED[self.spec.vm]
        _STRUCK.add(self.spec.vm)
        if not armed.after:
            await _STRIKES[armed.what](self, armed)
            return await super()._do(command)
        answer = await super()._do(command)
        await _STRIKES[armed.what](self, armed)
        return answer


class FaultyHost(Host):
    """A host whose migrations can be broken."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        host_module.SourceEnd = FaultySource

    async def arm(self, vm, breakage):
        """Break that at the VM's next migration from here."""
        _STRUCK.discard(vm)
        _ARMED[vm] = breakage

    async def kill_pager(self, migration):
        """Kill the process that serves the faults of a VM that comes in."""
        end = self._incoming.get(migration)
        if end is not None and end._late is not None:
            os.kill(end._late._pager.pid, signal.SIGKILL)

    async def struck(self, vm):
        """Say whether it has happened."""
        return vm in _STRUCK


async def _kill_source(end, armed):
    os.kill(os.getpid(), signal.SIGKILL)


async def _kill_destination(end, armed):
    ray.kill(end._destination, no_restart=True)
    # Not before the death can be noticed: what follows must meet a dead host.
    await asyncio.sleep(0.05)


async def _stop_center(end, armed):
    """VirtualCenter stands still for a while; nobody's process has to live on for its going on."""
    os.kill(armed.center_pid, signal.SIGSTOP)
    go_on = f"sleep 1.5; kill -CONT {armed.center_pid}"
    await asyncio.create_subprocess_exec("sh", "-c", go_on, start_new_session=True)


async def _cancel(end, armed):
    for _ in range(2):
        await end._center.request_cancel.remote(end.spec.vm)


async def _lose_answer(end, armed):
    raise OSError("the answer was lost")


async def _kill_pager(end, armed):
    """The fault handler of this migration's VM, at the destination."""
    await end._destination.kill_pager.remote(end.spec.id)


_STRIKES = {
    "cancel": _cancel,
    "kill source": _kill_source,
    "kill destination": _kill_destination,
    "lose answer": _lose_answer,
    "kill pager": _kill_pager,
    "stop center": _stop_center,
}
