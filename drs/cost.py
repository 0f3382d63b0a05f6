"""The one model of a migration: from memory, dirty model, rate and mode to rounds, bytes and seconds.

Everything that has to know what a migration takes asks here: the convergence rule of a running
migration, the worth of a DRS move, admission and the simulator. One `Calibration` holds what was
measured; the defaults are those of an idle two-core Linux 6.18 machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAGE_BYTES = 4096
MEBIBYTE = 1024.0 * 1024.0


class Mode(Enum):
    """How the memory reaches the destination."""

    PRECOPY = "precopy"
    POSTCOPY = "postcopy"
    HYBRID = "hybrid"
    AUTO = "auto"


class DirtyPattern(Enum):
    """How a guest spreads its writes over its working set."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyModel:
    """What a guest writes: page writes a second over a working set, in one of three patterns.

    `write_rate_bytes_per_second` is what the guest attempts (page writes a second times 4096, with
    replacement), not the distinct pages it dirties. `zipf_exponent` is used by ZIPF alone.
    """

    pattern: DirtyPattern = DirtyPattern.UNIFORM
    write_rate_bytes_per_second: float = 0.0
    working_set_bytes: float = 0.0
    zipf_exponent: float = 1.0


# Above it nothing is measured, and whole numbers become no floats.
_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Measured overheads of one installation; each default is a measurement or marked as a guess."""

    rate_efficiency_ratio: float = 0.97  # payload ÷ line rate; bar of the line-rate benchmark
    copy_rate_bytes_per_second_max: float = 3.4e9  # pulled 16–32 MiB refs between two processes
    prepare_s: float = 0.03  # destination's mapping and tracking; a guess until calibrated
    round_s: float = 0.004  # one scan-and-re-arm plus the calls of a round
    scan_s_per_gib: float = 0.0004  # a clean GiB
    scan_s_per_dirty_page: float = 0.18e-6  # 4 ms less the clean part for 20 000 dirty pages
    quiesce_s: float = 0.001  # at most one quantum of the guest
    state_bytes: float = 65536.0
    state_s: float = 0.001
    commit_s: float = 0.003
    resume_s: float = 0.001
    bitmap_bytes_per_page: float = 0.125
    demand_fault_s: float = 0.0005
    cpu_cores: float = 0.5  # of each host while a migration runs; a guess until calibrated

    def switchover_s(self) -> float:
        """Fixed part of the downtime: everything but scan, copy and the time on the wire."""
        return self.quiesce_s + self.state_s + self.commit_s + self.resume_s

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Reads what `save` wrote; ValueError names unknown or non-numeric entries, all of them."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(raw, dict):
                raise ValueError("not a table of numbers")
            return cls.of(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"calibration {path}: {error}") from error

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Calibration:
        """The defaults with these entries in their place; ValueError as `load`."""
        known = {f.name for f in fields(cls)}
        wrong = sorted(set(raw) - known)
        wrong += sorted(
            k
            for k in known & set(raw)
            if isinstance(raw[k], bool) or not isinstance(raw[k], int | float)
        )
        if wrong:
            raise ValueError(f"unknown or non-numeric: {', '.join(wrong)}")
        wrong = sorted(k for k, value in raw.items() if not 0.0 <= value < _LARGEST)
        if wrong:
            raise ValueError(f"negative or not finite: {', '.join(wrong)}")
        return cls(**{k: float(v) for k, v in raw.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a pre-copy may stop copying, and when it has to."""

    downtime_s_max: float = 0.3
    rounds_max: int = 30
    progress_ratio_max: float = (
        0.95  # a round that leaves more than this of the last is no progress
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One pre-copy round: what it sent and how long that took."""

    sent_bytes: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one migration is expected to take."""

    mode: Mode
    rounds: tuple[Round, ...]
    converged: bool
    precopy_bytes: float
    downtime_bytes: float
    postcopy_bytes: float
    downtime_s: float
    duration_s: float
    sent_bytes: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "sent_bytes", self.precopy_bytes + self.downtime_bytes + self.postcopy_bytes
        )


