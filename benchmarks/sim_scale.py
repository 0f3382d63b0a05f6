"""How fast virtual time passes: whole clusters for a day, with and without DRS.

Each case runs in a process of its own, because peak memory is a process's. CPU seconds are the
simulation's alone, after the imports and the making of the scenario. Demand is a daily wave
with noise, a sample each 300 s; migrations, all pre-copy, are without DRS asked for by the scenario, evenly
over the day. --plot writes how time grows with the cluster as one HTML page.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from claims import Claim, arguments, finish

from cluster.inventory.demand import Series
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    TimedEvent,
    TimedKind,
    VmSpec,
)

DAY_S = 86_400.0
SAMPLE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cluster; a bar of None is only reported."""

    hosts: int
    vms: int
    migrations: int = 0
    drs: bool = False
    cpu_s_max: float | None = None
    wall_s_max: float | None = None
    gib_max: float | None = None

    @property
    def name(self) -> str:
        how = "DRS each 300 s" if self.drs else f"{self.migrations} migrations"
        return f"{self.hosts} hosts, {self.vms} VMs, 24 h, {how}"


QUICK = (
    Case(hosts=100, vms=1_000, drs=True, wall_s_max=20.0),
    Case(hosts=1_000, vms=10_000, migrations=5_760, cpu_s_max=10.0),
)
GROWTH = (
    Case(hosts=10, vms=100, migrations=500),
    Case(hosts=30, vms=300, migrations=500),
    Case(hosts=100, vms=1_000, migrations=500),
    Case(hosts=300, vms=3_000, migrations=500),
    Case(hosts=10, vms=100, drs=True),
    Case(hosts=30, vms=300, drs=True),
    Case(hosts=300, vms=3_000, drs=True),
)
LARGE = Case(hosts=1_000, vms=10_000, drs=True, wall_s_max=300.0, gib_max=2.0)


def scenario(case: Case, *, seed: int) -> Scenario:
    """Return a cluster whose load goes up and down by day, each VM in a phase of its own."""
    rng = np.random.default_rng(seed)
    samples = int(DAY_S / SAMPLE_S) + 1
    day = 2 * np.pi * np.arange(samples) / (samples - 1)
    nic = Nic(rate_bytes_per_second=1.25e9)
    guest = GuestSpec(program="writer", params=(("rate_mb_s", 50.0), ("working_set_mib", 256)))

    def demand() -> Series:
        wave = rng.uniform(200, 1500) * (1 + 0.5 * np.sin(day + rng.uniform(0, 2 * np.pi)))
        noisy = np.clip(wave + rng.normal(0, 150, samples), 0, None)
        return Series(values_mhz=noisy, interval_s=SAMPLE_S)

    return Scenario(
        name="scale",
        duration_s=DAY_S,
        sample_s=SAMPLE_S,
        seed=seed,
        hosts=tuple(
            HostSpec(name=f"esx-{at}", cpu_mhz=20_000.0, memory_mib=131_072, nic=nic)
            for at in range(case.hosts)
        ),
        vms=tuple(
            VmSpec(
                name=f"vm-{at}",
                memory_mib=4096,
                cpu_mhz=2500.0,
                guest=guest,
                demand=demand(),
                host=f"esx-{at % case.hosts}",
            )
            for at in range(case.vms)
        ),
        events=tuple(
            TimedEvent(
                at_s=(at + 0.5) * DAY_S / case.migrations,
                kind=TimedKind.MIGRATE,
                vms=(f"vm-{rng.integers(case.vms)}",),
                destination=f"esx-{rng.integers(case.hosts)}",
            )
            for at in range(case.migrations)
        ),
        migration=MigrationSettings(mode=Mode.PRECOPY, downtime_s_max=0.3),
        drs=DrsSettings(enabled=case.drs, interval_s=SAMPLE_S, window_s=SAMPLE_S),
    )


def measure(case: Case) -> dict[str, float]:
    """Simulate it and return what that took."""
    from cluster.simulation.run import simulate

    made = scenario(case, seed=1)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    run = simulate(made)
    return {
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "completed": run.summary.migrations.completed,
        "refused": run.summary.migrations.refused,
        "passes": run.summary.drs.passes,
    }


def in_own_process(case: Case) -> dict[str, float]:
    numbers = (case.hosts, case.vms, case.migrations, int(case.drs))
    command = [sys.executable, __file__, "--one", *map(str, numbers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    told = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
    print(f"{case.name}: {told}", file=sys.stderr)
    return found


def claims(case: Case, found: dict[str, float]) -> list[Claim]:
    done = f"{found['completed']:.0f} migrations completed, {found['passes']:.0f} passes"
    rows = (
        ("CPU time", "cpu_s", "s", case.cpu_s_max),
        ("wall time", "wall_s", "s", case.wall_s_max),
        ("peak memory", "peak_gib", "GiB", case.gib_max),
    )
    return [
        Claim(
            claim=f"{case.name}: {what}",
            value=found[key],
            unit=unit,
            bar="" if most is None else f"<= {most:g}",
            holds=most is None or found[key] <= most,
            conditions=done,
        )
        for what, key, unit, most in rows
    ]


def plot(path: Path, found: dict[Case, dict[str, float]]) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for drs, name in ((False, "without DRS"), (True, "with DRS each 300 s")):
        cases = sorted((case for case in found if case.drs is drs), key=lambda case: case.vms)
        figure.add_scatter(
            x=[case.vms for case in cases],
            y=[found[case]["cpu_s"] for case in cases],
            text=[case.name for case in cases],
            mode="lines+markers",
            name=name,
        )
    figure.update_xaxes(type="log", title="VMs, ten on each host")
    figure.update_yaxes(type="log", title="CPU seconds for a day")
    figure.update_layout(title="A simulated day against the cluster", template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)


def main() -> int:
    parser: argparse.ArgumentParser = arguments(__doc__ or "")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write an HTML page")
    parser.add_argument("--one", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        hosts, vms, migrations, drs = options.one
        case = Case(hosts=hosts, vms=vms, migrations=migrations, drs=bool(drs))
        print(json.dumps(measure(case)))
        return 0
    cases = QUICK if options.quick else (*QUICK, *GROWTH, LARGE)
    found = {case: in_own_process(case) for case in cases}
    if options.plot is not None:
        plot(options.plot, found)
    rows = [claim for case, values in found.items() for claim in claims(case, values)]
    return finish(rows, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
