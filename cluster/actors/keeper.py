"""The keeper of a cluster that stays: a process that holds its Ray, and ends with it.

    python -m cluster.actors.keeper NAME < orders

`vmotion up` starts it and goes. It launches the cluster, answers commands on its socket, and
takes everything down when it is told to, when it is terminated, or when its Ray has died. If it
is killed itself, its reaper takes down what was its own. On somebody's Ray (`--ray-address`)
the cluster outlives it, and another keeper joins.
"""

import contextlib
import os
import pickle
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayError,
    RayTaskError,
)

from cluster.actors import places
from cluster.actors.cluster import Cluster, ClusterFailed
from cluster.actors.control import AWAY, DONE, FAILED, Switchboard
from cluster.actors.named import namespace_of
from cluster.actors.replies import CenterDown
from cluster.actors.session import NoRay, ray_session
from cluster.actors.shipping import shipped
from cluster.actors.standing_metrics import LogFailed, StandingMetrics
from cluster.inventory.model import Scenario
from cluster.observe.serving import ADDRESS, PortTakenError
from cluster.observe.tracing import TracingMissingError

KEEPER = "keeper"
_CALL_S_MAX = 55.0
_LOOK_S = 1.0
_SAID_TO = 1  # the file itself: `sys.stdout` is turned aside while Ray starts
_RAYS_OWN = ("gcs_server", "raylet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What `vmotion up` tells a keeper.

    Attributes:
        scenario: None to join a cluster that runs already, on somebody's Ray.
    """

    standing: places.Standing
    scenario: Scenario | None


class Keeper:
    """Answers commands, and knows when it is over."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._said: list[str] = []
        self._actors: dict[str, Any] = {}

    def answer(
        self, actor: str, method: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[str, Any]:
        """Carry a command's call to an actor, and its answer back."""
        if method.startswith("_"):
            return FAILED, f"{method} is nobody's business"
        if actor == KEEPER:
            return self._own(method)
        try:
            return DONE, ray.get(
                self._method(actor, method).remote(*args, **named), timeout=_CALL_S_MAX
            )
        except (ActorUnavailableError, ActorDiedError, GetTimeoutError) as error:
            self._actors.pop(actor, None)
            return AWAY, type(error).__name__
        except RayTaskError as error:
            if isinstance(error.cause, CenterDown):
                return FAILED, f"VirtualCenter is down: {error.cause}"
            return FAILED, str(error.cause)
        except (ValueError, AttributeError, RayError) as error:
            return FAILED, f"{actor}.{method}: {error}"

    def wait(self) -> None:
        """Return when it is over: told so, or our own Ray is gone."""
        rays = _rays_processes()
        while not self._over.wait(_LOOK_S):
            if not all(places.began(pid) == when for pid, when in rays):
                print("a process of Ray has died", file=sys.stderr, flush=True)
                return

    def end(self, *_: object) -> None:
        """Let it be over."""
        self._over.set()

    def begin_when_up(self) -> None:
        """Start the scenario's clock and its clients when every VM has started or failed to."""
        while not self._over.is_set():
            try:
                view = ray.get(self._cluster.center.view.remote(1 << 62), timeout=_CALL_S_MAX)
                if view.all_up:
                    self._cluster.begin()
                    return
            except (RayError, GetTimeoutError):
                pass  # VirtualCenter is starting again
            time.sleep(0.2)

    def _own(self, method: str) -> tuple[str, Any]:
        match method:
            case "end":
                self.end()
                return DONE, None
            case "ping":
                return DONE, os.getpid()
            case _:
                return FAILED, f"a keeper knows no {method}"

    def _method(self, actor: str, method: str) -> Any:
        found = self._actors.get(actor)
        if found is None:
            found = self._actors[actor] = ray.get_actor(actor)
        return getattr(found, method)


def keep(orders: Orders, say: Any) -> None:
    """Have a cluster until it is over, and leave nothing of it behind.

    Raises:
        NoRay: If there is no Ray to run on.
        ClusterFailed: If there is no cluster to join.
        PortTakenError: If the port for metrics cannot be had.
        TracingMissingError: If spans are wanted that cannot be sent.
        LogFailed: If the log cannot be written.
    """
    standing, scenario = orders.standing, orders.scenario
    with contextlib.ExitStack() as until_the_end:
        enter = until_the_end.enter_context
        metrics = StandingMetrics(standing.watching)
        until_the_end.callback(metrics.close)
        runtime_env = None
        if standing.ray_address is not None and scenario is not None:
            scenario, runtime_env = enter(shipped(scenario))
        namespace = namespace_of(standing.name)
        enter(ray_session(standing.ray_address, namespace=namespace, runtime_env=runtime_env))
        if scenario is None:
            cluster = Cluster.find()
        else:
            cluster = Cluster.launch(scenario, database=Path(standing.database), detached=True)
        keeper = Keeper(cluster)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, keeper.end)
        directory = Path(tempfile.mkdtemp(prefix="vmotion-"))  # short: sockets' paths are limited
        until_the_end.callback(shutil.rmtree, directory, ignore_errors=True)
        key = secrets.token_hex(32)
        switchboard = Switchboard(str(directory / "control"), key.encode(), keeper.answer)
        until_the_end.callback(switchboard.close)
        threading.Thread(target=keeper.begin_when_up, daemon=True).start()
        # A Ray of our own is nobody else's business; on a cluster Prometheus is elsewhere.
        metrics.begin(cluster, hosts_at=ADDRESS if standing.ray_address is None else None)
        found = replace(standing, control=str(directory / "control"), key=key, ready=True)
        places.write(replace(found, metrics=metrics.url))
        say("ready")
        until_the_end.callback(cluster.stop)
        until_the_end.callback(metrics.close)  # before the cluster that it looks at
        keeper.wait()


def _rays_processes() -> list[tuple[int, str]]:
    """Return (process, when it began) of the Ray that we have started; none on somebody's."""
    found: list[tuple[int, str]] = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() in _RAYS_OWN:
                    found.append((int(pid), places.began(int(pid))))
    return found


def main() -> int:
    """Read orders from stdin; say "ready" or "failed: …" on stdout, once."""
    orders: Orders = pickle.load(sys.stdin.buffer)
    standing = replace(orders.standing, keeper=os.getpid(), keeper_began=places.began(os.getpid()))
    orders = replace(orders, standing=standing)
    if (other := places.claim(standing)) is not None and orders.scenario is not None:
        _say(f"failed: {other.name} is up already, from {other.scenario}")
        return 1
    if other is not None:
        places.write(standing)
    try:
        keep(orders, _say)
    except (NoRay, ClusterFailed, PortTakenError, TracingMissingError, LogFailed) as error:
        _say(f"failed: {error}")
        status = 1
    else:
        status = 0
    places.forget(standing.name, database_too=not standing.keeps_database)
    return status


def _say(text: str) -> None:
    """Tell whoever started us, who may be gone by now."""
    with contextlib.suppress(OSError):
        os.write(_SAID_TO, f"{text}\n".encode())
        # From here on nobody listens: a write to a pipe without a reader would end us.
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, _SAID_TO)
        os.close(nobody)


if __name__ == "__main__":
    raise SystemExit(main())
