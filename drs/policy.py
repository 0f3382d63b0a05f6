"""How DRS should behave: migration threshold, automation, limits, and how long it may think."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from drs.cost import Calibration
from drs.model import Automation, Problem, ProblemKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBudget:
    """So many search steps: the same snapshot, policy and seed give the same plan, on any machine."""

    steps: int = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineBudget:
    """Search until `deadline_s` on the clock that gave `now`; what is found depends on the machine."""

    deadline_s: float


Budget = StepBudget | DeadlineBudget


class Preference(Enum):
    """What to do with moves that the greedy needed and a better search does not."""

    FEWER_MOVES = "fewer_moves"
    EVENER = "evener"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an administrator decides. Every field has the default that ships.

    `migration_threshold` 1 (mandatory only) … 5 (any improvement). `weights` by resource name: what
    counts in the imbalance, all equal when None. `goodness_min`: smallest drop of the imbalance that
    the greedy takes. `preference`: spend the search on the same balance with fewer moves, or on a
    better balance with as many. `cost_benefit` False: a move need not pay. `stable_s`: how long the load is
    expected to last. `move_overhead_s`: what a migration costs beside its duration.
    """

    migration_threshold: int = 3
    automation: Automation = Automation.FULLY_AUTOMATED
    weights: Mapping[str, float] | None = None
    moves_max: int | None = None
    moves_per_host_max: int | None = None
    vms_per_host_max: int | None = None
    concurrent_max: int | None = None
    concurrent_per_host_max: int = 8  # VMware's limit on a 10 GbE host; 4 on 1 GbE
    rate_bytes_per_second: float = 1.25e9
    cooldown_s: float = 600.0
    stable_s: float = 3600.0
    cost_benefit: bool = True
    goodness_min: float = 1e-6
    preference: Preference = Preference.FEWER_MOVES
    move_overhead_s: float = 5.0
    calibration: Calibration = field(default_factory=Calibration)

    def problems(self) -> tuple[Problem, ...]:
        """Everything wrong with this policy, all at once."""
        checks = (
            ("migration_threshold", 1 <= self.migration_threshold <= 5, "must be 1 to 5"),
            (
                "automation",
                self.automation is not Automation.DISABLED,
                "cannot be disabled for the cluster",
            ),
            (
                "rate_bytes_per_second",
                0.0 < self.rate_bytes_per_second < math.inf,
                "must be positive",
            ),
            ("concurrent_per_host_max", self.concurrent_per_host_max >= 1, "must be at least 1"),
            (
                "concurrent_max",
                self.concurrent_max is None or self.concurrent_max >= 1,
                "must be at least 1",
            ),
            ("moves_max", self.moves_max is None or self.moves_max >= 0, "must not be negative"),
            (
                "moves_per_host_max",
                self.moves_per_host_max is None or self.moves_per_host_max >= 1,
                "must be positive",
            ),
            (
                "vms_per_host_max",
                self.vms_per_host_max is None or self.vms_per_host_max >= 1,
                "must be positive",
            ),
            ("cooldown_s", 0.0 <= self.cooldown_s < math.inf, "must not be negative"),
            ("stable_s", 0.0 <= self.stable_s < math.inf, "must not be negative"),
            ("move_overhead_s", 0.0 <= self.move_overhead_s < math.inf, "must not be negative"),
            ("goodness_min", 0.0 <= self.goodness_min < math.inf, "must not be negative"),
            (
                "weights",
                self.weights is None
                or (
                    all(0.0 <= w < math.inf for w in self.weights.values())
                    and any(self.weights.values())
                ),
                "must be numbers from 0 on, not all 0",
            ),
        )
        return tuple(
            Problem(
                kind=ProblemKind.NOT_A_NUMBER,
                subject=name,
                message=f"policy: {name} {text}",
                fatal=True,
            )
            for name, holds, text in checks
            if not holds
        )
