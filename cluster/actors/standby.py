"""VM processes that stand by: started before anybody needs them, so that a VM that comes waits for none.

To start a process of Python with Ray takes most of what moving a small VM takes (`--standby 0` of
benchmarks/line_rate.py), and several that start at once keep the cores from carrying pages.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from cluster.actors.nodes import on_node
from cluster.actors.replies import Handle
from cluster.actors.vm import Vm

_REQUESTS_AT_ONCE_MAX = 1000
# A host that has had nothing to do for so long gets on with it.
_QUIET_S = 1.0
_LOOK_S = 0.25
# After a process that did not start, or that somebody has ended.
_AGAIN_S = 10.0
# Started at Ray's lowest priority, on a busy machine it takes its time; then it is given up.
_START_S_MAX = 300.0


class StandbyProcesses:
    """VM processes of one host that have no VM yet; lives on its loop."""

    def __init__(
        self,
        wanted: int,
        *,
        busy: Callable[[], bool],
        runtime_env: dict[str, object] | None,
    ) -> None:
        """`wanted` of them are kept, and started only while the host is not `busy`."""
        self._wanted = wanted
        self._busy = busy
        self._runtime_env = runtime_env
        self._waiting: dict[int, Handle] = {}
        self._up: set[int] = set()
        self._numbers = itertools.count()
        self._not_before_s = 0.0
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many stand by and have started."""
        return len(self._up)

    def take(self) -> Handle:
        """Return the process of a VM to be: one that stands by, or else one that starts now."""
        self._put_off(_QUIET_S)
        if not self._waiting:
            return self._start()
        number = min(self._up or self._waiting)
        self._up.discard(number)
        return self._waiting.pop(number)

    async def keep(self) -> None:
        """Start what is missing, one after the other, whenever the host is quiet; never returns."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._busy():
                self._put_off(_QUIET_S)
            elif len(self._waiting) < self._wanted and time.monotonic() >= self._not_before_s:
                await self._stand_one_by()

    def close(self) -> None:
        """End all that stand by."""
        for watch in self._watches:
            watch.cancel()
        for handle in self._waiting.values():
            ray.kill(handle, no_restart=True)
        self._waiting.clear()
        self._up.clear()

    async def _stand_one_by(self) -> None:
        number, handle = next(self._numbers), self._start()
        # Before it is up: who needs one meanwhile waits less for this one than for another.
        self._waiting[number] = handle
        try:
            await asyncio.wait_for(handle.process.remote(), _START_S_MAX)
        except (RayError, TimeoutError):
            if number in self._waiting:
                ray.kill(handle, no_restart=True)
            self._lost(number)
            return
        if number in self._waiting:
            self._up.add(number)
            watch = asyncio.create_task(self._watch(number, handle))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    async def _watch(self, number: int, handle: Handle) -> None:
        """Forget a process that ends before a VM is given to it."""
        try:
            await handle.stand_by.remote()
        except RayError:
            self._lost(number)

    def _lost(self, number: int) -> None:
        self._up.discard(number)
        if self._waiting.pop(number, None) is not None:
            self._put_off(_AGAIN_S)

    def _put_off(self, seconds: float) -> None:
        self._not_before_s = max(self._not_before_s, time.monotonic() + seconds)

    def _start(self) -> Handle:
        """Start a process on this node: no restarts, no retries, no CPUs reserved."""
        made: Any = ray.remote(
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=_REQUESTS_AT_ONCE_MAX,
            scheduling_strategy=on_node(ray.get_runtime_context().get_node_id()),
            **({"runtime_env": self._runtime_env} if self._runtime_env else {}),
        )(Vm)
        return made.remote()
