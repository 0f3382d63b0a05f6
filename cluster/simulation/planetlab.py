"""The PlanetLab experiment: 800 servers, a day of CPU traces of some thousand VMs, and its physics.

CloudSim 3.0.3's `power/planetlab`, as Beloglazov and Buyya 2012 describe it: 400 HP ProLiant ML110 G4
and 400 G5 in turn, four VM types in blocks of ceil(n / 4) in the order of the data, a sample each
300 s, migrations at half of 1 Gbit/s. Traces: CoMon project of PlanetLab, by CloudSim (Apache-2.0).

What CloudSim does and its text does not say, found by reproducing its figures:

- Before it starts, VMs go to the first host that has their MHz and MiB free, one VM's MHz capped at a
  core's. From then on nobody claims memory: CPU is the only capacity.
- A VM whose utilisation is 0 when it is looked at (0.1 s later with each sample, so 0 in two samples
  running) has ended, and does not come back with the trace.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.inventory.demand import Series
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    PowerSettings,
    Scenario,
    TimedEvent,
    TimedKind,
    VmSpec,
)
from drs.cost import Calibration

SAMPLE_S = 300.0
HOSTS = 800
CORES = 2
# SPECpower_ssj2008: Watts at 0, 10 … 100 % of the CPU.
G4_W = (86.0, 89.4, 92.6, 96.0, 99.5, 102.0, 106.0, 108.0, 112.0, 114.0, 117.0)
G5_W = (93.7, 97.0, 101.0, 105.0, 110.0, 116.0, 121.0, 125.0, 129.0, 133.0, 135.0)
_MODELS = ((1860.0, G4_W), (2660.0, G5_W))
HOST_MIB = 4096
_TYPES = ((2500.0, 870), (2000.0, 1740), (1000.0, 1740), (500.0, 613))
_GIGABIT = Nic(rate_bytes_per_second=125e6)
# Migrations get half of the line: the other half is left to the VMs.
CALIBRATION = Calibration(rate_efficiency_ratio=0.5)
# A program that the simulator does not know has filled its memory and writes no more: a migration
# then takes memory over rate, as in CloudSim.
_FULL_MEMORY = "planetlab"
# VMs keep no claim on memory once they are placed.
_NO_LIMIT_MIB = 1 << 24

Percent = npt.NDArray[np.uint8]


def read_day(path: Path) -> Percent:
    """Return the CPU percent of each VM, (V, samples).

    Raises:
        ValueError: If the file is not a day of PlanetLab.
    """
    try:
        with np.load(path) as found:
            percent = np.asarray(found["cpu_percent"])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: no day of PlanetLab with cpu_percent ({error})") from error
    if percent.ndim != 2 or not percent.size or not ((percent >= 0) & (percent <= 100)).all():
        raise ValueError(f"{path}: cpu_percent is not a table of 0 to 100 %, one row a VM")
    return percent.astype(np.uint8)


def planetlab(
    percent: Percent,
    *,
    power: PowerSettings,
    drs: DrsSettings,
    placed: bool,
    departures: bool = True,
    memory: bool = False,
    seed: int = 0,
) -> Scenario:
    """Return a day as a scenario.

    Args:
        placed: VMs begin where CloudSim's first fit puts them; otherwise the cluster places them.
        departures: VMs end as they do in CloudSim; otherwise all stay for the day.
        memory: Hosts have their 4 GiB, and VMs claim theirs.
    """
    count, samples = percent.shape
    kinds = np.arange(count) // -(-count // len(_TYPES))
    at = _first_fit(kinds) if placed else None
    guest = GuestSpec(program=_FULL_MEMORY)
    vms = tuple(
        VmSpec(
            name=f"vm-{vm}",
            memory_mib=_TYPES[kind][1],
            cpu_mhz=_TYPES[kind][0],
            guest=guest,
            demand=Series(
                interval_s=SAMPLE_S,
                values_mhz=tuple((percent[vm] / 100.0 * _TYPES[kind][0]).tolist()),
            ),
            host=None if at is None else f"h-{at[vm]:03}",
        )
        for vm, kind in enumerate(kinds.tolist())
    )
    return Scenario(
        name="planetlab",
        duration_s=(samples - 1) * SAMPLE_S,
        sample_s=SAMPLE_S,
        seed=seed,
        hosts=tuple(_host(at, memory) for at in range(HOSTS)),
        vms=vms,
        events=_ends(percent) if departures else (),
        drs=drs,
        power=power,
        migration=MigrationSettings(mode=Mode.PRECOPY, downtime_s_max=0.3),
    )


def _host(at: int, memory: bool) -> HostSpec:
    core_mhz, power_w = _MODELS[at % 2]
    return HostSpec(
        name=f"h-{at:03}",
        cpu_mhz=CORES * core_mhz,
        memory_mib=HOST_MIB if memory else _NO_LIMIT_MIB,
        nic=_GIGABIT,
        power_w=power_w,
    )


def _first_fit(kinds: npt.NDArray[np.int64]) -> list[int]:
    core = np.array([_MODELS[at % 2][0] for at in range(HOSTS)])
    mhz, mib = CORES * core, np.full(HOSTS, HOST_MIB)
    found = []
    for kind in kinds.tolist():
        need_mhz, need_mib = np.minimum(_TYPES[kind][0], core), _TYPES[kind][1]
        host = int(np.argmax((mhz >= need_mhz) & (mib >= need_mib)))
        mhz[host] -= need_mhz[host]
        mib[host] -= need_mib
        found.append(host)
    return found


def _ends(percent: Percent) -> tuple[TimedEvent, ...]:
    """Each VM's end, after the sample in which it was found idle; most never are."""
    idle = percent == 0
    twice = idle[:, 1:] & np.concatenate((idle[:, 2:], idle[:, -1:]), axis=1)
    ends = np.where(twice.any(axis=1), twice.argmax(axis=1) + 1, -1)
    return tuple(
        TimedEvent(at_s=end * SAMPLE_S, kind=TimedKind.POWER_OFF, vms=(f"vm-{vm}",))
        for end, vm in sorted((end, vm) for vm, end in enumerate(ends.tolist()) if end > 0)
    )
