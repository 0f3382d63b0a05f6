"""How long a scrape of a large cluster takes, and how large it is: 1,000 hosts and 10,000 VMs.

A simulation of such a cluster fills the endpoint: its migrations, hosts and passes, and for each
VM every series that it can have. The endpoint is fed a sample of all hosts and VMs each second
while it is scraped, as a run feeds it, and is asked as Prometheus asks, compressed. A scrape is
timed from the request to the last byte.

python benchmarks/scrape.py
python benchmarks/scrape.py --quick
"""

import gzip
import json
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from claims import Claim, arguments, finish
from sim_scale import Case, scenario

from cluster.observe.exporter import Exporter
from cluster.observe.openmetrics import RunRows, replay
from cluster.observe.record import Engine
from cluster.observe.serving import MetricsServer
from cluster.simulation.run import simulate

CASE = Case(hosts=1_000, vms=10_000, migrations=288_000)
SIMULATED_S = 1_200.0  # 4,000 of those migrations, four samples
SCRAPE_S_MAX = 1.0
SILENCE_S_MAX = 600.0
# What Prometheus 2.53 asks with.
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """Some scrapes of one endpoint; bytes and series are the last one's."""

    seconds: list[float]
    sent_bytes: int
    text_bytes: int
    series: int


def serve(*, per_vm: bool) -> None:
    """Simulate, serve until stdin closes, and feed meanwhile; say where on stdout."""
    whole = scenario(CASE, seed=1)
    events = tuple(event for event in whole.events if event.at_s < SIMULATED_S)
    lab = replace(whole, duration_s=SIMULATED_S, events=events)
    run = simulate(lab)
    exporter = Exporter(per_vm=per_vm)
    rows = RunRows(
        scenario=lab,
        engine=Engine.SIMULATED,
        migrations=run.migrations,
        timeline=run.timeline,
        passes=run.passes,
    )
    replay(exporter, rows)
    moved = run.migrations[0]
    for vm in lab.vms:  # as if each had moved once more
        exporter.migration_ended(replace(moved, vm=vm.name), epoch=2)
    last_s = run.timeline[-1].time_s
    sample = [row for row in run.timeline if row.time_s == last_s]
    stopping = threading.Event()

    def feed() -> None:
        rng = np.random.default_rng(1)
        while not stopping.wait(1.0):
            served = rng.uniform(0.8, 1.0, len(lab.vms)).tolist()
            exporter.sampled(
                sample,
                interval_s=1.0,
                resource_imbalance={"cpu": 0.1, "memory": 0.05},
                unmet_demand_ratio=0.01,
                rule_violations=0,
                happiness={row.host: 0.99 for row in sample},
                vm_happiness=dict(zip((vm.name for vm in lab.vms), served, strict=True)),
            )

    feeding = threading.Thread(target=feed)
    feeding.start()
    with MetricsServer(exporter.metrics, port=0) as server:
        told = {"url": server.url, "migrations": len(run.migrations)}
        print(json.dumps(told), flush=True)
        sys.stdin.read()
    stopping.set()
    feeding.join()


def scrape(url: str, *, count: int) -> Scraped:
    """Scrape every half second."""
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        request = urllib.request.Request(url, headers=HEADERS)
        with urllib.request.urlopen(request, timeout=60) as reply:
            body = reply.read()
        taken.append(time.perf_counter() - began)
        time.sleep(0.5)
    text = gzip.decompress(body).decode()
    series = sum(not line.startswith("#") for line in text.splitlines())
    return Scraped(
        seconds=taken, sent_bytes=len(body), text_bytes=len(text.encode()), series=series
    )


def measured(*, per_vm: bool, count: int) -> list[Claim]:
    """Serve in a process of its own and scrape it."""
    command = [sys.executable, __file__, "--serve", *([] if per_vm else ["--no-vm"])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        found = scrape(told["url"], count=count)
        process.stdin.close()
    what = "a scrape" if per_vm else "a scrape without metrics of VMs"
    conditions = f"{found.series:,} series, after {told['migrations']:,} simulated migrations"
    longest = max(found.seconds)
    return [
        Claim(
            claim=f"{what}, median",
            value=median(found.seconds),
            unit="s",
            n=count,
            conditions=conditions,
        ),
        Claim(
            claim=f"{what}, longest",
            value=longest,
            unit="s",
            bar=f"under {SCRAPE_S_MAX:g}" if per_vm else None,
            holds=longest < SCRAPE_S_MAX or not per_vm,
            n=count,
        ),
        Claim(
            claim=f"{what}, text",
            value=found.text_bytes / 1e6,
            unit="MB",
            conditions=f"{found.sent_bytes / 1e6:.2f} MB compressed",
        ),
    ]


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--serve", action="store_true", help="be the process that is scraped")
    parser.add_argument("--no-vm", action="store_true", help="of --serve: no metrics of VMs")
    options = parser.parse_args()
    if options.serve:
        serve(per_vm=not options.no_vm)
        return 0
    count = 20 if options.quick else 100
    claims = measured(per_vm=True, count=count)
    if not options.quick:
        claims += measured(per_vm=False, count=count)
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
