"""A process that outlives a run by a moment, and ends what the run's Ray has left.

    python -m cluster.actors.reaper DIRECTORY < pipe

It waits for the end of its standard input, which comes when the run closes it or dies,
by SIGKILL too. Ray's agents do not always notice that their Ray is gone, and an interrupt
in the middle of `ray.init` leaves processes that `ray.shutdown` does not know of.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "VMOTION_RAY_DIRECTORY"
_TRIES = 50
_PAUSE_S = 0.1


def marked(directory: str) -> list[int]:
    """Return the processes that inherited the mark of the Ray in that directory."""
    mark = f"{MARK}={directory}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            if alive and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def reap(directory: str) -> None:
    """Kill what is left, until nothing is, and remove the directory."""
    for _ in range(_TRIES):
        left = marked(directory)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(_PAUSE_S)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    reap(sys.argv[1])
