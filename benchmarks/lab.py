"""Two live hosts and VMs that go from one to the other and back. Not a benchmark.

After every migration all pages are compared with the source's frozen memory, unless the lab is
not to verify: then a VM can be compared with its replayed writes.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from cases import Case
from prober import Prober
from stories import Steps, steps_of

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.session import ray_session
from cluster.actors.verifying import Audit
from cluster.inventory.demand import Constant
from cluster.inventory.model import (
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
from cluster.memory.tracker import TrackerKind
from cluster.migration.spec import Outcome, Result, Trigger
from cluster.policy.messages import MigrationRequested

PROBE_INTERVAL_S = 0.002
# Looking costs the machine that is measured.
_LOOK_S = 0.2
_STALL_S_MAX = 30.0
_SILENCE_S_MAX = 60.0


@dataclass(slots=True)
class Moved:
    """What VirtualCenter says of one migration that has ended and been compared."""

    outcome: Outcome
    epoch: int
    total_s: float
    steps: Steps
    host_cpu_s: float
    mismatched_pages: int = 0
    served: object = None


@contextmanager
def ray_lab(namespace: str = "lab") -> Iterator[None]:
    """Start a Ray of its own for all cases of a script."""
    with ray_session(None, namespace=namespace):
        yield


class Lab:
    """Two live hosts, esx-1 and esx-2, and VMs that go from one to the other and back."""

    def __init__(
        self,
        vms: Sequence[VmSpec],
        *,
        link_bytes_per_second: float | None,
        migrations_at_once_max: int = 8,
        tracker: TrackerKind | None = None,
        hosts: int = 2,
        ha: bool = False,
        verify: bool = True,
        database: Path | None = None,
        standby_processes: int = MigrationSettings().standby_processes,
    ) -> None:
        """Start the cluster, and return when every VM runs where its spec says.

        With a database VirtualCenter begins again when it dies.
        """
        memory_mib = 2 * sum(vm.memory_mib for vm in vms) + 1024
        specs = tuple(
            HostSpec(
                name=f"esx-{i}",
                cpu_mhz=100_000.0,  # guests run at full speed: what slows them is the machine
                memory_mib=memory_mib,
                nic=Nic(rate_bytes_per_second=link_bytes_per_second),
            )
            for i in range(1, hosts + 1)
        )
        self.scenario = Scenario(
            name="lab",
            duration_s=1.0,
            hosts=specs,
            vms=tuple(vms),
            drs=DrsSettings(enabled=False),
            ha=HaSettings(enabled=ha, failures_tolerated=0),
            migration=MigrationSettings(
                probe_interval_s=PROBE_INTERVAL_S,
                verify=verify,
                per_host_max=migrations_at_once_max,
                # A VM's process starts in seconds when others keep the machine busy.
                stall_s_max=_STALL_S_MAX,
                standby_processes=standby_processes,
            ),
        )
        self.cluster = Cluster.launch(self.scenario, tracker=tracker, database=database)
        try:
            wait_until_up(self.cluster, _say_problems)
            # The scenario's clock alone: its clients stay silent, we probe ourselves.
            ray.get(self.cluster.center.begin.remote())
        except BaseException:
            self.cluster.stop()
            raise
        self.at = {vm.name: vm.host for vm in vms}
        self._pids = [host.facts.pid for host in self.cluster.view().hosts]

    def prober(self, vm: str, *, interval_s: float = PROBE_INTERVAL_S) -> "ray.actor.ActorHandle":
        """Return a new prober of a VM, in a process of its own."""
        made = ray.remote(num_cpus=0, max_concurrency=100)(Prober)
        return made.remote(vm, self.cluster.center, interval_s=interval_s)

    def move(self, names: Sequence[str], mode: Mode) -> dict[str, Moved]:
        """Migrate VMs at once to the other host; return when all have been compared.

        Raises:
            TimeoutError: If nothing moves for a minute; the message says what was seen last.
        """
        began, cpu_s = time.monotonic(), self._cpu_s()
        for name in names:
            there = "esx-2" if self.at[name] == "esx-1" else "esx-1"
            request = MigrationRequested(
                vm=name, destination=there, trigger=Trigger.USER, mode=mode
            )
            ray.get(self.cluster.center.request_migration.remote(request))
        found: dict[str, Moved] = {}
        compared: dict[str, object] = {}
        heard_s, before = time.monotonic(), None
        while set(found) != set(names) or any(
            one.outcome.result is Result.COMPLETED and name not in compared
            for name, one in found.items()
        ):
            time.sleep(_LOOK_S)
            view = self.cluster.view()
            now = time.monotonic()
            for one in view.ended:
                found[one.spec.vm] = Moved(
                    outcome=one.outcome,
                    epoch=one.spec.epoch,
                    total_s=now - began,
                    steps=steps_of(one.story, one.outcome.started_s),
                    host_cpu_s=self._cpu_s() - cpu_s,
                )
                if one.outcome.result is Result.COMPLETED:
                    self.at[one.spec.vm] = one.spec.destination
            compared |= {one.vm: one for one in view.verified}
            seen = [(m.spec.id, m.progress) for m in view.migrations], len(found), len(compared)
            if seen != before:
                heard_s, before = now, seen
            if now - heard_s > _SILENCE_S_MAX:
                raise TimeoutError(f"{names} to move: silent for a minute after {seen}")
            _say_problems(view)
        for name, moved in found.items():
            if (check := compared.get(name)) is not None:
                # A comparison that could not be made is not an equal memory.
                moved.mismatched_pages = -1 if check.error else check.mismatched_pages
                moved.served = check.served
        return found

    def wait_for_standby(self) -> None:
        """Return when each host has as many VM processes standing by as it shall.

        Raises:
            TimeoutError: If their number does not grow for a minute.
        """
        wanted = self.scenario.migration.standby_processes
        heard_s, before = time.monotonic(), -1
        while True:
            counts = [host.standby_processes for host in self.cluster.view().hosts]
            if min(counts) == wanted:
                return
            if sum(counts) > before:
                heard_s, before = time.monotonic(), sum(counts)
            if time.monotonic() - heard_s > _SILENCE_S_MAX:
                raise TimeoutError(f"VM processes standing by: {counts} of {wanted} for a minute")
            time.sleep(_LOOK_S)

    def mismatched_with_replay(self, name: str) -> int:
        """Stun a VM for good, and return how many of its pages differ from its replayed writes."""
        host = ray.get(self.cluster.center.host_of.remote(name))
        audit: Audit = ray.get(host.audit.remote(name, []))
        return audit.mismatched_pages if audit.replayed else -1

    def _cpu_s(self) -> float:
        """CPU seconds of the hosts so far, their ended children included."""
        ticks = 0
        for pid in self._pids:
            # After the name, which may hold blanks; fields 14 to 17 of proc(5).
            known = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, known[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Take the cluster down."""
        self.cluster.stop()


def writer_vm(name: str, case: Case, *, seed: int = 1, on: str = "esx-1") -> VmSpec:
    """Return a VM of filled memory that writes as the case says."""
    params = {
        "rate_mb_s": float(case.rate_mb_s),
        "working_set_mib": float(case.working_set_mib),
        "pattern": case.pattern,
        "words_per_page": 8,
        "filled": True,
    }
    return VmSpec(
        name=name,
        memory_mib=case.memory_mib,
        cpu_mhz=1000.0,
        guest=GuestSpec(program="writer", params=tuple(sorted(params.items()))),
        demand=Constant(mhz=1000.0),
        host=on,
        seed=seed,
    )


def _say_problems(view: object) -> None:
    for problem in view.problems:
        print(f"problem: {problem}", file=sys.stderr, flush=True)
