"""The page that a host and one of its VMs share, so that neither needs a call to know.

One writer for each field. Fields are aligned 8-byte words, written and read whole.
"""

import numpy as np

from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory

_FIELDS = np.dtype(
    [
        # Written by the host.
        ("demand_mhz", np.float64),
        ("granted_mhz", np.float64),
        ("throttle_ratio", np.float64),
        ("arriving", np.float64),
        # Written by the VM.
        ("guest_s", np.float64),
        ("steps", np.uint64),
        ("requests", np.uint64),
        ("overruns", np.uint64),
        ("step_s_max", np.float64),
        ("behind_s", np.float64),
    ]
)


def create_control_page(name: str) -> int:
    """Return the file descriptor of a new control page."""
    return create_memory(f"{name}-control", PAGE_BYTES)


class ControlPage:
    """The fields by name.

    Attributes (host): `demand_mhz`; `granted_mhz` of it; `throttle_ratio` of that taken away;
    `arriving` is not 0 while memory of a running VM is still on its way.
    Attributes (VM): `guest_s` of guest time granted; `steps`; `requests`; `overruns` of the
    quantum; the longest step; `behind_s` of guest time dropped because the machine itself
    was too slow.
    """

    def __init__(self, fd: int) -> None:
        self._row = map_memory(fd, PAGE_BYTES).flat[: _FIELDS.itemsize].view(_FIELDS)

    def get(self, field: str) -> float:
        """Return one field."""
        return float(self._row[field][0])

    def put(self, field: str, value: float) -> None:
        """Store one field; only its one writer may."""
        self._row[field][0] = value

    def add(self, field: str, value: float) -> None:
        """Add to a field of one's own."""
        self._row[field][0] += value

    @property
    def share(self) -> float:
        """How fast guest time runs, 0 to 1: granted of demanded, less the throttle."""
        demand, granted = self.get("demand_mhz"), self.get("granted_mhz")
        served = 1.0 if demand <= 0 else min(1.0, granted / demand)
        return served * (1.0 - self.get("throttle_ratio"))
