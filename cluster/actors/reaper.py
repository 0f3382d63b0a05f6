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
_RAYS_TITLE = b"ray"  # "ray::Host", "ray-dashboard-…"
_TRIES_MAX = 100
_QUIET_MIN = 8
_PAUSE_S = 0.1


def belonging(directory: str, run: int) -> list[int]:
    """Return the processes of the Ray in that directory, `run` apart: its path is in them, one way or another.

    In the environment, which they inherit; on the command line; or, of a process that Ray has
    renamed, as the place of a file it holds open. Ray's new title overwrites what the kernel
    shows of the first two. A program that somebody has let join this Ray holds such files too;
    it is not ours, and knows its own name.
    """
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            spared = (os.getpid(), run)
            if alive and int(entry.name) not in spared and _holds(entry, directory):
                found.append(int(entry.name))
    return found


def _holds(process: Path, directory: str) -> bool:
    path = directory.encode()
    if path in (process / "environ").read_bytes() or path in (process / "cmdline").read_bytes():
        return True
    if not (process / "cmdline").read_bytes().startswith(_RAYS_TITLE):
        return False
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(directory):
                return True
    return False


def reap(directory: str, run: int) -> None:
    """Kill what is left, but not the process `run`, until nothing has appeared for a while, and remove the directory.

    A process that is being started just now shows up late, so one empty look proves nothing.
    """
    quiet = 0
    for _ in range(_TRIES_MAX):
        left = belonging(directory, run)
        quiet = 0 if left else quiet + 1
        if quiet >= _QUIET_MIN:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    started_by = os.getppid()
    sys.stdin.read()
    reap(sys.argv[1], started_by)
