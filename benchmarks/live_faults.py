"""Live injections of the fault matrix: real hosts, real memory, real kills. Not a benchmark.

`benchmarks/faults.py --live N` counts them. The seed draws the fault, the command at which it
strikes, and the mode; afterwards everything outside the cluster that knows something is asked:
the register of runners, the clients' books, and the replay of all memory.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
from faulty_host import Breakage, FaultyHost
from register import Register

import cluster.actors.cluster as cluster_module
from cluster.actors.cluster import Cluster, wait_until_up
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
from cluster.policy.messages import MigrationRequested
from cluster.policy.state import HostState, PowerState

SILENCE_S_MAX = 90.0
GIGABIT = 125e6
HOSTS = ("esx-1", "esx-2", "esx-3")
_COMMANDS = ("Prepare", "SendDirty", "Stun", "SendState", "Commit", "Resume", "Unregister")
_LATE = ("SendRemainder",)
# Row, what breaks, at which commands. A lost answer of a send fails it.
FAULTS = (
    ("F1", "cancel", (*_COMMANDS, *_LATE)),
    ("F2", "kill source", (*_COMMANDS, *_LATE)),
    ("F3", "kill destination", (*_COMMANDS, *_LATE)),
    ("F5", "lose answer", ("Commit", "Resume", "Unregister")),
    ("F6", "kill pager", _LATE),
    ("F7", "lose answer", ("SendDirty", "SendState", "SendRemainder")),
    ("F14", "stop center", ("Commit",)),
)
KILLS = ("kill source", "kill destination")


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
        cases = [(row, what, command) for row, what, commands in FAULTS for command in commands]
        row, what, command = cases[seed % len(cases)]
        rng = np.random.default_rng(seed)
        modes = (Mode.HYBRID, Mode.POSTCOPY)
        if command == "SendDirty":
            modes = (Mode.HYBRID, Mode.PRECOPY)
        elif command != "SendRemainder":
            modes = (Mode.HYBRID, Mode.POSTCOPY, Mode.PRECOPY)
        # A handler that has done its work is gone already.
        after = what == "lose answer" or (what != "kill pager" and bool(rng.integers(2)))
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


def scenario(port: int) -> Scenario:
    """Three hosts with HA, one VM under clients that reports to the register."""
    vm = VmSpec(
        name="vm",
        memory_mib=32,
        cpu_mhz=2000.0,
        guest=GuestSpec(
            program="reporting_guest:Reporting",
            file=str(Path(__file__).with_name("reporting_guest.py")),
            params=(("ramp_mib", 16), ("register_port", port)),
        ),
        demand=Constant(mhz=1000.0),
        clients=ClientsSpec(count=2, rate_hz=50.0),
        host="esx-1",
        seed=1,
    )
    hosts = tuple(
        HostSpec(name=name, cpu_mhz=9600.0, memory_mib=1024, nic=Nic(rate_bytes_per_second=GIGABIT))
        for name in HOSTS
    )
    return Scenario(
        name="faults",
        duration_s=1.0,
        hosts=hosts,
        vms=(vm,),
        drs=DrsSettings(enabled=False),
        ha=HaSettings(enabled=True, failures_tolerated=0),
        migration=MigrationSettings(stall_s_max=5.0),
    )


class Bench:
    """A cluster of faulty hosts, and what was seen of it."""

    def __init__(self) -> None:
        self.register = Register()
        cluster_module.Host = FaultyHost
        self.cluster = Cluster.launch(scenario(self.register.port))
        self.views: list = []
        self.lost = False
        wait_until_up(self.cluster, self.views.append)
        self.cluster.begin()

    def stop(self) -> None:
        """Take it down."""
        self.cluster.stop()
        self.register.__exit__()

    def look(self):
        self.views.append(self.cluster.view())
        return self.views[-1]

    def until(self, true: Callable[[], object], what: str) -> None:
        """Look until it is so.

        Raises:
            TimeoutError: If it does not become so.
        """
        end = time.monotonic() + SILENCE_S_MAX
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain for {what}: {self.story()[-8:]}")
            time.sleep(0.02)

    def story(self) -> list[str]:
        return [one.record.text for view in self.views for one in view.happened]

    def where(self) -> str | None:
        return next(
            (host for _, host, power in self.look().vms if power is PowerState.ON and host), None
        )

    def inject(self, one: Injection) -> tuple[bool, list[str]]:
        """Break one migration; return whether it struck, and every law that does not hold.

        Raises:
            TimeoutError: If the cluster does not come to rest afterwards.
        """
        source = self.where()
        there = next(host for host in HOSTS if host != source and self.alive(host))
        host = self.cluster.hosts[source]
        armed = one.breakage
        if armed.what == "stop center":
            armed = Breakage(
                what=armed.what, command=armed.command, after=armed.after, center_pid=self.center()
            )
        ray.get(host.arm.remote("vm", armed), timeout=SILENCE_S_MAX)
        seen = len(self.views)
        request = MigrationRequested(
            vm="vm", destination=there, trigger=Trigger.USER, mode=one.mode
        )
        ray.get(self.cluster.center.request_migration.remote(request), timeout=SILENCE_S_MAX)
        self.until(lambda: self.ended(seen), "its end")
        self.until(self.at_rest, "rest")
        outcome = self.ended(seen)[0].outcome
        struck = armed.what == "kill source" and not self.alive(source)
        if not struck and self.alive(source):
            struck = ray.get(host.struck.remote("vm"), timeout=SILENCE_S_MAX)
        happened = [one.record.what for view in self.views[seen:] for one in view.happened]
        if outcome.result is Result.LOST or "restarted" in happened:
            self.lost = True  # HA starts it anew: its memory is gone, and that is said
        return struck, self.judge(outcome, seen, source, there)

    def judge(self, outcome, seen: int, source: str, there: str) -> list[str]:
        """Ask whoever is outside the cluster."""
        wrong = [f"two runners of {vm}" for vm in self.register.two_runners()]
        wrong += [text for view in self.views[seen:] for text in view.problems]
        wrong += [
            f"{one.mismatched_pages} pages differ"
            for view in self.views[seen:]
            for one in view.verified
            if one.mismatched_pages
        ]
        at = self.where()
        expected = {Result.COMPLETED: there, Result.ABORTED: source, Result.REFUSED: source}
        wanted = expected.get(outcome.result)
        if wanted is not None and at != wanted and self.alive(wanted):
            wrong.append(f"{outcome.result.value}, and the VM is on {at}")
        if not self.moves():
            wrong.append("the VM stands still")
        return wrong

    def moves(self) -> bool:
        """Whether the guest's reports go on."""
        before = self.register.runs().get("vm")
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            now = self.register.runs().get("vm")
            if now is not None and (before is None or now.reports > before.reports + 3):
                return True
            time.sleep(0.02)
        return False

    def ended(self, seen: int) -> list:
        self.look()
        return [one for view in self.views[seen:] for one in view.ended]

    def at_rest(self) -> bool:
        """Nothing migrates, nothing is compared, and HA has restarted what was lost."""
        view = self.look()
        up = all(power is PowerState.ON and host for _, host, power in view.vms)
        return up and not view.migrations and not view.verifying

    def alive(self, name: str) -> bool:
        host = next(host for host in self.views[-1].hosts if host.name == name)
        return host.state is not HostState.NOT_RESPONDING

    def center(self) -> int:
        """Return the process of VirtualCenter."""
        found = [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if _title(entry).startswith("ray::VirtualCenter") and _parent_is_ours(int(entry.name))
        ]
        if len(found) != 1:
            raise LookupError(f"VirtualCenter's process: {found}")
        return found[0]

    def settle(self) -> list[str]:
        """Stop the clients and replay everything; a VM that HA restarted has new counters."""
        books = self.cluster.settle()
        audits = self.cluster.audit(books)
        wrong = [f"two runners of {vm}" for vm in self.register.two_runners()]
        for audit in audits:
            if self.lost:
                continue
            settled = audit.settlement
            wrong += [audit.error] if audit.error else []
            wrong += [f"{settled.lost} requests lost"] if settled.lost else []
            wrong += [f"{settled.duplicated} done twice"] if settled.duplicated else []
            wrong += [f"{audit.mismatched_pages} pages"] if audit.mismatched_pages else []
        return wrong


