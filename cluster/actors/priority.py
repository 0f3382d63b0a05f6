"""Who runs first where processes compete for a machine's cores."""

import contextlib
import gc
import os
import sys
from pathlib import Path

# Threads share each of these processes with the loop that stuns, commits or resumes. The
# interpreter's own 5 ms between switches would be most of a blackout.
_SWITCH_INTERVAL_S = 0.0005
# Ray starts its workers at 15, where they compete for seconds with all that runs already.
_FIRST = 0
_SECOND = 5
_BEHIND_RAYS_WORKERS = 16


def goes_first() -> None:
    """Put this process before VMs and before workers that are only starting.

    For hosts, which carry the pages of VMs that stand still, and for those who wait for
    VMs. Only root, or a user whose RLIMIT_NICE allows it, may go before Ray's workers;
    others stay where they are.
    """
    _steady()
    with contextlib.suppress(PermissionError):
        _set_niceness(_FIRST)


def goes_second() -> None:
    """Put this process behind hosts: a VM yields to who carries its pages."""
    _steady()
    try:
        _set_niceness(_SECOND)
    except PermissionError:
        _set_niceness(_BEHIND_RAYS_WORKERS)


def _steady() -> None:
    """Let nothing of the interpreter's own stop this process for long.

    What is loaded by now, Ray above all, stays, so a full collection of garbage need not go through
    it, which would stop all threads for several times a blackout.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.freeze()


def _set_niceness(niceness: int) -> None:
    """Set it for every thread: on Linux it is a thread's own, and Ray has started many by now."""
    tasks = Path("/proc/self/task")
    threads = [int(entry.name) for entry in tasks.iterdir()] if tasks.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
