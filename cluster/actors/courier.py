"""What a host tells VirtualCenter, in order, each again until it is acknowledged."""

import asyncio
import sys
from typing import Any

from ray.exceptions import RayError, RayTaskError

from cluster.actors.replies import CenterDown, Handle

_AGAIN_S = 0.1


class Courier:
    """Reports that wait for VirtualCenter: it may be dead just now, and hears them later.

    Told twice does no harm: it may have died between writing a report down and saying so.
    The queue grows with what happens while VirtualCenter is away, which is little.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[str, tuple[Any, ...], dict[str, Any]]] = asyncio.Queue()

    def tell(self, method: str, *args: Any, **named: Any) -> None:
        """Put in a call of one of VirtualCenter's methods."""
        self._waiting.put_nowait((method, args, named))

    async def run(self, center: Handle) -> None:
        """Deliver, for ever."""
        while True:
            method, args, named = await self._waiting.get()
            while True:
                if await _delivered(center, method, args, named):
                    break
                await asyncio.sleep(_AGAIN_S)


async def _delivered(
    center: Handle, method: str, args: tuple[Any, ...], named: dict[str, Any]
) -> bool:
    try:
        await getattr(center, method).remote(*args, **named)
    except RayTaskError as error:
        if isinstance(error.cause, CenterDown):
            return False
        # A defect of VirtualCenter's: the same call would fail in the same way for ever.
        print(f"VirtualCenter cannot take {method}: {error}", file=sys.stderr, flush=True)
    except RayError:
        return False
    return True
