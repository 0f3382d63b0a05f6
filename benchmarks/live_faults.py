"""Live injections of the fault matrix: real hosts, real memory, real kills. Not a benchmark.

`benchmarks/faults.py --live N` counts them. The seed draws the fault, the command at which it
strikes, and the mode; afterwards everything outside the cluster that knows something is asked:
the register of runners, the clients' books, and the replay of all memory.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import ray
from crowd import Crowd
from faulty_host import Breakage, faulty_from_now_on
from register import Register

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.reaper import MARK
from cluster.actors.session import ray_session
from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    ClientsSpec,
    DrsSettings,
    GuestSpec,
    HaSettings,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.migration.spec import Result, Trigger
from cluster.policy.messages import (
    HostConnectRequested,
    MaintenanceCancelled,
    MaintenanceEnded,
    MigrationRequested,
    PowerOnRequested,
)
from cluster.policy.state import HostState, PowerState

CALL_S_MAX = 90.0
GIGABIT = 125e6
HOSTS = ("esx-1", "esx-2", "esx-3")
# Each that is lost ends its part; with the last of them the cluster does.
VMS = ("vm-1", "vm-2", "vm-3", "vm-4")
BUSY = "busy"
_COMMANDS = ("Prepare", "SendDirty", "Stun", "SendState", "Commit", "Resume", "Unregister")
_LATE = ("SendRemainder",)
_ALL = (*_COMMANDS, *_LATE)
# Row, what breaks, at which commands. A lost answer of a send fails it.
FAULTS = (
    ("F1", "cancel", _ALL),
    ("F2", "kill source", _ALL),
    ("F3", "kill destination", _ALL),
    ("F4", "kill center", _ALL),
    ("F5", "lose answer", ("Commit", "Resume", "Unregister")),
    ("F5", "double", ("Prepare", "SendState", "Commit", "Resume", "Unregister")),
    ("F5", "late", _ALL),
    ("F6", "kill pager", _LATE),
    ("F7", "lose answer", ("SendDirty", "SendState", "SendRemainder")),
    ("F7", "corrupt", ("SendDirty", "SendRemainder")),
    ("F7", "truncate", ("SendDirty", "SendRemainder")),
    ("F8", "fill store", ("Prepare", "SendDirty", "SendRemainder")),
    ("F9", "busy guest", ("SendDirty",)),
    ("F10", "second", _ALL),
    ("F11", "power off", _ALL),
    ("F12", "close destination", _ALL),
    ("F13", "break network", _LATE),
    ("F14", "stop center", _ALL),
)
CASES = tuple((row, what, command) for row, what, commands in FAULTS for command in commands)
# The VM's memory may be gone afterwards, or a host.
KILLS = ("kill source", "kill destination", "power off")
# Deaths take long to get over; of all others the first command, which every mode comes to.
_DEATHS = (*KILLS, "kill center", "busy guest")
ONE_OF_EACH = tuple(
    next(seed for seed, (_, kind, _) in enumerate(CASES) if kind == what)
    for what in dict.fromkeys(kind for _, kind, _ in CASES)
    if what not in _DEATHS
)
# What has to be there when the command comes, or waits for it.
_BEFORE = ("kill pager", "corrupt", "truncate", "fill store", "break network", "busy guest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One fault, as its seed draws it."""

    seed: int
    row: str
    breakage: Breakage
    mode: Mode

    @classmethod
    def drawn(cls, seed: int) -> "Injection":
        """Go through rows and commands in turn, so that each is met; the rest is drawn."""
        row, what, command = CASES[seed % len(CASES)]
        rng = np.random.default_rng(seed)
        modes = (Mode.HYBRID, Mode.POSTCOPY)
        if command == "SendDirty":
            modes = (Mode.HYBRID, Mode.PRECOPY, Mode.AUTO)
        elif command != "SendRemainder":
            modes = (Mode.HYBRID, Mode.POSTCOPY, Mode.PRECOPY, Mode.AUTO)
        after = what in ("lose answer", "double") or (what not in _BEFORE and bool(rng.integers(2)))
        return cls(
            seed=seed,
            row=row,
            breakage=Breakage(what=what, command=command, after=after),
            mode=modes[int(rng.integers(len(modes)))],
        )

    def __str__(self) -> str:
        when = "after" if self.breakage.after else "before"
        place = f"{when} {self.breakage.command}, {self.mode.value}"
        return f"seed {self.seed}: {self.row} {self.breakage.what} {place}"


def reporting_vm(name: str, port: int, *, host: str, pages_a_step: int) -> VmSpec:
    """A VM under clients that reports to the register."""
    params = {
        "name": name,
        "pages_a_step": pages_a_step,
        "ramp_mib": 16,
        "register_port": port,
    }
    return VmSpec(
        name=name,
        memory_mib=32,
        cpu_mhz=2000.0,
        guest=GuestSpec(
            program="reporting_guest:Reporting",
            file=str(Path(__file__).with_name("reporting_guest.py")),
            params=tuple(sorted(params.items())),
        ),
        demand=Constant(mhz=1000.0),
        clients=ClientsSpec(count=2, rate_hz=50.0),
        host=host,
        seed=1,
    )


