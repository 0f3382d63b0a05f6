"""What the scenario wants at its times: demand, migrations, maintenance, failures."""

from collections import deque
from collections.abc import Iterator

from cluster.inventory.model import TimedEvent, TimedKind
from cluster.migration.spec import Trigger
from cluster.policy.messages import (
    Command,
    FailHost,
    LicenceServerBack,
    LicenceServerLost,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationRequested,
    Record,
    SetDemand,
    Topic,
)
from cluster.policy.moving import Moving
from cluster.policy.powering import Powering
from cluster.policy.state import ClusterState, VmRecord

# What the scenario asks for as a person would.
Wanted = MaintenanceRequested | MaintenanceEnded | LicenceServerLost | LicenceServerBack


class Timetable:
    """The scenario's events in the order of their times; of one time in the file's order."""

    def __init__(self, state: ClusterState, moving: Moving, powering: Powering) -> None:
        self._state = state
        self._moving = moving
        self._powering = powering
        self._events = deque(sorted(state.scenario.events, key=lambda event: event.at_s))

    @property
    def next_s(self) -> float | None:
        """When the next one is due; None before the clock starts and after the last."""
        if not self._events or self._state.began_s is None:
            return None
        return self._state.began_s + self._events[0].at_s

    def stop(self) -> None:
        """Nothing more happens."""
        self._events.clear()

    def due(self, *, now: float) -> Iterator[Command | Wanted]:
        """Let happen what is due, one thing after another."""
        while (next_s := self.next_s) is not None and next_s <= now:
            event = self._events.popleft()
            yield from self._to_vms(event, now)
            yield from _to_hosts(event)

    def _to_vms(self, event: TimedEvent, now: float) -> list[Command]:
        commands: list[Command] = []
        for name in event.vms:
            vm = self._state.vms[name]
            match event.kind:
                case TimedKind.DEMAND:
                    commands += self._change_demand(vm, event)
                case TimedKind.MIGRATE:
                    wanted = MigrationRequested(
                        vm=name,
                        destination=event.destination,
                        trigger=Trigger.SCENARIO,
                        mode=event.mode,
                    )
                    commands += self._moving.request(wanted, now=now)
                case TimedKind.CANCEL:
                    commands += self._moving.cancel(name)
                case TimedKind.POWER_ON:
                    commands += self._powering.request_on(name, None)
                case TimedKind.POWER_OFF:
                    commands += self.power_off(vm, "by the scenario")
        return commands

    def _change_demand(self, vm: VmRecord, event: TimedEvent) -> list[Command]:
        if event.demand is None:
            return []
        vm.demand, vm.demand_from_s = event.demand, event.at_s
        note = Record(
            topic=Topic.VM,
            what="demand_changed",
            text=f"{vm.spec.name}: demand is {event.demand.at(0.0):.0f} MHz now",
            fields=(("vm", vm.spec.name), ("demand_mhz", event.demand.at(0.0))),
        )
        if vm.host is None:
            return [note]
        if (record := self._state.migration_of(vm.spec.name)) is not None:
            record.demand_changed = True
        return [
            SetDemand(vm=vm.spec.name, host=vm.host, demand=event.demand, from_s=event.at_s),
            note,
        ]

    def power_off(self, vm: VmRecord, reason: str) -> list[Command]:
        """A VM that migrates is on two hosts: it ends when it is on one again."""
        record = self._state.migration_of(vm.spec.name)
        vm.restart_wanted = False
        if record is None:
            return self._powering.power_off(vm, reason)
        cancelled = self._moving.cancel(vm.spec.name)
        if record.started_s is None:
            return [*cancelled, *self._powering.power_off(vm, reason)]
        vm.off_wanted = reason
        return cancelled


def _to_hosts(event: TimedEvent) -> Iterator[Command | Wanted]:
    match event.kind:
        case TimedKind.MAINTENANCE:
            yield from (MaintenanceRequested(host=host, wait=event.wait) for host in event.hosts)
        case TimedKind.END_MAINTENANCE:
            yield from (MaintenanceEnded(host=host) for host in event.hosts)
        case TimedKind.HOST_FAILURE:
            yield from (FailHost(host=host) for host in event.hosts)
        case TimedKind.LICENCE_SERVER_LOST:
            yield LicenceServerLost()
        case TimedKind.LICENCE_SERVER_BACK:
            yield LicenceServerBack()
