"""Kill VirtualCenter (SIGKILL) at random moments during migrations: nothing is lost, every VM runs once.

Two migrations are under way at any time, of VMs whose clients write without pause. VirtualCenter
is killed at a random moment, Ray starts it again, and it finishes or rolls back what was under
way. After each death every host says what it runs; at the end every page and every request is
accounted for, and no process or half a migration is left over.

    python benchmarks/center_crash.py
    python benchmarks/center_crash.py --quick --json
"""

import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass

import ray
from claims import Claim, arguments, finish
from crowd import SILENCE_S_MAX, Crowd, all_on, books_claims, crowd, running

from cluster.actors.views import ClusterView
from cluster.migration.spec import Result, Trigger
from cluster.policy.messages import MigrationRequested
from cluster.policy.state import PowerState

_AT_ONCE = 2
# A migration takes a second or two here, the start of the VM's process included.
_WITHIN_S = 1.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One death. `away_s`: until VirtualCenter answered again. `wrong`: VMs not run exactly once."""

    away_s: float
    phases: tuple[str, ...]
    wrong: tuple[str, ...]


def keep_moving(crowd: Crowd, view: ClusterView, rng: random.Random) -> None:
    """Have two migrations under way."""
    moving = {one.spec.vm for one in view.migrations}
    idle = [vm for vm, _, power in view.vms if power is PowerState.ON and vm not in moving]
    at = {vm: host for vm, host, _ in view.vms}
    for vm in rng.sample(sorted(idle), max(0, min(len(idle), _AT_ONCE - len(moving)))):
        others = [host.name for host in view.hosts if host.name != at[vm]]
        wish = MigrationRequested(vm=vm, destination=rng.choice(others), trigger=Trigger.USER)
        ray.get(crowd.cluster.center.request_migration.remote(wish), timeout=SILENCE_S_MAX)


def kill_once(crowd: Crowd, rng: random.Random) -> Death:
    """Kill VirtualCenter within a migration, and wait until all is quiet again."""
    view = crowd.until(all_on, "all VMs")
    keep_moving(crowd, view, rng)
    pid = ray.get(crowd.cluster.center.process.remote(), timeout=SILENCE_S_MAX)
    time.sleep(rng.random() * _WITHIN_S)
    view = crowd.look()
    phases = [one.progress.phase for one in view.migrations if one.progress] if view else []
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    crowd.until(lambda _: _another(crowd, pid), "VirtualCenter's next life")
    away_s = time.monotonic() - killed
    crowd.quiet()
    wrong = [f"{vm} on {hosts}" for vm, hosts in crowd.places().items() if len(hosts) != 1]
    return Death(away_s=away_s, phases=tuple(phases), wrong=tuple(wrong))


def _another(crowd: Crowd, pid: int) -> bool:
    try:
        return pid != ray.get(crowd.cluster.center.process.remote(), timeout=SILENCE_S_MAX)
    except ray.exceptions.RayError:
        return False


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--kills", type=int, help="instead of the script's own number")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kills = options.kills or (5 if options.quick else 50)
    rng = random.Random(options.seed)
    scenario = crowd("center-crash", hosts=3, vms=6, memory_mib=32, rate_hz=50.0)
    deaths: list[Death] = []
    with running(scenario) as cluster:
        began = time.monotonic()
        for number in range(1, kills + 1):
            deaths.append(kill_once(cluster, rng))
            told = f"{number} of {kills}, {time.monotonic() - began:.0f} s: {deaths[-1]}"
            print(told, file=sys.stderr, flush=True)
        left = cluster.left_over()
        books, audits = cluster.settle()
    where = f"{kills} kills, seed {options.seed}, 3 hosts, 6 VMs of 32 MiB, 1 GbE"
    return finish(
        [*claims(cluster, deaths, left, where), *books_claims(cluster, books, audits, where=where)],
        as_json=options.json,
    )


def claims(cluster: Crowd, deaths: list[Death], left: int, where: str) -> list[Claim]:
    """Return what is measured of the deaths themselves."""
    wrong = [text for death in deaths for text in death.wrong]
    done = [one.outcome for one in cluster.ended if one.outcome.result is Result.COMPLETED]
    commits = [outcome.downtime.commit_s for outcome in done if outcome.downtime]
    slowest_s = max(commits, default=0.0)
    away = [death.away_s for death in deaths]
    during = sum(bool(death.phases) for death in deaths)
    return [
        Claim(
            claim="VMs that ran not exactly once after a death",
            value=len(wrong),
            unit="VMs",
            bar="0",
            holds=not wrong,
            n=len(deaths),
            conditions="; ".join([where, *wrong[:3]]),
        ),
        Claim(
            claim="processes and half migrations left over",
            value=left,
            unit="things",
            bar="0",
            holds=left == 0,
            conditions=where,
        ),
        Claim(
            claim="migrations that ended",
            value=len(cluster.ended),
            unit="migrations",
            bar="at least one a death",
            holds=len(cluster.ended) >= len(deaths),
            n=len(deaths),
            conditions=f"{len(done)} completed; {during} deaths while one was seen under way, "
            f"in {_counted([phase for death in deaths for phase in death.phases])}",
        ),
        Claim(
            claim="VirtualCenter away, median",
            value=statistics.median(away),
            unit="s",
            n=len(away),
            conditions=where,
        ),
        Claim(claim="VirtualCenter away, longest", value=max(away), unit="s", n=len(away)),
        Claim(
            claim="longest wait of a VM between stun and commit",
            value=slowest_s,
            unit="s",
            n=len(commits),
            conditions="the commit's part of a downtime, over all completed migrations",
        ),
    ]


def _counted(words: list[str]) -> str:
    return ", ".join(f"{count} × {word}" for word, count in Counter(words).most_common())


if __name__ == "__main__":
    raise SystemExit(main())
