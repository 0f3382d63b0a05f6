"""A Ray to run on: one of our own, started here and removed afterwards, or somebody's cluster."""

import contextlib
import io
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import ray

from cluster.actors.reaper import MARK

_LOG = logging.getLogger("vmotion.ray")
_CONNECT_S_MAX = 5.0
_REAP_S_MAX = 30.0
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_STORE_BYTES_MIN = 256 << 20
_STORE_BYTES_MAX = 2 << 30
# By itself Ray keeps the place of a batch that nobody needs any more for a second: at 2 GB/s the
# object store grows to its limit, page by page, and each first touch costs more than the copy.
_FREED_AT_ONCE = "RAY_free_objects_batch_size"


class NoRay(Exception):
    """Ray could not be reached or started; the message names the address and the cure."""


@contextlib.contextmanager
def ray_session(
    address: str | None, *, namespace: str, runtime_env: dict[str, object] | None = None
) -> Iterator[None]:
    """Connect to Ray for as long as the block runs.

    Args:
        address: "host:port" of a running cluster, joined from one of its nodes; None
            starts a Ray here, which ends with the block, also after an error.
        namespace: Keeps this run's named actors apart from others'.
        runtime_env: For workers of a running cluster; one started here needs none.

    Raises:
        NoRay: If there is none at `address`, or it cannot start here.
    """
    session = (
        _own_ray(namespace) if address is None else _their_ray(address, namespace, runtime_env)
    )
    with contextlib.redirect_stdout(_Aside()), session:
        yield


@contextlib.contextmanager
def _own_ray(namespace: str) -> Iterator[None]:
    # A short path: Ray's Unix sockets lie below it, and their length is limited to 107.
    directory = tempfile.mkdtemp(prefix="vmotion-ray-")
    reaper = _start_reaper(directory)
    # A token of this session alone; otherwise Ray would leave one in the user's home.
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", MARK, _FREED_AT_ONCE)
    before = {name: os.environ.get(name) for name in names}
    try:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ[MARK] = directory
        os.environ.setdefault(_FREED_AT_ONCE, "1")
        # Ray warns that authentication is on, which is what we want. Its mode cannot be set
        # here: Ray reads it when it is imported, and turns it on by itself when it is not set.
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        try:
            # An address of "local" starts a new Ray even where a stale file or a variable
            # in the environment points to another one.
            _init(
                address="local",
                namespace=namespace,
                _temp_dir=directory,
                object_store_memory=_store_bytes(),
                num_cpus=max(4, os.cpu_count() or 1),
                include_dashboard=False,
            )
        except (ConnectionError, RuntimeError, OSError) as error:
            raise NoRay(f"Ray does not start here: {error}") from error
        yield
    finally:
        ray.shutdown()
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait(_REAP_S_MAX)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_reaper(directory: str) -> subprocess.Popen[bytes]:
    """Start the process that cleans up after this Ray, whatever becomes of us."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.actors.reaper", directory],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # a Ctrl-C is not for it
    )


@contextlib.contextmanager
def _their_ray(
    address: str, namespace: str, runtime_env: dict[str, object] | None
) -> Iterator[None]:
    if address.startswith("ray://"):
        raise NoRay(
            f"{address}: Ray Client is not supported, because pages must not pass through it. "
            "Run vmotion on a node of the cluster, with --ray-address HOST:PORT of its GCS "
            "(port 6379 unless it was set)."
        )
    try:
        # Ray itself would try for minutes where nobody listens.
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_CONNECT_S_MAX).close()
        _init(address=address, namespace=namespace, runtime_env=runtime_env)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NoRay(
            f"no Ray answers at {address}: {first}. "
            "Start one there with `ray start --head`, or leave --ray-address out."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _init(**options: Any) -> None:
    """Start or join Ray, quietly."""
    ray.init(configure_logging=False, log_to_driver=False, **options)


class _Aside(io.TextIOBase):
    """Takes what Ray prints to stdout in the middle of a run, and logs it instead.

    A run's stdout is for its user, and may be a JSON document. Ray prints there, among
    others, that many workers were started, which is what a cluster of actors is.
    """

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _LOG.info("%s", line)
        return len(text)


def _store_bytes() -> int:
    """Half of the shared memory that is free, within limits: pages pass through it in batches."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = _STORE_BYTES_MAX
    return int(min(max(free // 2, _STORE_BYTES_MIN), _STORE_BYTES_MAX))


@contextlib.contextmanager
def terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that closes, end a run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
