"""How many VMs a plan may move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drs.layout import Layout
from drs.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLimits:
    """How many VMs may be away from home, in all and by host."""

    moves_max: int
    moves_per_host_max: int

    @classmethod
    def of(cls, policy: Policy) -> MoveLimits:
        none = np.iinfo(np.int64).max // 2
        return cls(
            moves_max=none if policy.moves_max is None else policy.moves_max,
            moves_per_host_max=none
            if policy.moves_per_host_max is None
            else policy.moves_per_host_max,
        )

    def hold(self, layout: Layout) -> bool:
        return (
            layout.moves_total <= self.moves_max
            and int(layout.moved.max(initial=0)) <= self.moves_per_host_max
        )
