"""From a demand as the file says it to the demand of each VM, traces read and checked."""

import math
import zlib
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
    try:
        trace = shelf.take(shape.trace)
    except TraceError as error:
        findings.add((*key, "trace"), error.wrong, error.right)
        return Source()
    try:
        columns = _columns(trace, shape.column, vms)
    except TraceError as error:
        findings.add((*key, "column"), error.wrong, error.right)
        return Source()
    interval_s = shape.interval_s or trace.interval_s
    if interval_s is None:
        wrong = "is missing, and the trace has no column time_s"
        findings.add((*key, "interval_s"), wrong, "the time between two samples in the run")
        return Source()
    shortest = min(values.size for values in columns)
    if shortest * interval_s < span_s:
        findings.add(
            (*key, "trace"),
            f"the trace is too short: {shortest} samples of {interval_s:g} s for {span_s:g} s",
            f"{math.ceil(span_s / interval_s)} samples, or an interval_s of "
            f"{span_s / shortest:.4g} or more",
        )
    return Source(columns=columns, interval_s=interval_s, percent=shape.unit == "percent")


def _columns(trace: Trace, column: str | int, vms: int) -> tuple[Values, ...]:
    if column != "each":
        return (trace.values(column),)
    if len(trace.series) < vms:
        raise TraceError(f"{vms} VMs and {len(trace.series)} columns", "a column for each VM")
    return tuple(trace.values(index) for index in range(vms))
