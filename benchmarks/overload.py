"""More than a machine can do: a hundred migrations asked for at once, busy VMs, clients, scrapes.

64 key-value VMs on 8 hosts answer a thousand requests a second when a hundred migrations are asked
for in one burst: one for each VM, and 36 a second time, which must be refused with a
reason. Prometheus' page is fetched every second meanwhile. Shown is what waits and for how long: the
queue, the slowest answer that a client got, the slowest scrape; each request for a migration
must have an end that somebody can read, and no client's request may be lost or done twice.

    python benchmarks/overload.py
    python benchmarks/overload.py --quick --json
"""

import resource
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import ray
from claims import Claim, arguments, finish

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.recording import Recorder
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
from cluster.observe.exporter import Exporter
from cluster.observe.serving import MetricsServer
from cluster.policy.messages import MigrationRequested
from cluster.policy.state import PowerState

_SCRAPE_EVERY_S = 1.0
_SCRAPE_S_MAX = 30.0
_BEFORE_S = 5.0
_LOOK_S = 0.25
_SILENCE_S_MAX = 120.0


@dataclass(slots=True)
class Scrapes:
    """Fetches the metrics page again and again, on a thread of its own."""

    url: str
    took_s: list[float] = field(default_factory=list)
    failed: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Fetch until `stop`."""
        while not self._over.wait(_SCRAPE_EVERY_S):
            began = time.monotonic()
            try:
                urllib.request.urlopen(self.url, timeout=_SCRAPE_S_MAX).read()
                self.took_s.append(time.monotonic() - began)
            except (OSError, urllib.error.URLError):
                self.failed += 1

    def stop(self) -> None:
        """Fetch no more."""
        self._over.set()


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was waiting, at each look."""

    queued_max: int = 0
    running_max: int = 0
    drained_s: float = 0.0


def scenario(hosts: int, vms: int, rate_hz: float) -> Scenario:
    """Busy VMs, spread evenly; DRS stays out of it."""
    return Scenario(
        name="overload",
        duration_s=600.0,
        hosts=tuple(
            HostSpec(name=f"esx-{i}", cpu_mhz=48_000.0, memory_mib=8192) for i in range(hosts)
        ),
        vms=tuple(
            VmSpec(
                name=f"vm-{i}",
                memory_mib=16,
                cpu_mhz=2000.0,
                guest=GuestSpec(program="keyvalue"),
                demand=Constant(mhz=1500.0),
                clients=ClientsSpec(count=1, rate_hz=rate_hz / vms),
                host=f"esx-{i % hosts}",
            )
            for i in range(vms)
        ),
        drs=DrsSettings(enabled=False),
        # Ten times the usual: a step that takes long here is slow and not silent for good.
        migration=MigrationSettings(stall_s_max=100.0),
    )


def burst(hosts: int, vms: int, asked: int) -> list[MigrationRequested]:
    """Every VM to its neighbour, and the first ones again, elsewhere."""
    return [
        MigrationRequested(
            vm=f"vm-{i % vms}",
            destination=f"esx-{(i % vms + 1 + i // vms) % hosts}",
            trigger=Trigger.USER,
        )
        for i in range(asked)
    ]


