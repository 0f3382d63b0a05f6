"""`vmotion simulate --openmetrics`: a simulated run as samples that Prometheus can load."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cluster.inventory.model import Scenario
from cluster.observe.openmetrics import RunRows, write_openmetrics
from cluster.observe.record import Engine
from cluster.simulation.run import SimulatedRun

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesFile:
    """Where the samples go.

    Attributes:
        run: The label `run` of every series; the file's own name without its end if None.
        begin: When the run begins on a dashboard; None for the last midnight, see `begin_s`.
    """

    path: Path
    run: str | None = None
    begin: datetime | None = None

    @property
    def label(self) -> str:
        """The label `run`."""
        return self.run or self.path.stem


def write_samples(
    file: SamplesFile,
    scenario: Scenario,
    finished: SimulatedRun,
    *,
    now_s: float,
    say: Callable[[str], None],
) -> None:
    """Write the run's samples, and say how they get into Prometheus and when they are there.

    Raises:
        OSError: If the file cannot be written.
    """
    rows = RunRows(
        scenario=scenario,
        engine=Engine.SIMULATED,
        migrations=finished.migrations,
        timeline=finished.timeline,
        passes=finished.passes,
    )
    start_s = begin_s(file.begin, duration_s=finished.summary.duration_s, now_s=now_s)
    count = write_openmetrics(file.path, rows, run=file.label, start_s=start_s)
    first, last = (
        datetime.fromtimestamp(at_s, UTC).isoformat(sep=" ", timespec="seconds")
        for at_s in (start_s, start_s + finished.summary.duration_s)
    )
    say(f'samples: {file.path}, {count:,} with run="{file.label}", from {first} to {last}')
    say(f"load:    promtool tsdb create-blocks-from openmetrics {file.path} DATA")


def begin_s(begin: datetime | None, *, duration_s: float, now_s: float) -> float:
    """Return the Unix time at which a run begins on a dashboard.

    Without a time of its own it begins at the last midnight (UTC) from which it is over by
    now. So policies that are simulated one after the other lie over each other, and no
    sample is in a future that dashboards do not show. A time without a zone is UTC.
    """
    if begin is None:
        return max((now_s - duration_s) // _DAY_S, 0.0) * _DAY_S
    return (begin if begin.tzinfo else begin.replace(tzinfo=UTC)).timestamp()
