"""How VirtualCenter comes to work: at once, or when what keeps it from that is cured."""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable

from cluster.journal.database import JournalFailed

_PAUSE_S = 1.0
# What is heard again of a large journal takes seconds: at most a sixth of the time goes there.
_PAUSE_PER_TRY = 5.0
_CURE = (
    "The hosts and their VMs go on. VirtualCenter tries again by itself: put an earlier copy of its "
    "database back, or run the version of vmotion that wrote it; its worker's log has the traceback."
)


class Awakening:
    """Tries to begin until that succeeds; an actor that dies of it would be gone for good.

    Attributes:
        why_down: What kept the last try from it, with the cure; "" when it has begun.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        """`begin` raises, and leaves nothing open, when it cannot."""
        self._begin = begin
        self._pause_s = _PAUSE_S
        self.why_down = "it has not begun yet"

    def tried(self) -> bool:
        """Try now, and return whether it has begun."""
        began_s = time.monotonic()
        try:
            self._begin()
        except JournalFailed as error:
            self.why_down = str(error)
        except Exception as error:  # whatever it is, hosts and VMs must not pay for it
            self._say(f"{type(error).__name__}: {error}. {_CURE}")
        else:
            self.why_down = ""
        self._pause_s = max(_PAUSE_S, _PAUSE_PER_TRY * (time.monotonic() - began_s))
        return not self.why_down

    async def done(self) -> None:
        """Return when it has begun: a cure from outside is found within seconds."""
        while self.why_down:
            await asyncio.sleep(self._pause_s)
            self.tried()

    def _say(self, why: str) -> None:
        """Write the traceback down, once for each reason."""
        if why != self.why_down:
            traceback.print_exc()
            sys.stderr.flush()
        self.why_down = why
