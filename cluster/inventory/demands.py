"""From a demand as the file says it to the demand of each VM, traces read and checked."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cluster.inventory.demand import Constant, Demand, Series, Sine, Steps
from cluster.inventory.demand_tables import (
    ConstantDemand,
    SineDemand,
    StepsDemand,
    TraceDemand,
    UniformDemand,
)
from cluster.inventory.fields import MHZ_MAX
from cluster.inventory.problems import Findings, Key
from cluster.inventory.trace import Trace, TraceError, Values, read_trace

Shape = float | ConstantDemand | StepsDemand | SineDemand | UniformDemand | TraceDemand
NONE = Constant(mhz=0.0)
# A file that was cut or exported badly is wrong in all columns: nobody reads a line for each.
BAD_COLUMNS_MAX = 5


@dataclass(slots=True, kw_only=True)
class TraceShelf:
    """The trace files of one scenario, each read once.

    Attributes:
        directory: Of the scenario file; relative paths start there.
    """

    directory: Path
    _read: dict[str, Trace | TraceError] = field(default_factory=dict)

    def take(self, name: str) -> Trace:
        """The trace at that path.

        Raises:
            TraceError: If it cannot be used.
        """
        if name not in self._read:
            try:
                self._read[name] = read_trace(self.directory / name)
            except TraceError as error:
                self._read[name] = error
        found = self._read[name]
        if isinstance(found, TraceError):
            raise TraceError(found.wrong, found.right)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where each VM of a group gets its demand from.

    Attributes:
        columns: VM i takes the i-th; the only one is everybody's.
        percent: Whether `columns` are percent of the VM's CPU.
    """

    same: Demand = NONE
    columns: tuple[Values, ...] = ()
    interval_s: float = 1.0
    percent: bool = False

    @property
    def differs(self) -> bool:
        """Whether one VM's demand may differ from another's."""
        return self.percent or len(self.columns) > 1

    def of(self, index: int, *, cpu_mhz: float) -> Demand:
        """The demand of the group's VM `index`, counted from 0."""
        if not self.columns:
            return self.same
        values = self.columns[index if len(self.columns) > 1 else 0]
        scale = cpu_mhz / 100 if self.percent else 1.0
        return Series(interval_s=self.interval_s, values_mhz=tuple((values * scale).tolist()))


def source_of(
    shape: Shape,
    *,
    key: Key,
    vms: int,
    span_s: float,
    seed: int,
    shelf: TraceShelf,
    findings: Findings,
) -> Source:
    """What `shape` means for `vms` VMs over `span_s` seconds; `seed` is the scenario's.

    Mistakes go to `findings` under `key`; the demand is then none.
    """
    match shape:
        case ConstantDemand(constant=mhz):
            return Source(same=Constant(mhz=mhz))
        case StepsDemand(steps=steps):
            return Source(same=_steps(steps, (*key, "steps"), findings))
        case SineDemand(sine=wave):
            return Source(same=Sine(**wave.model_dump()))
        case UniformDemand(uniform=bounds):
            return _uniform(bounds, key, vms, seed, findings)
        case TraceDemand():
            return _from_trace(shape, key, vms, span_s, shelf, findings)
        case mhz:
            return Source(same=Constant(mhz=mhz))


def _steps(steps: list[list[float]], key: Key, findings: Findings) -> Demand:
    for index, (at_s, mhz) in enumerate(steps):
        if index and at_s <= steps[index - 1][0]:
            wrong = f"{at_s:g} s does not come after {steps[index - 1][0]:g} s"
            findings.add((*key, index), wrong, "times in ascending order, each once")
        if at_s < 0 or not 0 <= mhz <= MHZ_MAX:
            wrong = f"[{at_s:g}, {mhz:g}] is out of range"
            findings.add((*key, index), wrong, "seconds and MHz of 0 or more")
    return Steps(points=tuple((at_s, mhz) for at_s, mhz in steps))


def _uniform(bounds: list[float], key: Key, vms: int, seed: int, findings: Findings) -> Source:
    """Draws by seed and table, so that another table leaves these VMs as they are."""
    lowest, highest = bounds
    if lowest > highest:
        wrong = f"{lowest:g} MHz is more than {highest:g}"
        findings.add((*key, "uniform"), wrong, "the lowest first")
        return Source()
    table = [zlib.crc32(str(part).encode()) for part in key]
    drawn = np.random.default_rng([seed, *table]).uniform(lowest, highest, vms)
    return Source(columns=tuple(drawn.reshape(-1, 1)))


def _from_trace(
    shape: TraceDemand, key: Key, vms: int, span_s: float, shelf: TraceShelf, findings: Findings
) -> Source:
    """The columns wanted, if nothing is wrong with the file, its clock or any of them."""
    try:
        trace = shelf.take(shape.trace)
    except TraceError as error:
        findings.add((*key, "trace"), error.wrong, error.right)
        return Source()
    names = _names(trace, shape.column, vms, (*key, "column"), findings)
    columns = _sound(trace, names, (*key, "column"), findings)
    interval_s = _interval(trace, shape, key, findings)
    shortest = min((trace.series[name].size for name in names), default=0)
    if shortest and interval_s is not None and shortest * interval_s < span_s:
        findings.add(
            (*key, "trace"),
            f"{trace.file} is too short: {shortest} samples of {interval_s:g} s for {span_s:g} s",
            f"{math.ceil(span_s / interval_s)} samples, or an interval_s of "
            f"{span_s / shortest:.4g} or more",
        )
    wanted = vms if shape.column == "each" else 1
    if len(columns) < wanted or interval_s is None:
        return Source()
    return Source(columns=columns, interval_s=interval_s, percent=shape.unit == "percent")


def _names(
    trace: Trace, column: str | int, vms: int, key: Key, findings: Findings
) -> tuple[str, ...]:
    """The columns that are wanted and are there."""
    if column != "each":
        try:
            return (trace.name_of(column),)
        except TraceError as error:
            findings.add(key, error.wrong, error.right)
            return ()
    there = tuple(trace.series)
    if len(there) < vms:
        wrong = f"{vms} VMs and {len(there)} columns in {trace.file}"
        findings.add(key, wrong, f"a column for each VM: {vms - len(there)} more, or fewer VMs")
    return there[:vms]


def _sound(trace: Trace, names: Sequence[str], key: Key, findings: Findings) -> tuple[Values, ...]:
    """The series of these names; none if one of them cannot be used."""
    columns: list[Values] = []
    mistakes: list[TraceError] = []
    for name in names:
        try:
            columns.append(trace.values(name))
        except TraceError as error:
            mistakes.append(error)
    for mistake in mistakes[:BAD_COLUMNS_MAX]:
        findings.add(key, mistake.wrong, mistake.right)
    if len(mistakes) > BAD_COLUMNS_MAX:
        rest = len(mistakes) - BAD_COLUMNS_MAX
        wrong = f"{rest} more of the {len(names)} columns wanted of {trace.file} cannot be used"
        findings.add(key, wrong, "numbers of 0 or more in every row")
    return () if mistakes else tuple(columns)


def _interval(trace: Trace, shape: TraceDemand, key: Key, findings: Findings) -> float | None:
    """The time between two samples in the run; None if there is no saying."""
    try:
        recorded_s = trace.interval_s()
    except TraceError as error:
        findings.add((*key, "trace"), error.wrong, error.right)
        return shape.interval_s
    interval_s = shape.interval_s or recorded_s
    if interval_s is None:
        wrong = f"is missing, and {trace.file} has no column time_s"
        findings.add((*key, "interval_s"), wrong, "the time between two samples in the run")
    return interval_s
