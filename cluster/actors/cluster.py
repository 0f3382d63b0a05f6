"""A running cluster as its driver holds it: started, looked at, finished, taken down."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError

from cluster.actors.births import ACTOR, create_host
from cluster.actors.line_rates import measure_lines
from cluster.actors.load import Books, Load
from cluster.actors.named import CENTER, LICENCES, LOAD, host_name
from cluster.actors.nodes import ray_nodes
from cluster.actors.replies import Handle
from cluster.actors.verifying import Audit
from cluster.actors.views import ClusterView
from cluster.actors.virtualcenter import VirtualCenter
from cluster.guests.clients import Gaps, Settlement
from cluster.inventory.model import Scenario
from cluster.journal.database import JournalFailed
from cluster.journal.replay import begun_at
from cluster.memory.tracker import TrackerKind
from cluster.policy.messages import LinksMeasured
from cluster.policy.nodes import plan_hosts

# A whole cluster is silent for so long only if Ray cannot start its workers.
_SILENCE_S_MAX = 120.0
_STOP_S_MAX = 20.0


class ClusterFailed(Exception):
    """The cluster could not go on; the message says what did not answer."""


@dataclass(slots=True)
class Cluster:
    """The actors of one run, or of one cluster that stays.

    Attributes:
        seen: The number of the newest entry of the story that a view has shown.
        lines: Measured payload bytes a second from one node to another; none on one node.
    """

    scenario: Scenario
    hosts: dict[str, Handle] = field(default_factory=dict)
    center: Handle = None
    load: Handle = None
    lines: tuple[tuple[str, str, float], ...] = ()
    seen: int = 0

    @classmethod
    def launch(
        cls,
        scenario: Scenario,
        *,
        tracker: TrackerKind | None = None,
        database: Path | None = None,
        detached: bool = False,
    ) -> "Cluster":
        """Create VirtualCenter and the hosts; VMs are powered on as they connect.

        Args:
            database: VirtualCenter's journal, on this node; with it VirtualCenter may die
                and begins again, and the actors have names that it finds them by.
            detached: The actors outlive whoever launches them.

        Raises:
            ClusterFailed: If the Ray nodes cannot hold them, or there is no journal to be had;
                the message says what is missing.
        """
        cluster = cls(scenario)
        plan = _where(scenario)
        if database is not None:
            try:
                begun_at(database, scenario, seed=scenario.seed)
            except JournalFailed as error:
                raise ClusterFailed(str(error)) from error
        lifetime = {"lifetime": "detached"} if detached else {}
        options: dict[str, Any] = {**ACTOR, **lifetime}

        def named(name: str) -> dict[str, str]:
            return {} if database is None else {"name": name}

        for spec in scenario.hosts:
            cluster.hosts[spec.name] = create_host(
                spec,
                scenario,
                node=plan[spec.name],
                options={**lifetime, **named(host_name(spec.name))},
                tracker=tracker,
            )
        lives = {} if database is None else {"max_restarts": -1, **_here()}
        cluster.center = ray.remote(**{**options, **lives, **named(CENTER)})(VirtualCenter).remote(
            scenario, seed=scenario.seed, database=None if database is None else str(database)
        )
        used = sorted(set(plan.values()))
        cluster.lines = measure_lines(used)
        measured = LinksMeasured(nodes=tuple(plan.items()), rates=cluster.lines)
        cluster.center.links_measured.remote(measured)
        cluster.load = ray.remote(**options, **named(LOAD))(Load).remote(
            scenario.vms,
            cluster.center,
            seed=scenario.seed,
            probe_interval_s=scenario.migration.probe_interval_s,
        )
        cluster.center.start.remote(cluster.hosts)
        return cluster

    @classmethod
    def find(cls) -> "Cluster":
        """Return the cluster whose actors have their names in this driver's namespace.

        Raises:
            ClusterFailed: If there is none.
        """
        try:
            center = ray.get_actor(CENTER)
            scenario: Scenario = ray.get(center.scenario.remote(), timeout=_SILENCE_S_MAX)
            hosts: dict[str, Handle] = {}
            for spec in scenario.hosts:
                with contextlib.suppress(ValueError):  # it has died
                    hosts[spec.name] = ray.get_actor(host_name(spec.name))
            return cls(scenario, hosts=hosts, center=center, load=ray.get_actor(LOAD))
        except (ValueError, RayError) as error:
            raise ClusterFailed(f"there is no such cluster on this Ray: {error}") from error

    def view(self, *, silence_s_max: float = _SILENCE_S_MAX) -> ClusterView:
        """Return what there is to see, and what has happened since the last look.

        Raises:
            ClusterFailed: If VirtualCenter does not answer.
        """
        try:
            view: ClusterView = ray.get(self.center.view.remote(self.seen), timeout=silence_s_max)
        except GetTimeoutError as error:
            text = f"VirtualCenter has not answered for {silence_s_max:.0f} s"
            raise ClusterFailed(text) from error
        except RayError as error:
            raise ClusterFailed(f"VirtualCenter has failed: {error}") from error
        self.seen = view.number
        return view

    def begin(self) -> None:
        """Start the scenario's clock and the clients."""
        ray.get([self.load.start.remote(), self.center.begin.remote()], timeout=_SILENCE_S_MAX)

    def stopping(self) -> None:
        """Start nothing new; what is under way comes to its end."""
        ray.get(self.center.stopping.remote(), timeout=_SILENCE_S_MAX)

    def find_again(self, hosts: Iterable[str]) -> None:
        """Take the handles of hosts that may have been begun anew; for actors with names."""
        for name in hosts:
            with contextlib.suppress(ValueError):  # it has died again
                self.hosts[name] = ray.get_actor(host_name(name))

    def serve_host_metrics(
        self, *, address: str | None, per_vm: bool, hosts: Iterable[str] | None = None
    ) -> dict[str, str]:
        """Have these hosts, or every one, serve their own metrics; return where, HOST:PORT.

        A host that has died serves nothing.
        """
        asked = {
            name: self.hosts[name].serve_metrics.remote(address=address, per_vm=per_vm)
            for name in (self.hosts if hosts is None else hosts)
            if name in self.hosts
        }
        where: dict[str, str] = {}
        for name, answer in asked.items():
            with contextlib.suppress(ActorDiedError):
                where[name] = ray.get(answer, timeout=_SILENCE_S_MAX)
        return where

    def gaps(self, wanted: list[tuple[str, int]]) -> list[Gaps | None]:
        """Return what clients felt of migrations, each by (vm, epoch it led to), if seen yet."""
        found: list[Gaps | None] = ray.get(self.load.gaps.remote(wanted), timeout=_SILENCE_S_MAX)
        return found

    def settle(self) -> list[Books]:
        """Stop the clients after their last answers, and return their books."""
        books: list[Books] = ray.get(self.load.finish.remote(), timeout=_SILENCE_S_MAX)
        return books

    def audit(self, books: list[Books]) -> list[Audit]:
        """Stun every VM that is still there, and compare it with what is known outside it."""
        audits: list[Audit] = []
        for book in books:
            host = ray.get(self.center.host_of.remote(book.vm), timeout=_SILENCE_S_MAX)
            if host is None:
                continue
            try:
                audits.append(ray.get(host.audit.remote(book.vm, book.accounts)))
            except RayError as error:
                audits.append(_not_audited(book, error))
        return audits

    def stop(self) -> None:
        """End every VM and actor of this run, whatever state it is in."""
        for first in (self.load, self.center):  # nobody asks or decides any more
            if first is not None:
                ray.kill(first, no_restart=True)
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(LICENCES))
        hosts = [*self.hosts.values(), *self._connected_again()]
        stops = [host.stop.remote() for host in hosts]
        ray.wait(stops, num_returns=len(stops), timeout=_STOP_S_MAX)
        for host in hosts:
            ray.kill(host, no_restart=True)

    def _connected_again(self) -> list[Handle]:
        """Return the hosts that VirtualCenter began anew after their death."""
        found: list[Handle] = []
        for name, known in self.hosts.items():
            with contextlib.suppress(ValueError):  # it has no name, or is dead
                if (host := ray.get_actor(host_name(name))) != known:
                    found.append(host)
        return found


