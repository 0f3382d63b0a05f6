"""For each kind of failure: how long until the VM answers again, and until the cluster takes work.

Four hosts, a writer on esx-1 that migrates to esx-2 at 1 GbE, an idle VM on esx-3. A process is killed
at a named moment. "Told" is from then until the story has it. "Answers again" is the longest gap
between two answers to a probe every 2 ms from then on: near nothing where the VM never stopped, and
with HA's restart where it was lost. "Takes work" is from the failure until a migration of the idle VM,
asked for right after it, has started.

    python benchmarks/recovery.py
    python benchmarks/recovery.py --quick --json
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from cases import LINKS, Case
from claims import Claim, arguments, finish, markdown
from lab import Lab, ray_lab, writer_vm
from prober import Probes

from cluster.actors.cluster import ClusterFailed
from cluster.inventory.model import Mode
from cluster.migration.spec import Trigger
from cluster.policy.messages import MigrationRequested
from cluster.policy.state import PowerState

_SILENCE_S_MAX = 60.0
_LOOK_S = 0.005
_AFTER_S = 1.0
# What the story says of a failure.
_TOLD = ("failed", "center_restarted", "aborted")
# Larger than what leaves a source ahead of the network: its death in the remainder is a loss.
_CASE = Case(link="gbe", mode=Mode.HYBRID, rate_mb_s=50.0, memory_mib=384, working_set_mib=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A failure: what dies, when, and what a user should see of it."""

    name: str
    when: str
    kill: Callable[[Lab], None]
    mode: Mode = Mode.HYBRID
    expected: str = "runs on"

    @property
    def vm_back(self) -> bool:
        """Whether the VM answers again by itself."""
        return self.expected != "is off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One failure, in seconds; None is never within a minute, or nothing to tell."""

    told_s: float | None
    answers_s: float | None
    work_s: float | None
    epoch_change: int
    ended: str


def kill_host(name: str) -> Callable[[Lab], None]:
    """End a host's process, with everything that lives in it."""
    return lambda lab: ray.kill(lab.cluster.hosts[name])


def kill_center(lab: Lab) -> None:
    """End VirtualCenter's process."""
    os.kill(ray.get(lab.cluster.center.process.remote()), signal.SIGKILL)


def kill_vm(lab: Lab) -> None:
    """End the VM's process."""
    place = ray.get(lab.cluster.center.locate.remote("vm"))
    os.kill(ray.get(place.vm.process.remote()), signal.SIGKILL)


def kill_pager(role: str) -> Callable[[Lab], None]:
    """End a host's pager or page server."""

    def kill(lab: Lab) -> None:
        for pid in processes_of(role):
            os.kill(pid, signal.SIGKILL)

    return kill


def processes_of(role: str) -> list[int]:
    """Return the processes of this machine that a nursery has given a role."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue  # it has ended meanwhile
            if name == role:
                found.append(int(entry.name))
    return found


KINDS = (
    Kind(name="host, with HA", when="at rest", kill=kill_host("esx-1"), expected="restarted"),
    Kind(name="VirtualCenter", when="at rest", kill=kill_center),
    Kind(name="VM's process", when="at rest", kill=kill_vm, expected="is off"),
    Kind(name="VirtualCenter", when="precopying", kill=kill_center),
    Kind(
        name="source's host, with HA",
        when="precopying",
        kill=kill_host("esx-1"),
        expected="restarted",
    ),
    Kind(name="destination's host", when="precopying", kill=kill_host("esx-2")),
    Kind(
        name="source's host, with HA",
        when="remainder",
        kill=kill_host("esx-1"),
        mode=Mode.POSTCOPY,
        expected="restarted",
    ),
    Kind(
        name="destination's host, with HA",
        when="remainder",
        kill=kill_host("esx-2"),
        mode=Mode.POSTCOPY,
        expected="restarted",
    ),
    Kind(
        name="destination's pager",
        when="remainder",
        kill=kill_pager("pager"),
        mode=Mode.POSTCOPY,
    ),
    Kind(
        name="source's page server",
        when="remainder",
        kill=kill_pager("page_server"),
        mode=Mode.POSTCOPY,
    ),
)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--times", type=int, help="of each kind, instead of the script's own")
    options = parser.parse_args()
    kinds = KINDS[:3] if options.quick else KINDS
    times = options.times or (1 if options.quick else 2)
    found: dict[Kind, list[Recovery]] = {}
    runs = [kind for kind in kinds for _ in range(times)]
    with ray_lab():
        for number, kind in enumerate(runs, start=1):
            one = once(kind)
            found.setdefault(kind, []).append(one)
            told = f"{number} of {len(runs)}: {kind.name} killed, {kind.when}: {one}"
            print(told, file=sys.stderr, flush=True)
    if not options.json:
        print(table(found))
    return finish(
        [claim for kind in found for claim in claims_of(kind, found[kind])], as_json=options.json
    )


def once(kind: Kind) -> Recovery:
    """Break one thing in a fresh cluster and look until all is well again."""
    with tempfile.TemporaryDirectory(prefix="vmotion-recovery-") as place:
        return _once(kind, Path(place) / "vmotion.db")


def _once(kind: Kind, database: Path) -> Recovery:
    idle = replace(_CASE, rate_mb_s=0.0, memory_mib=16, working_set_mib=1)
    lab = Lab(
        [writer_vm("vm", _CASE), writer_vm("idle", idle, on="esx-3")],
        link_bytes_per_second=LINKS[_CASE.link],
        hosts=4,
        ha=True,
        database=database,
    )
    try:
        prober = lab.prober("vm")
        ray.get(prober.begin.remote())
        if kind.when == "at rest":
            time.sleep(_AFTER_S)
        else:
            ask(lab, "vm", "esx-2", kind.mode)
            until_phase(lab, kind.when)
        failed_s = time.monotonic()
        kind.kill(lab)
        ask(lab, "idle", "esx-4", Mode.HYBRID)
        seen = look(lab, kind, failed_s)
        time.sleep(_AFTER_S)
        probes: Probes = ray.get(prober.end.remote(), timeout=_SILENCE_S_MAX)
    finally:
        lab.stop()
    gaps = [
        (later - one, after - before)
        for one, later, before, after in zip(
            probes.answered_s,
            probes.answered_s[1:],
            probes.epochs,
            probes.epochs[1:],
            strict=False,
        )
        if later >= failed_s
    ]
    return Recovery(
        told_s=seen.told_s,
        answers_s=max(gap for gap, _ in gaps) if gaps and seen.well and kind.vm_back else None,
        work_s=seen.work_s,
        epoch_change=sum(change for _, change in gaps),
        ended=seen.ended,
    )


def ask(lab: Lab, vm: str, destination: str, mode: Mode) -> None:
    """Ask for a migration; again while VirtualCenter is away."""
    request = MigrationRequested(vm=vm, destination=destination, trigger=Trigger.USER, mode=mode)
    end = time.monotonic() + _SILENCE_S_MAX
    while True:
        try:
            ray.get(lab.cluster.center.request_migration.remote(request))
            return
        except ray.exceptions.RayError:
            if time.monotonic() > end:
                raise
            time.sleep(_LOOK_S)


def until_phase(lab: Lab, phase: str) -> None:
    """Return when the VM's migration is in a phase.

    Raises:
        TimeoutError: If it does not get there.
    """
    end = time.monotonic() + _SILENCE_S_MAX
    while time.monotonic() < end:
        view = lab.cluster.view()
        if any(m.progress and m.progress.phase == phase for m in view.migrations):
            time.sleep(0.1)  # in the middle of it
            return
        time.sleep(_LOOK_S)
    raise TimeoutError(f"no migration came to {phase}")


@dataclass(slots=True)
class Seen:
    """What VirtualCenter's views showed after a failure, in seconds from it."""

    told_s: float | None = None
    work_s: float | None = None
    ended: str = ""
    well: bool = False


