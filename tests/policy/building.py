"""Small clusters, and a Center driven by hand: one event, one second."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from cluster.inventory.demand import Constant
from cluster.inventory.licence_terms import Product
from cluster.inventory.licences import NO_LICENCES, LicenceSettings
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.migration.spec import Downtime, MigrationSpec, Outcome, Result, Trigger, not_begun
from cluster.policy.center import Center
from cluster.policy.facts import HostLoad, VmLoad
from cluster.policy.messages import (
    CalendarTold,
    Command,
    CommitRequested,
    Event,
    HostConnected,
    LoadSampled,
    MigrationEnded,
    MigrationRequested,
    PowerOn,
    Record,
    Started,
    StartMigration,
    VmStarted,
)

GIGABIT = 125e6
TODAY_S = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()


def host(name: str, **fields) -> HostSpec:
    """1000 MHz, 1024 MiB, an unlimited card."""
    return HostSpec(**{"name": name, "cpu_mhz": 1000.0, "memory_mib": 1024, **fields})


def vm(name: str, on: str | None = None, **fields) -> VmSpec:
    """256 MiB, 100 MHz of demand."""
    return VmSpec(
        **{
            "name": name,
            "memory_mib": 256,
            "cpu_mhz": 500.0,
            "guest": GuestSpec(program="idle"),
            "demand": Constant(mhz=100.0),
            "host": on,
            **fields,
        }
    )


def scenario(hosts, vms, **fields) -> Scenario:
    """No DRS unless it is asked for."""
    made = {
        "name": "test",
        "duration_s": 60.0,
        "hosts": tuple(host(h) if isinstance(h, str) else h for h in hosts),
        "vms": tuple(vms),
        "drs": DrsSettings(enabled=False),
    }
    return Scenario(**{**made, **fields})


def outcome(result: Result = Result.COMPLETED, error: str = "", **fields) -> Outcome:
    """What a machine reports."""
    return replace(not_begun(error, now=0.0), result=result, **fields)


class Hand:
    """A Center whose hosts and VMs do at once what they are told, migrations apart."""

    def __init__(self, scenario: Scenario, *, seed: int = 0, serves_faults: bool = True) -> None:
        self.center = Center(scenario)
        self.state = self.center.state
        self.rng = np.random.default_rng(seed)
        self.now = 0.0
        self.serves_faults = serves_faults

    def send(self, event: Event, *, at: float | None = None) -> tuple[Command, ...]:
        self.now = self.now + 1.0 if at is None else at
        return self.center.handle(event, now=self.now, rng=self.rng)

    def acts(self, event: Event, *, at: float | None = None) -> list[Command]:
        """The commands that somebody has to carry out."""
        return [c for c in self.send(event, at=at) if not isinstance(c, Record)]

    def notes(self, event: Event, *, at: float | None = None) -> list[str]:
        """The story's sentences."""
        return [c.text for c in self.send(event, at=at) if isinstance(c, Record)]

    def up(self) -> "Hand":
        """Tell the day, connect all hosts, start all VMs and the clock, at second 0."""
        if self.state.scenario.licences != NO_LICENCES:
            self.send(CalendarTold(unix_s=TODAY_S), at=0.0)
        for spec in self.state.scenario.hosts:
            event = HostConnected(host=spec.name, serves_faults=self.serves_faults)
            self.start(self.send(event, at=0.0))
        self.send(Started(), at=0.0)
        return self

    def start(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, PowerOn):
                self.send(VmStarted(vm=command.vm, epoch=command.epoch), at=self.now)

    def request(self, vm: str, destination: str | None, **fields) -> tuple[Command, ...]:
        return self.send(
            MigrationRequested(vm=vm, destination=destination, trigger=Trigger.USER, **fields)
        )

    def begun(self, vm: str, destination: str | None, **fields) -> MigrationSpec:
        """Ask for a migration that starts at once."""
        commands = self.request(vm, destination, **fields)
        (spec,) = (c.spec for c in commands if isinstance(c, StartMigration))
        return spec

    def commit(self, spec: MigrationSpec, **fields) -> Command:
        """The answer to the commit."""
        event = CommitRequested(**{"migration": spec.id, "epoch": spec.epoch, **fields})
        (answer,) = self.send(event)
        return answer

    def complete(self, spec: MigrationSpec, **fields) -> list[Command]:
        """Commit, and end well."""
        self.commit(spec)
        return self.acts(MigrationEnded(migration=spec.id, outcome=outcome(**fields)))

    def load(self, host: str, **demand_mhz: float) -> None:
        """A host's sample."""
        loads = tuple(
            VmLoad(vm=name.replace("_", "-"), demand_mhz=mhz, granted_mhz=mhz)
            for name, mhz in demand_mhz.items()
        )
        self.send(LoadSampled(load=HostLoad(host=host, vms=loads)))

    def where(self) -> dict[str, str | None]:
        return {name: vm.host for name, vm in self.state.vms.items()}


def slow(downtime_s: float) -> Downtime:
    """A downtime of which nothing is copying."""
    return Downtime(commit_s=downtime_s)


# Enough of everything, from a vendor of the scenario's own.
LICENCES = LicenceSettings(products=((Product.ENTERPRISE, 9), (Product.VIRTUALCENTER, 1)))
LIMITS_OF_ONE = MigrationSettings(per_host_max=1)
SLOW_CARD = Nic(rate_bytes_per_second=GIGABIT)
