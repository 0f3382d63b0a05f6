"""Resource pools as a snapshot carries them: one node of the tree, for all resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePool:
    """A pool of the cluster, or of `parent`. Shares, reservation and limit by resource name.

    What is not named: normal shares (4000), no reservation, no limit. An expandable reservation may
    borrow what the parent has unreserved.
    """

    name: str
    parent: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    reservation: Mapping[str, float] = field(default_factory=dict)
    limit: Mapping[str, float] = field(default_factory=dict)
    expandable: bool = True