def distinct_pages(model: DirtyModel, seconds: ArrayLike) -> NDArray[np.float64]:
    """Expected number of distinct pages written in `seconds`; never more than the working set.

    With W page writes a second over n pages: UNIFORM n(1 - exp(-Wt/n)) (the Poisson form of the
    coupon collector, relative error below 1/n); SWEEP min(Wt, n); ZIPF sum over ranks of
    1 - exp(-Wt p_i), the ranks above 2048 in 512 bins of equal logarithmic width (within 0.5 % of
    the exact sum for exponents 0.5 to 1.5, see the tests). Broadcasts over `seconds`.
    """
    time_s = np.maximum(np.asarray(seconds, np.float64), 0.0)
    pages = model.working_set_bytes / PAGE_BYTES
    writes = model.write_rate_bytes_per_second / PAGE_BYTES * time_s
    if pages <= 0.0:
        return np.zeros_like(time_s)
    match model.pattern:
        case DirtyPattern.UNIFORM:
            return -pages * np.expm1(-writes / pages)
        case DirtyPattern.SWEEP:
            return np.minimum(writes, pages)
        case DirtyPattern.ZIPF:
            count, chance = _zipf_bins(int(np.ceil(pages)), model.zipf_exponent)
            distinct: NDArray[np.float64] = -(np.expm1(-np.multiply.outer(writes, chance)) @ count)
            return distinct


