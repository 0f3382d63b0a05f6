"""Three machines and a Gigabit network between them, on one machine: namespaces, a bridge, Ray.

    python -m tests.netlab.lab          # or `make lab`: starts it, tells how to use it, waits

Each node has namespaces of its own for its network, processes, mounts and name, so that Ray
finds no other node's processes or shared memory there, as on machines of their own. What a
node has is held by its first process alone. That ends when the lab lets go of a pipe, by
dying too, and then the kernel takes everything: processes, shared memory, network, files.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NETWORK = "10.77.0"
GCS_PORT = 6379
GIGABIT_BITS_PER_SECOND = 1_000_000_000
TOOLS = ("ip", "tc", "nsenter", "unshare", "mount")

_START_S_MAX = 90.0
_END_S_MAX = 10.0
# Enough for a timer's tick at the rate, and little beside a second of it.
_BURST_BYTES = 256 << 10
_QUEUE_S_MAX = 0.05
_STORE_BYTES = 512 << 20
# The first process of a node: makes its own places, then holds everything until its
# standard input ends. `cat` and not `sleep`: the end of a pipe is the end of the node.
_HOLD = (
    "mount -t tmpfs -o size=4g vmlab-shm /dev/shm && mount -t tmpfs -o size=2g vmlab-ray /mnt"
    ' && hostname "$1" && echo ready && exec cat >/dev/null'
)


class NoLab(Exception):
    """The lab cannot be here; the message says why and what would help."""


def why_not() -> str:
    """Return why there can be no lab here, with the command that would help; "" if it can."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} not found: apt-get install iproute2 util-linux"
    if os.geteuid() != 0:
        return "network namespaces need root: sudo make lab"
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "ip",
            "link",
            "add",
            "vmlab0",
            "type",
            "bridge",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return f"this system makes no namespaces: {done.stderr.strip()}; docker run --privileged?"
    return ""


