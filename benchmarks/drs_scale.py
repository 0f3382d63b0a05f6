"""How the time and memory of one DRS pass grow with the cluster.

Each size runs in a process of its own (peak memory is a process's), once to load the compiled code and
once measured, with a step budget. --plot writes the growth as one HTML page.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from claims import Claim, finish

SIZES = (
    (50, 500),
    (100, 1000),
    (250, 2500),
    (500, 5000),
    (1000, 10000),
    (2500, 20000),
    (5000, 30000),
)
BARS = {(1000, 10000): (5.0, 2.0), (5000, 30000): (60.0, None)}


def measure(hosts: int, vms: int) -> dict[str, float]:
    from drs import Policy, recommend
    from drs.generate import skewed_cluster

    policy = Policy(migration_threshold=5, cost_benefit=False)
    recommend(skewed_cluster(8, 100, seed=1), policy, now=0.0, rng=np.random.default_rng(0))
    snapshot = skewed_cluster(hosts, vms, seed=1)
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    plan = recommend(snapshot, policy, now=0.0, rng=np.random.default_rng(1))
    return {
        "solve_s": time.perf_counter() - begin_s,
        "cpu_s": time.process_time() - begin_cpu_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "moves": len(plan.recommendations),
        "imbalance_before": plan.imbalance_before,
        "imbalance_after": plan.imbalance_after,
    }


def in_own_process(hosts: int, vms: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(hosts), str(vms)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    sys.stderr.write(
        f"{hosts}x{vms}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()) + "\n"
    )
    return found


def plot(path: Path, found: dict[tuple[int, int], dict[str, float]]) -> None:
    import plotly.graph_objects as go

    names = [f"{h} hosts<br>{v} VMs" for h, v in found]
    figure = go.Figure()
    for key, name in (
        ("solve_s", "wall seconds"),
        ("cpu_s", "CPU seconds"),
        ("peak_gib", "peak memory, GiB"),
    ):
        figure.add_scatter(
            x=names, y=[f[key] for f in found.values()], mode="lines+markers", name=name
        )
    figure.update_yaxes(type="log", title="seconds, GiB")
    figure.update_layout(
        title="One DRS pass against the size of the cluster", template="plotly_white"
    )
    figure.write_html(path, include_plotlyjs=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="up to 1,000 hosts and 10,000 VMs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument(
        "--one", type=int, nargs=2, metavar=("HOSTS", "VMS"), help="print one measurement"
    )
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(measure(*args.one)) + "\n")
        return 0
    found = {size: in_own_process(*size) for size in (SIZES[:5] if args.quick else SIZES)}
    if args.plot is not None:
        plot(args.plot, found)
    claims: list[Claim] = []
    for (hosts, vms), values in found.items():
        seconds_max, gib_max = BARS.get((hosts, vms), (None, None))
        for key, unit, bar in (("solve_s", "s", seconds_max), ("peak_gib", "GiB", gib_max)):
            holds = bar is None or values[key] <= bar
            claims.append(
                Claim(
                    claim=f"{hosts}x{vms}: {key}",
                    value=values[key],
                    unit=unit,
                    bar=bar,
                    holds=holds,
                    n=1,
                )
            )
    return finish(claims, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
