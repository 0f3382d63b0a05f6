"""A host that is cut off stops its VMs: by then somebody else may run them.

Law 3: HA restarts a VM of a host whose node nobody reaches when `isolation_s_max` has passed.
So a host that has not reached Ray's GCS for so long stuns its VMs by itself, and when it
reaches it again runs only those that the ownership record still gives it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import ray
from ray.exceptions import RayError

_LOOK_S = 0.5


class Isolation:
    """Watches one host's way to the GCS.

    Attributes:
        open: Set while VMs may run; whoever resumes one waits for it.
    """

    def __init__(
        self,
        isolation_s_max: float,
        cut_off: Callable[[], Awaitable[None]],
        back: Callable[[], Awaitable[bool]],
    ) -> None:
        """`back` returns whether VirtualCenter has told what may run; else it is asked again."""
        self.open = asyncio.Event()
        self.open.set()
        self._isolation_s_max = isolation_s_max
        self._cut_off = cut_off
        self._back = back
        self._heard_s = time.monotonic()

    async def watch(self) -> None:
        """Look for ever. A look that hangs is silence, and the next one waits for it."""
        self._heard_s = time.monotonic()
        look: asyncio.Future[bool] | None = None
        while True:
            if look is None:
                look = asyncio.get_running_loop().run_in_executor(None, reaches_gcs)
            await asyncio.wait({look}, timeout=_LOOK_S)
            if look.done():
                if look.result():
                    self._heard_s = time.monotonic()
                look = None
                await asyncio.sleep(_LOOK_S)
            await self._judge()

    async def _judge(self) -> None:
        silent_s = time.monotonic() - self._heard_s
        if self.open.is_set() and silent_s > self._isolation_s_max:
            self.open.clear()
            await self._cut_off()
        elif not self.open.is_set() and silent_s < self._isolation_s_max and await self._back():
            self.open.set()


def reaches_gcs() -> bool:
    """Ask the GCS for its nodes; blocks, for as long as Ray tries."""
    try:
        return bool(ray.nodes())
    except (RayError, RuntimeError, OSError):
        return False
