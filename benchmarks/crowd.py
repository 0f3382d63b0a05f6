"""A cluster with a journal and clients on every VM, and what must hold of it at the end. Not a benchmark."""

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ray
from claims import Claim

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.load import Books
from cluster.actors.session import ray_session
from cluster.actors.verifying import Audit
from cluster.actors.views import ClusterView, EndedMigration
from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    ClientsSpec,
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.policy.messages import Asked, Wish
from cluster.policy.state import PowerState
from cluster.policy.tasks import Task

SILENCE_S_MAX = 120.0
_LOOK_S = 0.05
_GIGABIT = 125e6


def crowd(name: str, *, hosts: int, vms: int, memory_mib: int, rate_hz: float) -> Scenario:
    """Key-value VMs, laid evenly over hosts with Gigabit cards; one client each; DRS off."""
    return Scenario(
        name=name,
        duration_s=3600.0,
        hosts=tuple(
            HostSpec(
                name=f"esx-{i + 1}",
                cpu_mhz=9600.0,
                memory_mib=memory_mib * vms,
                nic=Nic(rate_bytes_per_second=_GIGABIT),
            )
            for i in range(hosts)
        ),
        vms=tuple(
            VmSpec(
                name=f"vm-{i + 1}",
                memory_mib=memory_mib,
                cpu_mhz=2000.0,
                guest=GuestSpec(program="keyvalue"),
                demand=Constant(mhz=200.0),
                clients=ClientsSpec(count=1, rate_hz=rate_hz),
                host=f"esx-{i % hosts + 1}",
            )
            for i in range(vms)
        ),
        drs=DrsSettings(enabled=False),
        # None stands by: each process that is left over would be one of them.
        migration=MigrationSettings(probe_interval_s=0.005, standby_processes=0),
    )


@dataclass
class Crowd:
    """The running cluster, and all that was seen of it."""

    cluster: Cluster
    directory: str
    ended: list[EndedMigration] = field(default_factory=list)
    mismatched_pages: int = 0
    verified: int = 0
    problems: list[str] = field(default_factory=list)
    story: list[tuple[str, str]] = field(default_factory=list)

    def look(self) -> ClusterView | None:
        """Take in what has happened; None while VirtualCenter is away."""
        try:
            view = ray.get(
                self.cluster.center.view.remote(self.cluster.seen), timeout=SILENCE_S_MAX
            )
        except ray.exceptions.RayError:
            return None
        self.cluster.seen = view.number
        self.ended += view.ended
        self.problems += view.problems
        self.story += [(one.record.what, one.record.text) for one in view.happened]
        for one in view.verified:
            self.verified += 1
            self.mismatched_pages += one.mismatched_pages
            if one.error:
                self.problems.append(one.error)
        return view

    def until(self, true: Callable[[ClusterView], object], what: str) -> ClusterView:
        """Look until `true`."""
        end = time.monotonic() + SILENCE_S_MAX
        while time.monotonic() < end:
            view = self.look()
            if view is not None and true(view):
                return view
            time.sleep(_LOOK_S)
        raise TimeoutError(f"waited in vain for {what}; {self.story[-5:]}")

    def quiet(self) -> ClusterView:
        """Look until no migration and no comparison is under way."""
        return self.until(lambda v: not v.migrations and not v.verifying, "migrations to end")

    def ask(self, wish: Wish) -> Task:
        """Begin a task."""
        asked = Asked(key=uuid.uuid4().hex, by="benchmark", wish=wish)
        return ray.get(self.cluster.center.ask.remote(asked), timeout=SILENCE_S_MAX)

    def follow(self, task: Task) -> Task:
        """Return the task when it is over."""
        end = time.monotonic() + SILENCE_S_MAX
        while not task.over:
            if time.monotonic() > end:
                raise TimeoutError(f"{task} does not end; {self.story[-5:]}")
            self.look()
            time.sleep(_LOOK_S)
            task = ray.get(self.cluster.center.task.remote(task.id), timeout=SILENCE_S_MAX)
        return task

    def settle(self) -> tuple[list[Books], list[Audit]]:
        """Stop the clients, and compare every VM with what is known outside it."""
        books = self.cluster.settle()
        return books, self.cluster.audit(books)

    def places(self) -> dict[str, list[str]]:
        """Return the hosts that say they run each VM."""
        found: dict[str, list[str]] = {vm.name: [] for vm in self.cluster.scenario.vms}
        for name, host in self.cluster.hosts.items():
            report = ray.get(
                host.start.remote(self.cluster.center),
                timeout=SILENCE_S_MAX,
            )
            for vm in report.vms:
                if not vm.leaving:
                    found[vm.name].append(name)
        return found

    def left_over(self) -> int:
        """Return processes of VMs beyond one each, and migrations that a host did not forget."""
        vms = sum(title.startswith(b"ray::Vm") for title in _titles(self.directory))
        on = sum(bool(hosts) for hosts in self.places().values())
        incoming = 0
        for host in self.cluster.hosts.values():
            report = ray.get(
                host.start.remote(self.cluster.center),
                timeout=SILENCE_S_MAX,
            )
            incoming += len(report.incoming)
        return abs(vms - on) + incoming


def _titles(directory: str) -> Iterator[bytes]:
    from cluster.actors.reaper import belonging

    for pid in belonging(directory, os.getpid()):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes()


@contextlib.contextmanager
def running(scenario: Scenario) -> Iterator[Crowd]:
    """Have it up with its clients at work; nothing is left afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="vmotion-crowd-") as place,
        ray_session(None, namespace=scenario.name),
    ):
        from cluster.actors.reaper import MARK

        cluster = Cluster.launch(scenario, database=Path(place) / "vmotion.db")
        try:
            wait_until_up(cluster, lambda _: None)
            cluster.begin()
            yield Crowd(cluster, os.environ[MARK])
        finally:
            cluster.stop()


def books_claims(
    crowd: Crowd, books: list[Books], audits: list[Audit], *, where: str
) -> list[Claim]:
    """Return what must hold whatever was done to the cluster: no request, no page, no VM lost."""
    vms = len(crowd.cluster.scenario.vms)
    sent = sum(audit.settlement.sent for audit in audits)
    lost = sum(audit.settlement.lost for audit in audits)
    twice = sum(audit.settlement.duplicated for audit in audits)
    pages = crowd.mismatched_pages + sum(audit.mismatched_pages for audit in audits)
    errors = [audit.error for audit in audits if audit.error] + crowd.problems
    stopped = [text for what, text in crowd.story if what in ("failed", "powered_off")]
    stopped += [f"{book.vm}: {book.off}" for book in books if book.off]
    claims = [
        ("VMs that stopped", len(stopped), "VMs", vms, "; ".join(stopped[:3])),
        ("requests lost", lost, "requests", sent, ""),
        ("requests done twice", twice, "requests", sent, ""),
        ("pages that differ", pages, "pages", crowd.verified, "all pages of each migration"),
        ("defects that were said", len(errors), "defects", vms, "; ".join(errors[:3])),
    ]
    return [
        Claim(
            claim=claim,
            value=value,
            unit=unit,
            bar="0",
            holds=value == 0,
            n=n,
            conditions="; ".join(filter(None, (where, more))),
        )
        for claim, value, unit, n, more in claims
    ]


def all_on(view: ClusterView) -> bool:
    """Whether every VM is on."""
    return all(power is PowerState.ON for _, _, power in view.vms)