def _title(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def _parent_is_ours(pid: int) -> bool:
    """Whether a process belongs to the Ray that this script started, by its session directory."""
    from cluster.actors.reaper import MARK

    directory = os.environ.get(MARK, "")
    try:
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        mine = f"{MARK}={directory}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return mine or any(directory and link.startswith(directory) for link in links)


def inject_live(results: dict, wanted: int, save: Callable[[], None]) -> None:
    """Inject that many more faults; each kill gets a cluster of its own, others share one."""
    done = 0
    with ray_session(None, namespace="faults"):
        bench: Bench | None = None
        try:
            while done < wanted:
                one = Injection.drawn(results["next_live_seed"])
                wrong: list[str] = []
                bench = bench or Bench()
                struck = False
                try:
                    struck, wrong = bench.inject(one)
                    kills = one.breakage.what in KILLS
                    if kills or wrong:
                        wrong += bench.settle()
                        bench.stop()
                        bench = None
                except (TimeoutError, LookupError, ray.exceptions.RayError) as error:
                    wrong = [f"{type(error).__name__}: {error}"]
                    bench.stop()
                    bench = None
                row = results["live"].setdefault(one.row, {"injections": 0, "violations": 0})
                row["injections"] += struck
                row["violations"] += bool(wrong)
                results["violations"] += [f"live, {one} : {text}" for text in wrong]
                results["next_live_seed"] += 1
                done += 1
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
