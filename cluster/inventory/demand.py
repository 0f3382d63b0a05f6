"""CPU demand of a VM over time, in MHz: pure functions of the seconds since it began."""

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same demand for ever."""

    mhz: float

    def at(self, time_s: float) -> float:
        return self.mhz


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Demand that jumps: `points` are (from this second on, MHz), ascending.

    Before the first point the demand is that of the first point.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, time_s: float) -> float:
        index = bisect_right(self.points, (time_s, math.inf)) - 1
        return self.points[max(index, 0)][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sine:
    """A wave around `mean_mhz`; never below 0."""

    mean_mhz: float
    amplitude_mhz: float
    period_s: float
    phase_s: float = 0.0

    def at(self, time_s: float) -> float:
        angle = 2 * math.pi * (time_s - self.phase_s) / self.period_s
        return max(0.0, self.mean_mhz + self.amplitude_mhz * math.sin(angle))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A trace's column: `values_mhz[i]` holds from `i * interval_s` on; the last one stays."""

    interval_s: float
    values_mhz: tuple[float, ...]

    def at(self, time_s: float) -> float:
        index = min(max(int(time_s / self.interval_s), 0), len(self.values_mhz) - 1)
        return self.values_mhz[index]


Demand = Constant | Steps | Sine | Series