@dataclass(slots=True)
class Node:
    """One machine of the lab, held by its first process."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    pid: int
    ray: subprocess.Popen[bytes] | None = None

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return what runs a command on this node."""
        enter = ["nsenter", "--target", str(self.pid), "--net", "--pid", "--mount", "--uts"]
        # Whoever enters another mount namespace stands at its root.
        return [*enter, "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(ROOT), *command]

    def kill(self) -> None:
        """Cut the node's power: all of its processes are gone, its shared memory too."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait(_END_S_MAX)


@dataclass(slots=True)
class Lab:
    """A running laboratory. Its nodes end with it, however it ends."""

    rate_bits_per_second: int | None = GIGABIT_BITS_PER_SECOND
    nodes: list[Node] = field(default_factory=list)
    _switch: Node | None = None
    _token: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def ray_address(self) -> str:
        """Where a driver on the first node finds Ray."""
        return f"{self.nodes[0].address}:{GCS_PORT}"

    def start(self, count: int) -> None:
        """Make the network and start Ray on every node.

        Raises:
            NoLab: If it cannot be here, or Ray does not start.
        """
        if why := why_not():
            raise NoLab(why)
        self._switch = _hold("vmlab-switch", "")
        self._on_switch("ip", "link", "add", "vmlab", "type", "bridge")
        self._on_switch("ip", "link", "set", "vmlab", "up")
        for number in range(1, count + 1):
            self.nodes.append(self._join(number))
        for node in self.nodes:
            self._start_ray(node)
        self._await_ray()

    def run(
        self, command: Sequence[str], *, node: int = 0, captured: bool = True
    ) -> subprocess.Popen[str]:
        """Start a command on a node, with the environment that Ray needs there.

        Without `captured` it writes where we write.
        """
        pipe = subprocess.PIPE if captured else None
        return subprocess.Popen(
            self.nodes[node].inside(command),
            env=self.environment(),
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=ROOT,
        )

    def environment(self) -> dict[str, str]:
        """Return what a driver needs: the token of this lab's Ray."""
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")))
        tokens = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token}
        return {**os.environ, **tokens, "PYTHONPATH": path}

    def cut(self, node: int) -> None:
        """Pull the node's cable."""
        self._on_switch("ip", "link", "set", f"port{node + 1}", "down")

    def mend(self, node: int) -> None:
        """Plug the node's cable in again."""
        self._on_switch("ip", "link", "set", f"port{node + 1}", "up")

    def namespaces(self) -> set[str]:
        """Return the networks of this lab, as the kernel names them."""
        held = [*self.nodes, *filter(None, (self._switch,))]
        return {os.readlink(f"/proc/{node.pid}/ns/net") for node in held}

    def stop(self) -> None:
        """End every node; safe to call twice."""
        for node in [*self.nodes, *filter(None, (self._switch,))]:
            node.kill()
            for pipe in (node.process.stdin, node.process.stdout, node.process.stderr):
                if pipe is not None:
                    pipe.close()
            if node.ray is not None:
                node.ray.wait(_END_S_MAX)
        self.nodes, self._switch = [], None

    # Inside.

    def _join(self, number: int) -> Node:
        """Make a node and a cable from its card to the switch, with a rate at both ends."""
        node = _hold(f"vmlab-{number}", f"{NETWORK}.{number}")
        assert self._switch is not None
        port = f"port{number}"
        self._on_switch("ip", "link", "add", port, "type", "veth", "peer", "name", f"card{number}")
        self._on_switch("ip", "link", "set", f"card{number}", "netns", str(node.pid))
        self._on_switch("ip", "link", "set", port, "master", "vmlab", "up")
        _run(node, "ip", "link", "set", "lo", "up")
        _run(node, "ip", "link", "set", f"card{number}", "name", "eth0")
        _run(node, "ip", "address", "add", f"{node.address}/24", "dev", "eth0")
        _run(node, "ip", "link", "set", "eth0", "up")
        _run(node, "ip", "route", "add", "default", "via", f"{NETWORK}.254")
        self._limit(self._switch, port)
        self._limit(node, "eth0")
        return node

    def _limit(self, node: Node, device: str) -> None:
        if self.rate_bits_per_second is None:
            return
        rate = self.rate_bits_per_second
        queue_bytes = int(rate / 8 * _QUEUE_S_MAX) + _BURST_BYTES
        _run(
            node,
            *("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{rate}bit"),
            *("burst", str(_BURST_BYTES), "limit", str(queue_bytes)),
        )

    def _start_ray(self, node: Node) -> None:
        first = node is self.nodes[0]
        where = (
            ["--head", f"--port={GCS_PORT}", "--include-dashboard=false"]
            if first
            else [f"--address={self.ray_address}"]
        )
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", *where, "--block"),
            *(f"--node-ip-address={node.address}", f"--object-store-memory={_STORE_BYTES}"),
            *("--num-cpus=4", "--temp-dir=/mnt/ray", f"--labels=vmlab-node={node.name}"),
            "--disable-usage-stats",
        ]
        node.ray = subprocess.Popen(
            node.inside(command),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if first:
            # The others look for it once.
            self._until_listening(node)

    def _until_listening(self, node: Node) -> None:
        end = time.monotonic() + _START_S_MAX
        probe = f"import socket; socket.create_connection(('{node.address}', {GCS_PORT}), 1)"
        while subprocess.run(
            node.inside([sys.executable, "-c", probe]), capture_output=True, check=False
        ).returncode:
            if time.monotonic() > end or (node.ray is not None and node.ray.poll() is not None):
                raise NoLab(f"Ray does not start on {node.name}; its logs are gone with it")
            time.sleep(0.2)

    def _await_ray(self) -> None:
        """Wait until Ray knows every node."""
        done = subprocess.run(
            self.nodes[0].inside(
                [
                    sys.executable,
                    "-m",
                    "tests.netlab.await_nodes",
                    self.ray_address,
                    str(len(self.nodes)),
                    str(_START_S_MAX),
                ]
            ),
            env=self.environment(),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode != 0:
            raise NoLab(f"the nodes do not come together: {done.stderr.strip()[-2000:]}")

    def _on_switch(self, *command: str) -> None:
        assert self._switch is not None
        _run(self._switch, *command)


def _hold(name: str, address: str) -> Node:
    """Start a node's first process, which does nothing but hold what is the node's."""
    process = subprocess.Popen(
        [
            "unshare",
            "--net",
            "--uts",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            _HOLD,
            "sh",
            name,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for the lab, which takes it down in order
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        said = process.communicate()[1].decode().strip()
        raise NoLab(f"{name} does not start: {said}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return Node(name=name, address=address, process=process, pid=int(children[0]))


def _run(node: Node, *command: str) -> None:
    """Run a tool of the outer system in a node's network."""
    done = subprocess.run(
        ["nsenter", "--target", str(node.pid), "--net", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NoLab(f"{' '.join(command)}: {done.stderr.strip()}")


def inhabitants(namespaces: set[str]) -> list[int]:
    """Return the processes that live in one of those networks."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.readlink(entry / "ns" / "net") in namespaces:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def netlab(
    nodes: int = 3, *, rate_bits_per_second: int | None = GIGABIT_BITS_PER_SECOND
) -> Iterator[Lab]:
    """Run a lab for as long as the block runs.

    Raises:
        NoLab: If there can be none here; the message names the cure.
    """
    lab = Lab(rate_bits_per_second=rate_bits_per_second)
    try:
        lab.start(nodes)
        yield lab
    finally:
        lab.stop()


_HELP = """\
Three Ray nodes with a Gigabit network between them. In another terminal, as root:

  {enter} {vmotion} run {root}/{example} --ray-address {address} --out {root}/out

where ENTER stands for what puts you on the first node:

  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={token}
  ENTER="nsenter --target {pid} --net --pid --mount --uts"

The other nodes: {others}. Pull a cable and plug it in again:

  nsenter --target {switch} --net ip link set port2 down
  nsenter --target {switch} --net ip link set port2 up

Ctrl-C takes everything down; nothing stays behind.
"""


def main() -> int:
    """Start a lab for a person, and wait for Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        print("starting three nodes; this takes some seconds", flush=True)
        with netlab() as lab:
            assert lab._switch is not None
            print(
                _HELP.format(
                    enter="$ENTER",
                    vmotion=Path(sys.executable).parent / "vmotion",
                    example="examples/three-nodes.toml",
                    address=lab.ray_address,
                    token=lab._token,
                    pid=lab.nodes[0].pid,
                    root=ROOT,
                    others=", ".join(f"{n.name} is --target {n.pid}" for n in lab.nodes[1:]),
                    switch=lab._switch.pid,
                ),
                flush=True,
            )
            while all(node.process.poll() is None for node in lab.nodes):
                time.sleep(1.0)
            print("a node has ended", file=sys.stderr)
            return 1
    except NoLab as error:
        print(f"no lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("the lab is gone", flush=True)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