def drain(cluster: Cluster, recorder: Recorder, began_s: float) -> Seen:
    """Look until nothing migrates and all is compared.

    Raises:
        TimeoutError: If nothing has changed for two minutes.
    """
    seen, before, heard_s = Seen(), None, time.monotonic()
    while True:
        view = cluster.view()
        recorder.look(view, cluster)
        started = sum(one.started_s is not None for one in view.migrations)
        seen.queued_max = max(seen.queued_max, len(view.migrations) - started)
        seen.running_max = max(seen.running_max, started)
        if not view.migrations and not view.verifying:
            seen.drained_s = time.monotonic() - began_s
            return seen
        now = (view.migrations, view.verifying, len(recorder.migrations))
        if now != before:
            before, heard_s = now, time.monotonic()
        elif time.monotonic() - heard_s > _SILENCE_S_MAX:
            raise TimeoutError(f"{len(view.migrations)} migrations wait and nothing happens")
        time.sleep(_LOOK_S)


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    hosts, vms, asked, rate_hz = (4, 16, 25, 250.0) if options.quick else (8, 64, 100, 1000.0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    world = scenario(hosts, vms, rate_hz)
    exporter = Exporter()
    recorder = Recorder(world, exporter)
    with ray_session(None, namespace="overload"), MetricsServer(exporter) as server:
        scrapes = Scrapes(server.url)
        scraping = threading.Thread(target=scrapes.run)
        cluster = Cluster.launch(world)
        try:
            up = wait_until_up(cluster, lambda view: recorder.look(view, cluster))
            if any(power is not PowerState.ON for _, _, power in up.vms):
                raise SystemExit("not every VM has started")
            cluster.begin()
            time.sleep(_BEFORE_S)
            scraping.start()
            counted = ray.get(cluster.load.counts.remote())
            began = time.monotonic()
            calls = [
                cluster.center.request_migration.remote(one) for one in burst(hosts, vms, asked)
            ]
            ray.get(calls)
            accepted_s = time.monotonic() - began
            print(f"{asked} asked for in {accepted_s:.2f} s", file=sys.stderr, flush=True)
            seen = drain(cluster, recorder, began)
            answered = ray.get(cluster.load.counts.remote())[1] - counted[1]
            books = cluster.settle()
            recorder.finish({book.vm: book.gaps for book in books})
            audits = cluster.audit(books)
        finally:
            scrapes.stop()
            cluster.stop()
        if scraping.is_alive():
            scraping.join()
    where = f"{hosts} hosts, {vms} VMs, {asked} migrations at once, {rate_hz:g} requests/s offered"
    return finish(
        claims_of(recorder, seen, scrapes, books, audits, asked, accepted_s, answered, where),
        as_json=options.json,
    )


def claims_of(
    recorder, seen, scrapes, books, audits, asked, accepted_s, answered, where
) -> list[Claim]:
    """Judge that everything has an end and nothing is lost; show how long it took."""
    results = Counter(row.result for row in recorder.migrations)
    silent = asked - sum(results.values())
    nameless = sum(
        not row.error for row in recorder.migrations if row.result is not Result.COMPLETED
    )
    lost = sum(audit.settlement.lost for audit in audits)
    twice = sum(audit.settlement.duplicated for audit in audits)
    sent = sum(audit.settlement.sent for audit in audits)
    differ = recorder.mismatched_pages + sum(audit.mismatched_pages for audit in audits)
    wrong = [*recorder.problems, *(f"{a.vm}: {a.error}" for a in audits if a.error)]
    words = ", ".join(f"{count} {result.value}" for result, count in results.items())
    downtimes = [row.downtime_s for row in recorder.migrations if row.downtime_s]

    def zero(claim: str, value: float, unit: str, n: int, conditions: str = where) -> Claim:
        return Claim(
            claim=claim,
            value=value,
            unit=unit,
            bar="0",
            holds=value == 0,
            n=n,
            conditions=conditions,
        )

    return [
        zero("migrations asked for without an end", silent, "migrations", asked, words),
        zero("migrations that did not complete and say no reason", nameless, "migrations", asked),
        zero("requests lost", lost, "requests", sent),
        zero("requests done twice", twice, "requests", sent),
        zero("pages that differ", differ, "pages", len(audits)),
        zero("problems", len(wrong), "problems", 1, "; ".join(wrong)[:500]),
        zero("scrapes that failed", scrapes.failed, "scrapes", len(scrapes.took_s)),
        Claim(claim="until all requests for migrations were taken", value=accepted_s, unit="s"),
        Claim(
            claim="until the last migration had ended and was compared",
            value=seen.drained_s,
            unit="s",
        ),
        Claim(
            claim="migrations waiting, most at a look",
            value=seen.queued_max,
            unit="migrations",
            bar=f"<= {asked}",
            holds=seen.queued_max <= asked,
            conditions=f"{seen.running_max} running at most",
        ),
        Claim(
            claim="requests answered meanwhile",
            value=answered / seen.drained_s,
            unit="1/s",
            n=answered,
            conditions=where,
        ),
        Claim(
            claim="slowest answer to a client",
            value=max(book.latency_s_max for book in books),
            unit="s",
            n=sent,
        ),
        Claim(
            claim="downtime, median",
            value=statistics.median(downtimes) * 1e3 if downtimes else 0.0,
            unit="ms",
            n=len(downtimes),
        ),
        Claim(
            claim="downtime, longest",
            value=max(downtimes, default=0.0) * 1e3,
            unit="ms",
            n=len(downtimes),
        ),
        Claim(
            claim="scrape, median",
            value=statistics.median(scrapes.took_s) if scrapes.took_s else 0.0,
            unit="s",
            n=len(scrapes.took_s),
        ),
        Claim(
            claim="scrape, longest",
            value=max(scrapes.took_s, default=0.0),
            unit="s",
            n=len(scrapes.took_s),
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
