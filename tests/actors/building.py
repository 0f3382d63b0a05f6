"""Small clusters for tests."""

from pathlib import Path

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    ClientsSpec,
    DrsSettings,
    GuestSpec,
    HostSpec,
    Nic,
    Scenario,
    VmSpec,
)

GIGABIT = 125e6


def host(name: str, **fields: object) -> HostSpec:
    rate = fields.pop("rate_bytes_per_second", None)
    fields = {"cpu_mhz": 8000.0, "memory_mib": 1024, **fields}
    return HostSpec(name=name, nic=Nic(rate_bytes_per_second=rate), **fields)


def vm(name: str, program: str = "keyvalue", *, on: str, file: str | None = None, **fields):
    params = fields.pop("params", {})
    fields = {
        "memory_mib": 16,
        "cpu_mhz": 2000.0,
        "demand": Constant(mhz=1000.0),
        "clients": ClientsSpec(count=2, rate_hz=50.0),
        **fields,
    }
    guest = GuestSpec(program=program, params=tuple(sorted(params.items())), file=file)
    return VmSpec(name=name, guest=guest, host=on, **fields)


def filled(name: str, *, on: str, mib: int, write_mb_s: float = 0.0, **fields):
    """A VM full of data: at 1 GbE a round takes 8 ms a MiB."""
    file = str(Path(__file__).parent / "filled_guest.py")
    params = {"fill_mib": mib, "write_mb_s": write_mb_s}
    fields = {"memory_mib": mib + 1, "clients": None, **fields}
    return vm(name, "filled_guest:Filled", on=on, file=file, params=params, **fields)


def scenario(hosts, vms, **fields) -> Scenario:
    fields = {"drs": DrsSettings(enabled=False), "sample_s": 0.2, **fields}
    return Scenario(name="test", duration_s=60.0, hosts=tuple(hosts), vms=tuple(vms), **fields)
