"""Facts that hosts measure and decisions are made from; the same in both drivers."""

from dataclasses import dataclass
from typing import NamedTuple


class VmLoad(NamedTuple):
    """One VM's CPU over a sample, means in MHz; a tuple, because a simulated day makes millions."""

    vm: str
    demand_mhz: float
    granted_mhz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """A host over a sample: its VMs' means."""

    host: str
    vms: tuple[VmLoad, ...]
