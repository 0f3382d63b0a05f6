"""The nursery: a process that has all of a pager imported, and forks one for each request.

A migration that may flip needs two such processes, and to start Python anew for each of them costs
more than all that they do. This process has one thread and nothing open, so that a fork of it is
safe, which a fork of a host would not be. It ends when its host hangs up; what
it has forked hangs on sockets of its own and lives on.

    python -m cluster.memory.nursery FD

Standard library and xxhash alone, as they.
"""

import json
import os
import select
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from cluster.memory import page_server, pager

REQUEST_BYTES_MAX = 1 << 16
FDS_MAX = 8
_REAP_S = 1.0
_ROLES: dict[str, Callable[[dict[str, object]], None]] = {
    "pager": pager.run,
    "page_server": page_server.run,
}


def serve(host: socket.socket) -> None:
    """Fork what the host asks for until it hangs up.

    A request is JSON: the role, its configuration, and under `fds` the names in it of the
    descriptors that come along. The answer is the process's id, and a pidfd of it.
    """
    children = 0
    while True:
        readable, _, _ = select.select([host], [], [], _REAP_S if children else None)
        children -= _reaped(children)
        if not readable:
            continue
        text, fds, _, _ = socket.recv_fds(host, REQUEST_BYTES_MAX, FDS_MAX)
        if not text:
            return
        pid = os.fork()
        if pid == 0:
            host.close()
            _become(json.loads(text), fds)
        for fd in fds:
            os.close(fd)
        children += 1
        pidfd = os.pidfd_open(pid)  # it is not reaped before the next turn
        socket.send_fds(host, [str(pid).encode()], [pidfd])
        os.close(pidfd)


def _reaped(children: int) -> int:
    """Return how many of the children have ended since the last look."""
    for ended in range(children):
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            return ended
    return children


def _become(request: dict[str, object], fds: list[int]) -> None:
    """Be what was asked for, and end with it; never returns."""
    code = 1
    try:
        role, names = str(request["role"]), request["fds"]
        assert isinstance(names, list)
        # What a list of processes shows; recovery.py finds them by it.
        Path("/proc/self/comm").write_text(role)
        page_server.goes_before_the_bulk()
        config = request["config"]
        assert isinstance(config, dict)
        _ROLES[role](config | dict(zip(names, fds, strict=True)))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)  # nothing to unwind; views of memory would complain


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
