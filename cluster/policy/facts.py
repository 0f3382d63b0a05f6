"""Facts that hosts measure and decisions are made from; the same in both drivers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLoad:
    """One VM's CPU over a sample, means in MHz."""

    vm: str
    demand_mhz: float
    granted_mhz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """A host over a sample: its VMs' means."""

    host: str
    vms: tuple[VmLoad, ...]