def scenario(port: int) -> Scenario:
    """Three hosts with HA, four VMs and one that writes faster than their cards carry."""
    vms = [
        reporting_vm(name, port, host=HOSTS[at % len(HOSTS)], pages_a_step=32)
        for at, name in enumerate(VMS)
    ]
    hosts = tuple(
        HostSpec(name=name, cpu_mhz=9600.0, memory_mib=1024, nic=Nic(rate_bytes_per_second=GIGABIT))
        for name in HOSTS
    )
    return Scenario(
        name="faults",
        duration_s=1.0,
        hosts=hosts,
        vms=(*vms, reporting_vm(BUSY, port, host=HOSTS[0], pages_a_step=192)),
        drs=DrsSettings(enabled=False),
        ha=HaSettings(enabled=True, failures_tolerated=0),
        migration=MigrationSettings(stall_s_max=5.0, checksum=True),
    )


class Bench:
    """A cluster of faulty hosts, and what was seen of it.

    Attributes:
        lost: VMs whose memory is gone: what HA started in their place has not had their clients.
    """

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self._register = Register()
        self._directory = tempfile.TemporaryDirectory(prefix="vmotion-faults-")
        faulty_from_now_on()
        database = Path(self._directory.name) / "vmotion.db"
        # As `vmotion up` makes them: a host that is begun anew must find its name free.
        cluster = Cluster.launch(scenario(self._register.port), database=database, detached=True)
        self.crowd = Crowd(cluster, os.environ[MARK])
        try:
            wait_until_up(cluster, lambda _: None)
            cluster.begin()
        except BaseException:
            self.stop()
            raise

    @property
    def spent(self) -> bool:
        """Whether no VM is left whose memory is still the first."""
        return self.lost.issuperset(VMS)

    def stop(self) -> None:
        """Take it down."""
        self.crowd.cluster.stop()
        self._register.__exit__()
        self._directory.cleanup()

    def forget(self) -> None:
        """Keep no history: in a soak that must not be what grows."""
        for history in (self.crowd.ended, self.crowd.story, self.crowd.problems):
            history.clear()

    def inject(self, one: Injection) -> tuple[bool, list[str]]:
        """Break one migration; return whether it struck, and every law that does not hold.

        Raises:
            TimeoutError: If the cluster does not come to rest afterwards.
        """
        crowd, cluster = self.crowd, self.crowd.cluster
        view = crowd.until(self._all_up, "all hosts and VMs")
        vm = BUSY if one.breakage.what == "busy guest" else self._next(one.seed)
        source = next(host for name, host, _ in view.vms if name == vm)
        # Killed or closed, it should take nobody else along.
        crowds = {name: sum(at == name for _, at, _ in view.vms) for name in HOSTS}
        there, third = sorted((name for name in HOSTS if name != source), key=crowds.__getitem__)
        pid = ray.get(cluster.center.process.remote(), timeout=CALL_S_MAX)
        armed = replace(one.breakage, center_pid=pid, third=third)
        ray.get(cluster.hosts[source].arm.remote(vm, armed), timeout=CALL_S_MAX)
        ended, told, wrong_before = len(crowd.ended), len(crowd.story), len(crowd.problems)
        mismatched = crowd.mismatched_pages
        wish = MigrationRequested(vm=vm, destination=there, trigger=Trigger.USER, mode=one.mode)
        ray.get(cluster.center.request_migration.remote(wish), timeout=CALL_S_MAX)
        crowd.until(lambda _: len(crowd.ended) > ended, "its end")
        outcome = crowd.ended[ended].outcome
        struck = self._struck(one, source, vm)
        at = self._brought_to_rest(one, vm)
        self.lost |= {name for name in (*VMS, BUSY) if self._lost_in(name, told)}
        if outcome.result is Result.LOST or (struck and armed.what == "power off"):
            self.lost.add(vm)
        wrong = [f"two runners of {name}" for name in self._register.two_runners()]
        wrong += crowd.problems[wrong_before:]
        if crowd.mismatched_pages != mismatched:
            wrong.append(f"{crowd.mismatched_pages - mismatched} pages differ")
        wrong += self._misplaced(one, outcome.result, at, source, there, third, vm)
        if not self._moves(vm):
            wrong.append(f"{vm} stands still")
        return struck, wrong

    def settle(self) -> list[str]:
        """Stop the clients and replay everything; a VM that HA restarted has new counters."""
        books, audits = self.crowd.settle()
        wrong = [f"two runners of {vm}" for vm in self._register.two_runners()]
        for book, audit in zip(books, audits, strict=True):
            if book.vm in self.lost:
                continue
            settled = audit.settlement
            wrong += [audit.error] if audit.error else []
            wrong += [f"{settled.lost} requests lost"] if settled.lost else []
            wrong += [f"{settled.duplicated} done twice"] if settled.duplicated else []
            wrong += [f"{audit.mismatched_pages} pages"] if audit.mismatched_pages else []
        return wrong

    # Inside.

    def _next(self, seed: int) -> str:
        left = [name for name in VMS if name not in self.lost]
        return left[seed % len(left)]

    def _struck(self, one: Injection, source: str, vm: str) -> bool:
        try:
            armed = self.crowd.cluster.hosts[source].disarm.remote(vm)
            return bool(ray.get(armed, timeout=CALL_S_MAX))
        except ray.exceptions.RayError:
            return one.breakage.what == "kill source"

    def _brought_to_rest(self, one: Injection, vm: str) -> str | None:
        """Undo what lasts, and return where the VM is when nothing moves any more."""
        crowd = self.crowd
        if one.breakage.what == "close destination":
            for name in HOSTS:
                crowd.follow(crowd.ask(MaintenanceCancelled(host=name)))
                crowd.follow(crowd.ask(MaintenanceEnded(host=name)))
        crowd.until(lambda view: not view.migrations and not view.verifying, "migrations to end")
        if one.breakage.what == "power off":
            view = crowd.until(lambda _: True, "VirtualCenter")
            if any(name == vm and power is PowerState.OFF for name, _, power in view.vms):
                crowd.follow(crowd.ask(PowerOnRequested(vm=vm)))
        view = crowd.until(lambda view: all(_on(view, name) for name in (*VMS, BUSY)), "all VMs")
        dead = [host.name for host in view.hosts if host.state is HostState.NOT_RESPONDING]
        for name in dead:
            crowd.follow(crowd.ask(HostConnectRequested(host=name)))
        view = crowd.until(self._all_up, "all hosts")
        crowd.cluster.find_again(dead)
        return next(host for name, host, _ in view.vms if name == vm)

    def _all_up(self, view) -> bool:
        hosts = all(host.state is HostState.CONNECTED for host in view.hosts)
        return hosts and all(_on(view, name) for name in (*VMS, BUSY))

    def _lost_in(self, vm: str, told: int) -> bool:
        words = [text for what, text in self.crowd.story[told:] if what == "restarted"]
        return any(f"{vm} " in f"{text} " for text in words)

    def _misplaced(self, one, result, at, source, there, third, vm) -> list[str]:
        """Compare what the migration said of itself with where the VM is."""
        if vm in self.lost:
            return []
        expected = {Result.COMPLETED: there, Result.ABORTED: source, Result.REFUSED: source}
        allowed = {expected[result]}
        if one.breakage.what == "second":
            allowed.add(third)
        if one.breakage.what == "close destination":
            allowed |= set(HOSTS)
        return [] if at in allowed else [f"{result.value}, and {vm} is on {at}"]

    def _moves(self, vm: str) -> bool:
        """Whether the guest's reports go on."""
        before = self._register.runs().get(vm)
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            now = self._register.runs().get(vm)
            if now is not None and (before is None or now.reports > before.reports + 3):
                return True
            time.sleep(0.02)
        return False