def _here() -> dict[str, Any]:
    """Return the option that keeps an actor on this node, where its files are."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _where(scenario: Scenario) -> dict[str, str]:
    """Return the Ray node of each host."""
    plan = plan_hosts(
        scenario.hosts,
        scenario.vms,
        ray_nodes(),
        strategy=scenario.placement,
        standby_processes=scenario.migration.standby_processes,
    )
    if plan.problems:
        raise ClusterFailed("; ".join(plan.problems))
    return plan.nodes


def _not_audited(book: Books, error: RayError) -> Audit:
    nothing = Settlement(sent=0, answered=0, lost=0, duplicated=0, malformed=0)
    return Audit(
        vm=book.vm,
        pages=0,
        replayed=False,
        mismatched_pages=0,
        settlement=nothing,
        error=f"not compared: {str(error).splitlines()[-1]}",
    )


def wait_until_up(cluster: Cluster, looked: Any) -> ClusterView:
    """Look until all VMs are up or have failed to start; `looked` gets every view.

    Raises:
        ClusterFailed: If nothing has changed for `_SILENCE_S_MAX`.
    """
    changed_s, before = time.monotonic(), None
    while True:
        view = cluster.view()
        looked(view)
        if view.all_up:
            return view
        now = (view.vms, tuple(host.state for host in view.hosts))
        if now != before:
            changed_s, before = time.monotonic(), now
        elif time.monotonic() - changed_s > _SILENCE_S_MAX:
            raise ClusterFailed(f"no host or VM has come up for {_SILENCE_S_MAX:.0f} s")
        time.sleep(0.1)
