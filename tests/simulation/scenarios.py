"""Small clusters for tests, made in code; `python -m tests.simulation.scenarios SEED` replays one."""

import sys

import numpy as np

from cluster.inventory.demand import Constant, Steps
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    TimedEvent,
    TimedKind,
    VmSpec,
)
from cluster.simulation.faults import drawn_faults
from cluster.simulation.run import simulate
from cluster.simulation.seat import WorldBroken
from drs import StepBudget

# DRS's own search is not what these tests look at.
QUICK = StepBudget(steps=1)
HALF = Constant(mhz=500.0)
GBE = Nic(rate_bytes_per_second=1.25e8)


def host(name, cpu_mhz=4000.0, memory_mib=1024, nic=GBE):
    return HostSpec(name=name, cpu_mhz=cpu_mhz, memory_mib=memory_mib, nic=nic)


def vm(name, *, demand=HALF, on=None, memory_mib=64, rate_mb_s=0.0, working_set_mib=8, **fields):
    params = (("rate_mb_s", rate_mb_s), ("working_set_mib", working_set_mib))
    return VmSpec(
        name=name,
        memory_mib=memory_mib,
        cpu_mhz=2000.0,
        guest=GuestSpec(program="writer", params=params),
        demand=demand,
        host=on,
        **fields,
    )


def scenario(hosts, vms, *, events=(), duration_s=30.0, drs=False, mode=Mode.PRECOPY, **fields):
    return Scenario(
        name="test",
        duration_s=duration_s,
        hosts=tuple(hosts),
        vms=tuple(vms),
        events=tuple(events),
        drs=DrsSettings(enabled=drs, threshold=5, interval_s=5.0, window_s=5.0, cooldown_s=5.0),
        migration=MigrationSettings(mode=mode, stall_s_max=3.0),
        **fields,
    )


def migrate(at_s, name, to=None, mode=None):
    return TimedEvent(at_s=at_s, kind=TimedKind.MIGRATE, vms=(name,), destination=to, mode=mode)


def cancel(at_s, name):
    return TimedEvent(at_s=at_s, kind=TimedKind.CANCEL, vms=(name,))


def power_off(at_s, name):
    return TimedEvent(at_s=at_s, kind=TimedKind.POWER_OFF, vms=(name,))


def drawn(seed):
    """A cluster of up to five hosts and thirteen VMs, with everything drawn from the seed."""
    rng = np.random.default_rng(seed)
    hosts = [
        host(f"esx-{at}", nic=Nic(rate_bytes_per_second=float(rng.choice((1.25e8, 1.25e9)))))
        for at in range(int(rng.integers(2, 6)))
    ]
    vms = [
        vm(
            f"vm-{at}",
            demand=Steps(
                points=tuple((float(t), float(rng.uniform(0, 2000))) for t in (0, 10, 20))
            ),
            memory_mib=int(rng.choice((16, 64, 128))),
            rate_mb_s=float(rng.choice((0, 10, 300))),
        )
        for at in range(int(rng.integers(2, 14)))
    ]
    happens = (migrate, cancel, power_off)
    events = [
        happens[int(rng.integers(3))](
            float(rng.uniform(0, 30)), str(rng.choice([v.name for v in vms]))
        )
        for _ in range(int(rng.integers(0, 8)))
    ]
    mode = tuple(Mode)[int(rng.integers(len(Mode)))]
    return scenario(hosts, vms, events=events, drs=True, mode=mode, seed=seed)


def failure(seed):
    """Run the drawn cluster of a seed under drawn faults; return what went wrong."""
    try:
        faulty(seed)
    except WorldBroken as error:
        return f"{error}\nreplay: python -m tests.simulation.scenarios {seed}"
    return None


def faulty(seed):
    """The drawn cluster of a seed, with the faults of that seed."""
    faults = drawn_faults(np.random.default_rng(seed), until_s=30.0)
    return simulate(drawn(seed), faults=faults, budget=QUICK)


if __name__ == "__main__":
    for event in faulty(int(sys.argv[1])).events:
        print(f"{event.time_s:10.6f} {event.text}")