def _zipf_bins(pages: int, exponent: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ranks in each bin, chance of one page of the bin), head exact, tail in logarithmic bins."""
    head = np.arange(1, min(pages, 2048) + 1, dtype=np.float64)
    count = np.ones_like(head)
    weight = head**-exponent
    if pages > head.size:
        edges = np.unique(np.round(np.geomspace(head.size, pages, 513)))
        tail = np.diff(edges)
        middle = np.sqrt((edges[:-1] + 1.0) * edges[1:])
        count = np.concatenate((count, tail))
        weight = np.concatenate((weight, middle**-exponent))
    return count, weight / float(count @ weight)


def effective_rate(rate_bytes_per_second: float, calibration: Calibration) -> float:
    """Payload bytes a second on a link of the given line rate; bounded by what hosts can copy."""
    return min(
        rate_bytes_per_second * calibration.rate_efficiency_ratio,
        calibration.copy_rate_bytes_per_second_max,
    )


def expected_downtime_s(
    dirty_pages: float, rate_bytes_per_second: float, overhead_s: float
) -> float:
    """Seconds without the guest if it were stunned now: the overhead plus sending what is dirty.

    `rate_bytes_per_second` is the payload rate seen; 0 means nothing is known, and the answer is
    inf unless nothing is dirty.
    """
    if dirty_pages <= 0:
        return overhead_s
    if rate_bytes_per_second <= 0.0:
        return float("inf")
    return overhead_s + dirty_pages * PAGE_BYTES / rate_bytes_per_second


def predict(
    *,
    memory_bytes: float,
    dirty: DirtyModel,
    rate_bytes_per_second: float,
    mode: Mode = Mode.HYBRID,
    calibration: Calibration | None = None,
    limits: Limits | None = None,
) -> Prediction:
    """What a migration at this line rate takes; AUTO becomes pre-copy when that converges.

    ValueError for a rate that is not positive or memory that is negative.
    """
    if not rate_bytes_per_second > 0.0 or not memory_bytes >= 0.0:
        raise ValueError(
            f"memory {memory_bytes} B at {rate_bytes_per_second} B/s cannot be migrated"
        )
    cal = calibration or Calibration()
    bounds = limits or Limits()
    rate = effective_rate(rate_bytes_per_second, cal)
    match mode:
        case Mode.PRECOPY:
            return _predict_precopy(memory_bytes, dirty, rate, cal, bounds)
        case Mode.AUTO:
            precopy = _predict_precopy(memory_bytes, dirty, rate, cal, bounds)
            return (
                precopy
                if precopy.converged
                else _predict_flip(memory_bytes, dirty, rate, cal, rounds=1)
            )
        case Mode.HYBRID:
            return _predict_flip(memory_bytes, dirty, rate, cal, rounds=1)
        case Mode.POSTCOPY:
            return _predict_flip(memory_bytes, dirty, rate, cal, rounds=0)


def scan_s(memory_bytes: float, dirty_pages: float, calibration: Calibration) -> float:
    """Seconds of one scan of the dirty bitmap, re-arming included."""
    return (
        calibration.scan_s_per_gib * memory_bytes / 2**30
        + calibration.scan_s_per_dirty_page * dirty_pages
    )


def _predict_precopy(
    memory_bytes: float, dirty: DirtyModel, rate: float, cal: Calibration, limits: Limits
) -> Prediction:
    rounds: list[Round] = []
    sending = memory_bytes
    converged = False
    left_pages = 0.0
    for _ in range(limits.rounds_max):
        duration_s = sending / rate + cal.round_s
        rounds.append(Round(sent_bytes=sending, duration_s=duration_s))
        left_pages = float(distinct_pages(dirty, duration_s))
        overhead_s = cal.switchover_s() + scan_s(memory_bytes, left_pages, cal)
        if expected_downtime_s(left_pages, rate, overhead_s) <= limits.downtime_s_max:
            converged = True
            break
        left_bytes = left_pages * PAGE_BYTES
        # Round 0 always "leaves less"; from then on a round must shrink what is left.
        if len(rounds) > 1 and left_bytes > limits.progress_ratio_max * sending:
            break
        sending = left_bytes
    precopy_bytes = sum(r.sent_bytes for r in rounds)
    downtime_bytes = left_pages * PAGE_BYTES + cal.state_bytes
    downtime_s = cal.switchover_s() + scan_s(memory_bytes, left_pages, cal) + downtime_bytes / rate
    return Prediction(
        mode=Mode.PRECOPY,
        rounds=tuple(rounds),
        converged=converged,
        precopy_bytes=precopy_bytes,
        downtime_bytes=downtime_bytes,
        postcopy_bytes=0.0,
        downtime_s=downtime_s,
        duration_s=cal.prepare_s + sum(r.duration_s for r in rounds) + downtime_s,
    )


def _predict_flip(
    memory_bytes: float, dirty: DirtyModel, rate: float, cal: Calibration, *, rounds: int
) -> Prediction:
    """Post-copy (no round before the switchover) or hybrid (one): the bitmap goes, the rest follows."""
    sent = memory_bytes if rounds else 0.0
    copying_s = sent / rate + cal.round_s if rounds else 0.0
    left_pages = float(distinct_pages(dirty, copying_s)) if rounds else memory_bytes / PAGE_BYTES
    bitmap_bytes = memory_bytes / PAGE_BYTES * cal.bitmap_bytes_per_page
    downtime_bytes = bitmap_bytes + cal.state_bytes
    # What the final scan sees is only the last interval: the bulk was harvested before the stun.
    downtime_s = cal.switchover_s() + scan_s(memory_bytes, 0.0, cal) + downtime_bytes / rate
    remainder_bytes = left_pages * PAGE_BYTES
    mode = Mode.HYBRID if rounds else Mode.POSTCOPY
    return Prediction(
        mode=mode,
        rounds=(Round(sent_bytes=sent, duration_s=copying_s),) if rounds else (),
        converged=True,
        precopy_bytes=sent,
        downtime_bytes=downtime_bytes,
        postcopy_bytes=remainder_bytes,
        downtime_s=downtime_s,
        duration_s=cal.prepare_s + copying_s + downtime_s + remainder_bytes / rate,
    )


def durations_s(
    memory_bytes: ArrayLike,
    dirty_rate_bytes_per_second: ArrayLike,
    *,
    rate_bytes_per_second: float,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """Seconds of a hybrid migration for many VMs at once, (V,) float64: what DRS plans with.

    Equals `predict(mode=HYBRID).duration_s` for a SWEEP guest whose working set is its memory (a
    monitor reports distinct pages a second and no working set), so the remainder is an upper bound.
    """
    cal = calibration or Calibration()
    rate = effective_rate(rate_bytes_per_second, cal)
    memory = np.asarray(memory_bytes, np.float64)
    copying_s = memory / rate + cal.round_s
    remainder = np.minimum(np.asarray(dirty_rate_bytes_per_second, np.float64) * copying_s, memory)
    bitmap = memory / PAGE_BYTES * cal.bitmap_bytes_per_page + cal.state_bytes
    downtime_s = cal.switchover_s() + cal.scan_s_per_gib * memory / 2**30 + bitmap / rate
    total: NDArray[np.float64] = cal.prepare_s + copying_s + downtime_s + remainder / rate
    return total
