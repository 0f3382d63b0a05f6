"""Who runs a VM, as the guests themselves report it to a socket outside the cluster. Not a benchmark.

Each report names the VM and the process it comes from. On one machine datagrams arrive in the
order they were sent, so a process that is heard of again after another one has been was running
beside it: two runners.
"""

import socket
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Runs:
    """What was heard of one VM: its processes in order, and those that came back."""

    pids: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    reports: int = 0

    def heard(self, pid: int) -> None:
        """Take a report."""
        self.reports += 1
        if self.pids and self.pids[-1] == pid:
            return
        if pid in self.pids:
            self.again.append(pid)
        else:
            self.pids.append(pid)


class Register:
    """Listens until it is closed; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._runs: dict[str, Runs] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def runs(self) -> dict[str, Runs]:
        """Return what was heard so far, by VM."""
        with self._lock:
            return {
                vm: Runs(list(r.pids), list(r.again), r.reports) for vm, r in self._runs.items()
            }

    def two_runners(self) -> list[str]:
        """Return the VMs that ran in two processes at once."""
        return [vm for vm, runs in self.runs().items() if runs.again]

    def __enter__(self) -> "Register":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.sendto(b"", ("127.0.0.1", self.port))  # wakes the thread
        self._thread.join(5.0)
        self._socket.close()

    def _listen(self) -> None:
        while not self._closing:
            said = self._socket.recv(256).decode().split()
            if len(said) == 2:
                with self._lock:
                    self._runs.setdefault(said[0], Runs()).heard(int(said[1]))
