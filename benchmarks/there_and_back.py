"""Move a key-value VM back and forth 100 times under 4 clients: nothing lost, nothing done twice.

The clients number their requests; the guest numbers its operations in its own memory.
At the end both are compared, every write is replayed, and after every single migration
all pages were compared by hash with the source's frozen memory.

    python benchmarks/there_and_back.py
    python benchmarks/there_and_back.py --quick --json
"""

import statistics
import time

import ray
from claims import Claim, arguments, finish

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.session import ray_session
from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    ClientsSpec,
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Scenario,
    VmSpec,
)
from cluster.migration.spec import Result, Trigger
from cluster.policy.messages import MigrationRequested

_SILENCE_S_MAX = 60.0


def scenario(memory_mib: int) -> Scenario:
    """Two hosts, one VM, four clients."""
    vm = VmSpec(
        name="kv",
        memory_mib=memory_mib,
        cpu_mhz=2000.0,
        guest=GuestSpec(program="keyvalue"),
        demand=Constant(mhz=1000.0),
        clients=ClientsSpec(count=4, rate_hz=100.0),
        host="esx-1",
    )
    hosts = tuple(HostSpec(name=f"esx-{i}", cpu_mhz=9600.0, memory_mib=4096) for i in (1, 2))
    return Scenario(
        name="there-and-back",
        duration_s=1.0,
        hosts=hosts,
        vms=(vm,),
        drs=DrsSettings(enabled=False),
        migration=MigrationSettings(probe_interval_s=0.002),
    )


def move(cluster: Cluster, ended: list, verified: list, problems: list) -> None:
    """Migrate once, and look until the migration and its comparison are over."""
    want = len(verified) + 1
    request = MigrationRequested(vm="kv", destination=None, trigger=Trigger.USER)
    ray.get(cluster.center.request_migration.remote(request))
    end = time.monotonic() + _SILENCE_S_MAX
    while len(verified) < want:
        if time.monotonic() > end:
            raise TimeoutError(f"migration {want} has not ended; {problems}")
        view = cluster.view()
        ended += view.ended
        verified += view.verified
        problems += view.problems
        time.sleep(0.02)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--migrations", type=int, default=None)
    parser.add_argument("--memory-mib", type=int, default=256)
    options = parser.parse_args()
    count = options.migrations or (10 if options.quick else 100)
    memory_mib = 64 if options.quick and options.memory_mib == 256 else options.memory_mib
    with ray_session(None, namespace="there-and-back"):
        cluster = Cluster.launch(scenario(memory_mib))
        ended, verified, problems = [], [], []
        try:
            wait_until_up(cluster, lambda _: None)
            cluster.begin()
            for _ in range(count):
                move(cluster, ended, verified, problems)
            books = cluster.settle()
            audits = cluster.audit(books)
        finally:
            cluster.stop()
    completed = sum(one.outcome.result is Result.COMPLETED for one in ended)
    downtimes = sorted(o.outcome.downtime.total_s for o in ended if o.outcome.downtime)
    blackouts = sorted(gap.blackout_s for gap in books[0].gaps.values())
    settled = audits[0].settlement
    pages = sum(one.mismatched_pages for one in verified) + audits[0].mismatched_pages
    where = f"{memory_mib} MiB, 4 clients at 100 requests a second each"
    gap_free = audits[0].replayed and not audits[0].error
    return finish(
        [
            Claim(
                claim="migrations completed",
                value=completed,
                unit="migrations",
                n=count,
                bar=f"{count}",
                holds=completed == count,
                conditions=where,
            ),
            Claim(
                claim="requests lost",
                value=settled.lost,
                unit="requests",
                n=settled.sent,
                bar="0",
                holds=settled.lost == 0,
                conditions=where,
            ),
            Claim(
                claim="requests done twice",
                value=settled.duplicated,
                unit="requests",
                n=settled.sent,
                bar="0",
                holds=settled.duplicated == 0,
                conditions=where,
            ),
            Claim(
                claim="operation counter without a gap, and memory as its replay says",
                value=float(gap_free),
                unit="1 is yes",
                bar="1",
                holds=gap_free,
                conditions=audits[0].error,
            ),
            Claim(
                claim="pages that differ",
                value=pages,
                unit="pages",
                bar="0",
                holds=pages == 0,
                n=sum(one.pages for one in verified),
                conditions="all pages, every migration",
            ),
            Claim(
                claim="downtime, median",
                value=statistics.median(downtimes) * 1e3,
                unit="ms",
                n=len(downtimes),
                conditions=where,
            ),
            Claim(
                claim="client blackout, median",
                value=statistics.median(blackouts) * 1e3,
                unit="ms",
                n=len(blackouts),
                conditions="probe every 2 ms",
            ),
            Claim(
                claim="client blackout, longest",
                value=blackouts[-1] * 1e3,
                unit="ms",
                n=len(blackouts),
                conditions="probe every 2 ms",
            ),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    raise SystemExit(main())