def look(lab: Lab, kind: Kind, failed_s: float) -> Seen:
    """Look until nothing migrates and everything is up that should be."""
    seen = Seen()
    end = failed_s + _SILENCE_S_MAX
    while time.monotonic() < end and not seen.well:
        try:
            view = lab.cluster.view()
        except ClusterFailed:
            continue  # VirtualCenter is away
        since_s = time.monotonic() - failed_s
        if seen.told_s is None and any(one.record.what in _TOLD for one in view.happened):
            seen.told_s = since_s
        seen.ended = next(
            (m.outcome.result.value for m in view.ended if m.spec.vm == "vm"), seen.ended
        )
        if seen.work_s is None and (
            any(m.spec.vm == "idle" for m in view.ended)
            or any(m.spec.vm == "idle" and m.started_s is not None for m in view.migrations)
        ):
            seen.work_s = since_s
        up = {name for name, host, power in view.vms if power is PowerState.ON and host}
        expected = {"vm", "idle"} if kind.vm_back else {"idle"}
        busy = view.migrations or view.verifying or seen.work_s is None
        seen.well = not busy and up == expected
        time.sleep(_LOOK_S)
    return seen


def claims_of(kind: Kind, seen: list[Recovery]) -> list[Claim]:
    """Judge that the VM comes back as it should; show how long that took."""
    where = f"{kind.when}, {kind.mode.value}"
    back = [one for one in seen if is_back(kind, one)]
    claims = [
        Claim(
            claim=f"{kind.name} killed: {'VM answers again and ' * kind.vm_back}the cluster takes work",
            value=len(back),
            unit="times",
            bar=f"{len(seen)}",
            holds=len(back) == len(seen),
            n=len(seen),
            conditions=where,
        )
    ]
    for what, name in (
        ("it is told", "told_s"),
        ("the VM answers", "answers_s"),
        ("the cluster takes work", "work_s"),
    ):
        values = [value for one in back if (value := getattr(one, name)) is not None]
        if values:
            claims.append(
                Claim(
                    claim=f"{kind.name} killed: until {what}, longest",
                    value=max(values),
                    unit="s",
                    n=len(values),
                    conditions=where,
                )
            )
    return claims


def is_back(kind: Kind, one: Recovery) -> bool:
    """Whether all is as it should be after a failure."""
    return one.work_s is not None and (one.answers_s is not None or not kind.vm_back)


def table(found: dict[Kind, list[Recovery]]) -> str:
    """Show medians."""
    lines = []
    for kind, seen in found.items():
        back = [one for one in seen if is_back(kind, one)]
        if back:
            lines.append(
                [
                    f"{kind.name} killed",
                    f"{kind.when}, {kind.mode.value}",
                    kind.expected,
                    len(back),
                    *(_median(back, name) for name in ("told_s", "answers_s", "work_s")),
                    ", ".join(sorted({one.ended or "–" for one in back})),
                ]
            )
    head = ["what", "when", "the VM", "n", "told s", "answers again s", "takes work s"]
    return markdown([*head, "the migration"], lines)


def _median(seen: list[Recovery], name: str) -> str:
    values = [value for one in seen if (value := getattr(one, name)) is not None]
    return f"{statistics.median(values):.3f}" if values else "–"


if __name__ == "__main__":
    raise SystemExit(main())