def _on(view, vm: str) -> bool:
    return any(
        name == vm and host is not None and power is PowerState.ON for name, host, power in view.vms
    )


def inject_live(results: dict, seeds: Iterable[int], save: Callable[[], None]) -> None:
    """Try these faults; a cluster serves until its last VM is lost, or a law is broken."""
    with ray_session(None, namespace="faults"):
        bench: Bench | None = None
        try:
            for seed in seeds:
                one = Injection.drawn(seed)
                bench = bench or Bench()
                struck, wrong = injected(bench, one)
                if wrong or bench.spent:
                    bench.stop()
                    bench = None
                row = results["live"].setdefault(one.row, {"injections": 0, "violations": 0})
                row["injections"] += struck
                row["violations"] += bool(wrong)
                results["violations"] += [f"live, {one} : {text}" for text in wrong]
                results["next_live_seed"] = seed + 1
                mark = "struck" if struck else "passed by"
                print(f"{one}: {mark} {wrong or ''}", file=sys.stderr, flush=True)
                save()
            if bench is not None:
                wrong = bench.settle()
                results["violations"] += [f"live, at the end: {text}" for text in wrong]
                save()
        finally:
            if bench is not None:
                bench.stop()


def injected(bench: Bench, one: Injection) -> tuple[bool, list[str]]:
    """Inject, and settle everything if that was the cluster's last."""
    struck, wrong = False, []
    try:
        struck, wrong = bench.inject(one)
        if wrong or bench.spent:
            wrong += bench.settle()
    except (TimeoutError, LookupError, ray.exceptions.RayError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return struck, wrong
