"""VirtualCenter's decisions: one pure machine that Ray and virtual time drive alike."""

from collections import deque

import numpy as np

from cluster.inventory.model import Scenario, TimedEvent, TimedKind
from cluster.migration.spec import Result, Trigger
from cluster.policy.balancing import Balance, Balancing
from cluster.policy.messages import (
    CancelRequested,
    Command,
    CommitRequested,
    Event,
    HostConnected,
    HostFailed,
    LoadSampled,
    MigrationEnded,
    MigrationRequested,
    Recommended,
    Record,
    SetDemand,
    SolveFailed,
    Started,
    Stopping,
    Ticked,
    Topic,
    VmEnded,
    VmStarted,
)
from cluster.policy.moving import Moving
from cluster.policy.powering import Powering
from cluster.policy.shares import Shares
from cluster.policy.state import ClusterState, HostState, PowerState, VmRecord


class Center:
    """Events in, commands out.

    Attributes:
        state: What is known; read it, never change it from outside.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.state = ClusterState.of(scenario)
        self._moving = Moving(self.state)
        self._powering = Powering(self.state)
        self._balancing = Balancing(self.state)
        self._shares = Shares(self.state)
        self._schedule = deque(sorted(scenario.events, key=lambda event: event.at_s))
        self._stopping = False

    @property
    def wake_at(self) -> float | None:
        """When to send `Ticked` if nothing else happens; ask again after each event."""
        due = [self._balancing.next_s]
        if self._schedule and self.state.began_s is not None and not self._stopping:
            due.append(self.state.began_s + self._schedule[0].at_s)
        return min((at for at in due if at is not None), default=None)

    def scenario_s(self, now: float) -> float:
        """Return the scenario's time: 0 until everything is up, then seconds since."""
        return self.state.scenario_s(now)

    @property
    def all_up(self) -> bool:
        """Whether every VM has started, or has ended trying."""
        return all(vm.power is not PowerState.STARTING for vm in self.state.vms.values())

    def balance(self) -> Balance:
        """Return the cluster's balance now, as DRS computes it."""
        return self._balancing.balance()

    def handle(self, event: Event, *, now: float, rng: np.random.Generator) -> tuple[Command, ...]:
        """Take one event and decide."""
        if isinstance(event, LoadSampled):  # far more often than all others
            self._sampled(event, now)
            return ()
        return tuple(self._shares.settle(self._handle(event, now, rng)))

    def _handle(self, event: Event, now: float, rng: np.random.Generator) -> list[Command]:
        match event:
            case HostConnected():
                return self._host_connected(event)
            case HostFailed():
                return self._host_failed(event, now)
            case VmStarted():
                return self._powering.started(event)
            case VmEnded():
                return self._vm_ended(event, now)
            case Started():
                self.state.began_s = now
                self._balancing.begin(now=now)
                return []
            case Stopping():
                self._stopping = True
                self._balancing.stop()
                return self._moving.stop()
            case Ticked():
                return [*self._due(now), *self._balancing.tick(now=now, rng=rng)]
            case Recommended():
                return self._recommended(event, now)
            case SolveFailed():
                return self._balancing.failed(event.solve, event.reason)
            case MigrationRequested():
                return self._moving.request(event, now=now)
            case CancelRequested():
                return self._moving.cancel(event.vm)
            case CommitRequested():
                return self._moving.commit(event)
            case MigrationEnded():
                return self._migration_ended(event, now)
            case LoadSampled():
                return []

    # Hosts and VMs.

    def _host_connected(self, event: HostConnected) -> list[Command]:
        host = self.state.hosts[event.host]
        host.state, host.serves_faults = HostState.CONNECTED, event.serves_faults
        note = Record(
            topic=Topic.HOST,
            what="connected",
            text=f"{event.host} connected",
            fields=(("host", event.host),),
        )
        return [note, *self._power_on_if_all_known()]

    def _power_on_if_all_known(self) -> list[Command]:
        """Placement needs to know every host, as there or as lost."""
        if any(host.state is HostState.STARTING for host in self.state.hosts.values()):
            return []
        return self._powering.power_on_all()

    def _host_failed(self, event: HostFailed, now: float) -> list[Command]:
        host = self.state.hosts[event.host]
        if host.state is HostState.NOT_RESPONDING:
            return []
        starting = host.state is HostState.STARTING
        host.state = HostState.NOT_RESPONDING
        text = f"{event.host} failed: {event.reason}"
        commands: list[Command] = [
            Record(topic=Topic.HOST, what="failed", text=text, fields=(("host", event.host),)),
            *self._moving.host_failed(event.host, now=now),
            *self._powering.host_failed(event.host),
        ]
        for name, vm in self.state.vms.items():
            if vm.off_wanted and self.state.migration_of(name) is None:
                commands += self._powering.power_off(vm, vm.off_wanted)
        commands += self._moving.start_waiting(now=now)
        return commands + (self._power_on_if_all_known() if starting else [])

    def _vm_ended(self, event: VmEnded, now: float) -> list[Command]:
        return [
            *self._powering.ended(event),
            *self._moving.vm_ended(event.vm, event.epoch, event.reason),
            *self._moving.start_waiting(now=now),
        ]

    def _migration_ended(self, event: MigrationEnded, now: float) -> list[Command]:
        record = self.state.migrations.get(event.migration)
        commands = self._moving.ended(event.migration, event.outcome, now=now)
        if record is None:
            return commands
        vm = self.state.vms[record.spec.vm]
        if event.outcome.result is Result.LOST:
            reason = f"lost with its migration: {event.outcome.error}"
            lost = VmEnded(vm=record.spec.vm, epoch=vm.epoch, reason=reason)
            commands += self._powering.ended(lost)
        if vm.off_wanted:
            commands += self._powering.power_off(vm, vm.off_wanted)
        return commands

    def _sampled(self, event: LoadSampled, now: float) -> None:
        """A VM that nobody samples keeps its last figures: unknown demand is not no demand."""
        oldest = now - self.state.scenario.drs.window_s
        for load in event.load.vms:
            vm = self.state.vms[load.vm]
            if vm.host == event.load.host:
                vm.samples.append((now, load.demand_mhz, load.granted_mhz))
                while vm.samples[0][0] <= oldest:
                    vm.samples.popleft()

    # What the scenario, DRS and users want.

    def _due(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (
            self._schedule
            and not self._stopping
            and self.state.began_s is not None
            and self.state.began_s + self._schedule[0].at_s <= now
        ):
            commands += self._happen(self._schedule.popleft(), now)
        return commands

    def _happen(self, event: TimedEvent, now: float) -> list[Command]:
        commands: list[Command] = []
        for name in event.vms:
            vm = self.state.vms[name]
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
                case TimedKind.POWER_OFF:
                    commands += self._power_off(vm, "by the scenario")
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
        if (record := self.state.migration_of(vm.spec.name)) is not None:
            record.demand_changed = True
        return [
            SetDemand(vm=vm.spec.name, host=vm.host, demand=event.demand, from_s=event.at_s),
            note,
        ]

    def _power_off(self, vm: VmRecord, reason: str) -> list[Command]:
        """A VM that migrates is on two hosts: it ends when it is on one again."""
        record = self.state.migration_of(vm.spec.name)
        if record is None:
            return self._powering.power_off(vm, reason)
        cancelled = self._moving.cancel(vm.spec.name)
        if record.started_s is None:
            return [*cancelled, *self._powering.power_off(vm, reason)]
        vm.off_wanted = reason
        return cancelled

    def _recommended(self, event: Recommended, now: float) -> list[Command]:
        notes, wanted = self._balancing.recommended(event, now=now)
        moves = [c for one in wanted for c in self._moving.request(one, now=now)]
        return [*notes, *moves]
