"""Migrate without a pause for hours while faults strike at random: nothing is lost, nothing grows.

One VM under clients, three hosts, faults that the cluster survives (cancels, lost answers, bad batches,
dead fault handlers, VirtualCenter standing still). Every few seconds memory, file descriptors,
shared memory, threads and Ray's objects are counted over all processes of the run. At the end they
must be what they were after the warm-up, within a margin, and every page and request accounted for.

    python benchmarks/soak.py --duration 7200 --plot soak.html --out soak.jsonl
    python benchmarks/soak.py --quick --json
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from claims import Claim, arguments, finish
from live_faults import KILLS, Bench, Injection

from cluster.actors.reaper import MARK, belonging
from cluster.actors.session import ray_session

_SAMPLE_S = 5.0
# What may be more at the end than after the warm-up: a share, and an amount for small numbers.
_GROWTH_MAX = {
    "rss_bytes": (0.15, 48 << 20),
    "fds": (0.05, 24),
    "shm_bytes": (0.10, 48 << 20),
    "threads": (0.05, 24),
    "processes": (0.0, 5),  # a VM process of each host may stand by, or not yet
    "objects_bytes": (0.0, 64 << 20),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All processes of the run together, between two migrations.

    Attributes:
        shm_bytes: Pages of memfds and of Ray's object store that are mapped, by process.
        objects_bytes: Held in Ray's object store.
    """

    time_s: float
    migrations: int
    faults: int
    rss_bytes: int
    fds: int
    shm_bytes: int
    threads: int
    processes: int
    objects_bytes: int


def sample(began_s: float, migrations: int, faults: int) -> Sample:
    """Count now; a process that ends meanwhile counts as far as it was read."""
    rss = fds = shm = threads = 0
    pids = belonging(os.environ[MARK], 0)
    for pid in pids:
        try:
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            rss += int(status["RssAnon"].split()[0]) << 10
            shm += int(status["RssShmem"].split()[0]) << 10
            threads += int(status["Threads"])
            fds += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (OSError, KeyError):
            continue
    total = ray.cluster_resources().get("object_store_memory", 0.0)
    free = ray.available_resources().get("object_store_memory", total)
    return Sample(
        time_s=time.monotonic() - began_s,
        migrations=migrations,
        faults=faults,
        rss_bytes=rss,
        fds=fds,
        shm_bytes=shm,
        threads=threads,
        processes=len(pids),
        objects_bytes=int(total - free),
    )


def survivable(seed: int) -> Injection | None:
    """Return the injection of a seed, None for a kill: the hosts of a soak live on."""
    one = Injection.drawn(seed)
    return None if one.breakage.what in KILLS else one


def soak(duration_s: float, out: Path | None) -> tuple[list[Sample], list[str], int, int]:
    """Run; return the samples, what went wrong, and how many migrations and faults there were."""
    samples: list[Sample] = []
    wrong: list[str] = []
    migrations = faults = 0
    with ray_session(None, namespace="soak"):
        bench = Bench()
        try:
            began_s = time.monotonic()
            seed, due_s = 0, 0.0
            while time.monotonic() - began_s < duration_s and not wrong:
                one = survivable(seed)
                seed += 1
                if one is None:
                    continue
                struck, found = bench.inject(one)
                bench.forget()
                wrong += [f"{one}: {text}" for text in found]
                migrations += 1
                faults += struck
                if time.monotonic() - began_s >= due_s:
                    samples.append(sample(began_s, migrations, faults))
                    due_s = samples[-1].time_s + _SAMPLE_S
                    print(samples[-1], file=sys.stderr, flush=True)
                    if out is not None:
                        with out.open("a") as file:
                            file.write(json.dumps(asdict(samples[-1])) + "\n")
            samples.append(sample(began_s, migrations, faults))
            wrong += bench.settle()
        finally:
            bench.stop()
    return samples, wrong, migrations, faults


def grown(samples: list[Sample]) -> list[Claim]:
    """Compare the median of the last fifth with that of the second fifth: the first warms up."""
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples[:1], samples[-fifth:]
    claims = []
    for name, (share, amount) in _GROWTH_MAX.items():
        before, after = (
            sorted(getattr(one, name) for one in part)[len(part) // 2] for part in (early, late)
        )
        margin = max(share * before, amount)
        claims.append(
            Claim(
                claim=f"{name} at the end, less after the warm-up",
                value=after - before,
                unit="bytes" if name.endswith("bytes") else name,
                bar=f"at most {margin:g}",
                holds=after - before <= margin,
                n=len(samples),
                conditions=f"{before:g} before",
            )
        )
    return claims


def plot(samples: list[Sample], path: Path) -> None:
    """Write each figure over time to one page."""
    from plotly.subplots import make_subplots

    names = list(_GROWTH_MAX)
    figure = make_subplots(rows=len(names), cols=1, shared_xaxes=True, subplot_titles=names)
    times = [one.time_s / 60 for one in samples]
    for row, name in enumerate(names, start=1):
        values = [getattr(one, name) for one in samples]
        figure.add_scatter(x=times, y=values, row=row, col=1, mode="lines", showlegend=False)
        figure.update_yaxes(rangemode="tozero", row=row, col=1)
    figure.update_xaxes(title_text="minutes", row=len(names), col=1)
    last = samples[-1]
    figure.update_layout(
        height=200 * len(names),
        title=f"{last.migrations} migrations, {last.faults} faults, {last.time_s / 60:.0f} minutes",
    )
    figure.write_html(path, include_plotlyjs=True)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--duration", type=float, default=7200.0, metavar="SECONDS")
    parser.add_argument("--plot", type=Path, help="write the figures over time to this HTML file")
    parser.add_argument("--out", type=Path, help="append each sample to this file, as JSON lines")
    options = parser.parse_args()
    duration_s = 60.0 if options.quick else options.duration
    samples, wrong, migrations, faults = soak(duration_s, options.out)
    for text in wrong:
        print(text, file=sys.stderr)
    if options.plot:
        plot(samples, options.plot)
    where = f"{faults} faults in {samples[-1].time_s:.0f} s"
    claims = [
        Claim(
            claim="laws that did not hold",
            value=len(wrong),
            unit="violations",
            bar="0",
            holds=not wrong,
            n=migrations,
            conditions=where,
        ),
        Claim(
            claim="faults that struck",
            value=faults,
            unit="faults",
            bar="at least 1",
            holds=faults > 0,
            n=migrations,
        ),
        *grown(samples),
    ]
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
