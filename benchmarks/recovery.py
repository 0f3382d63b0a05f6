"""For each kind of failure: how long until the VM answers again, and until the cluster takes work.

Three hosts, a writer on esx-1 that migrates to esx-2 at 1 GbE, an idle VM on esx-3. A process is killed
at a named moment. "Answers again" is the longest gap between two answers to a probe every 2 ms from
then on: near nothing where the VM never stopped, and with HA's restart where it was lost. "Takes
work" is from the failure until a migration of the idle VM, asked for right after it, has started.

    python benchmarks/recovery.py
    python benchmarks/recovery.py --quick --json
"""

import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from cases import LINKS, Case
from claims import Claim, arguments, finish, markdown
from lab import Lab, ray_lab, writer_vm
from prober import Probes

from cluster.inventory.model import Mode
from cluster.migration.spec import Trigger
from cluster.policy.messages import MigrationRequested
from cluster.policy.state import PowerState

_SILENCE_S_MAX = 60.0
_LOOK_S = 0.005
_AFTER_S = 1.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One failure, in seconds; None is never within a minute."""

    answers_s: float | None
    work_s: float | None
    epoch_change: int
    ended: str


def kill_host(name: str) -> Callable[[Lab], None]:
    """End a host's process, with everything that lives in it."""
    return lambda lab: ray.kill(lab.cluster.hosts[name])


def kill_pager(module: str) -> Callable[[Lab], None]:
    """End a host's pager or page server."""

    def kill(lab: Lab) -> None:
        for pid in processes_of(module):
            os.kill(pid, signal.SIGKILL)

    return kill


def processes_of(module: str) -> list[int]:
    """Return the processes of this machine that run a module of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue  # it has ended meanwhile
            if module in words:
                found.append(int(entry.name))
    return found


KINDS = (
    Kind(name="host, with HA", when="at rest", kill=kill_host("esx-1"), expected="restarted"),
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
        kill=kill_pager("cluster.memory.pager"),
        mode=Mode.POSTCOPY,
    ),
    Kind(
        name="source's page server",
        when="remainder",
        kill=kill_pager("cluster.memory.page_server"),
        mode=Mode.POSTCOPY,
    ),
)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--times", type=int, help="of each kind, instead of the script's own")
    options = parser.parse_args()
    kinds = KINDS[:1] + KINDS[2:3] if options.quick else KINDS
    times = options.times or (1 if options.quick else 5)
    found: dict[Kind, list[Recovery]] = {}
    with ray_lab():
        for kind in kinds:
            for _ in range(times):
                one = once(kind)
                found.setdefault(kind, []).append(one)
                print(f"{kind.name} killed, {kind.when}: {one}", file=sys.stderr, flush=True)
    if not options.json:
        print(table(found))
    return finish(
        [claim for kind in found for claim in claims_of(kind, found[kind])], as_json=options.json
    )


def once(kind: Kind) -> Recovery:
    """Break one thing in a fresh cluster and look until all is well again."""
    idle = replace(_CASE, rate_mb_s=0.0, memory_mib=16, working_set_mib=1)
    lab = Lab(
        [writer_vm("vm", _CASE), writer_vm("idle", idle, on="esx-3")],
        link_bytes_per_second=LINKS[_CASE.link],
        hosts=4,
        ha=True,
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
        work_s, ended, well = look(lab, failed_s)
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
        answers_s=max(gap for gap, _ in gaps) if gaps and well else None,
        work_s=work_s,
        epoch_change=sum(change for _, change in gaps),
        ended=ended,
    )


def ask(lab: Lab, vm: str, destination: str, mode: Mode) -> None:
    """Ask for a migration."""
    request = MigrationRequested(vm=vm, destination=destination, trigger=Trigger.USER, mode=mode)
    ray.get(lab.cluster.center.request_migration.remote(request))


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


def look(lab: Lab, failed_s: float) -> tuple[float | None, str, bool]:
    """Look until nothing migrates and the VM is up; return when work began, and how it ended."""
    work_s, ended = None, ""
    end = failed_s + _SILENCE_S_MAX
    while time.monotonic() < end:
        view = lab.cluster.view()
        for one in view.ended:
            if one.spec.vm == "vm":
                ended = one.outcome.result.value
            elif work_s is None:
                work_s = time.monotonic() - failed_s
        if work_s is None and any(
            m.spec.vm == "idle" and m.started_s is not None for m in view.migrations
        ):
            work_s = time.monotonic() - failed_s
        up = {name for name, host, power in view.vms if power is PowerState.ON and host}
        if not view.migrations and not view.verifying and {"vm", "idle"} <= up:
            return work_s, ended, True
        time.sleep(_LOOK_S)
    return work_s, ended, False


def claims_of(kind: Kind, seen: list[Recovery]) -> list[Claim]:
    """Judge that the VM comes back as it should; show how long that took."""
    where = f"{kind.when}, {kind.mode.value}"
    back = [one for one in seen if one.answers_s is not None and one.work_s is not None]
    claims = [
        Claim(
            claim=f"{kind.name} killed: VM answers again and the cluster takes work",
            value=len(back),
            unit="times",
            bar=f"{len(seen)}",
            holds=len(back) == len(seen),
            n=len(seen),
            conditions=where,
        )
    ]
    if back:
        claims += [
            Claim(
                claim=f"{kind.name} killed: until the VM answers, longest",
                value=max(one.answers_s for one in back),
                unit="s",
                n=len(back),
                conditions=where,
            ),
            Claim(
                claim=f"{kind.name} killed: until the cluster takes work, longest",
                value=max(one.work_s for one in back),
                unit="s",
                n=len(back),
                conditions=where,
            ),
        ]
    return claims


def table(found: dict[Kind, list[Recovery]]) -> str:
    """Show medians."""
    lines = []
    for kind, seen in found.items():
        back = [one for one in seen if one.answers_s is not None and one.work_s is not None]
        if back:
            lines.append(
                [
                    f"{kind.name} killed",
                    f"{kind.when}, {kind.mode.value}",
                    kind.expected,
                    len(back),
                    f"{statistics.median(one.answers_s for one in back):.3f}",
                    f"{statistics.median(one.work_s for one in back):.3f}",
                    ", ".join(sorted({one.ended or "–" for one in back})),
                ]
            )
    head = ["what", "when", "the VM", "n", "answers again s", "takes work s", "the migration"]
    return markdown(head, lines)


if __name__ == "__main__":
    raise SystemExit(main())
