"""VirtualCenter's decisions: one pure machine that Ray and virtual time drive alike."""

import numpy as np

from cluster.inventory.model import Scenario, TimedEvent, TimedKind
from cluster.migration.spec import Trigger
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
    PowerOff,
    PowerOn,
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
from cluster.policy.placement import best_host
from cluster.policy.state import ClusterState, HostRecord, HostState, PowerState, VmRecord


class Center:
    """Events in, commands out.

    Attributes:
        state: What is known; read it, never change it from outside.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.state = ClusterState(
            scenario=scenario,
            hosts={spec.name: HostRecord(spec=spec) for spec in scenario.hosts},
            vms={spec.name: VmRecord(spec=spec, demand=spec.demand) for spec in scenario.vms},
        )
        self._moving = Moving(self.state)
        self._balancing = Balancing(self.state)
        self._schedule = sorted(scenario.events, key=lambda event: event.at_s, reverse=True)
        self._stopping = False
        self._began_s: float | None = None

    @property
    def wake_at(self) -> float | None:
        """When to send `Ticked` if nothing else happens; ask again after each event."""
        due = [self._balancing.next_s]
        if self._schedule and self._began_s is not None and not self._stopping:
            due.append(self._began_s + self._schedule[-1].at_s)
        return min((at for at in due if at is not None), default=None)

    def scenario_s(self, now: float) -> float:
        """Return the scenario's time: 0 until everything is up, then seconds since."""
        return 0.0 if self._began_s is None else now - self._began_s

    @property
    def all_up(self) -> bool:
        """Whether every VM has started, or has ended trying."""
        return all(vm.power is not PowerState.STARTING for vm in self.state.vms.values())

    def balance(self) -> Balance:
        """Return the cluster's balance now, as DRS computes it."""
        return self._balancing.balance()

    def handle(self, event: Event, *, now: float, rng: np.random.Generator) -> tuple[Command, ...]:
        """Take one event and decide."""
        return tuple(self._handle(event, now, rng))

    def _handle(self, event: Event, now: float, rng: np.random.Generator) -> list[Command]:
        match event:
            case HostConnected():
                return self._host_connected(event)
            case HostFailed():
                return self._host_failed(event)
            case VmStarted():
                return self._vm_started(event)
            case VmEnded():
                return self._vm_ended(event)
            case Started():
                self._began_s = now
                self._balancing.begin(now=now)
                return []
            case Stopping():
                self._stopping = True
                self._balancing.stop()
                return []
            case LoadSampled():
                self._sampled(event, now)
                return []
            case Ticked():
                return [*self._due(now), *self._balancing.tick(now=now, rng=rng)]
            case Recommended():
                return self._recommended(event, now)
            case SolveFailed():
                return self._balancing.failed(event.solve, event.reason)
            case MigrationRequested():
                return self._request(event, now)
            case CancelRequested():
                return self._moving.cancel(event.vm)
            case CommitRequested():
                return self._moving.commit(event)
            case MigrationEnded():
                return self._moving.ended(event.migration, event.outcome, now=now)

    # Hosts and VMs.

    def _host_connected(self, event: HostConnected) -> list[Command]:
        """Once all hosts are there, power VMs on: placement needs to know them all."""
        host = self.state.hosts[event.host]
        host.state, host.serves_faults = HostState.CONNECTED, event.serves_faults
        waiting = any(h.state is HostState.STARTING for h in self.state.hosts.values())
        note = Record(topic=Topic.HOST, what="connected", text=f"{event.host} connected")
        return [note] if waiting else [note, *self._power_on_all()]

    def _power_on_all(self) -> list[Command]:
        """VMs that name their host first, so that the others are placed around them."""
        off = [vm for vm in self.state.vms.values() if vm.epoch == 0]
        ordered = sorted(off, key=lambda vm: vm.spec.host is None)
        return [command for vm in ordered for command in self._power_on(vm)]

    def _power_on(self, vm: VmRecord) -> list[Command]:
        name = vm.spec.name
        host = vm.spec.host or best_host(self.state, vm)
        if host is None:
            vm.power = PowerState.OFF
            vm.ended_reason = "no host can take it"
            text = f"{name} is not powered on: {vm.ended_reason}"
            return [
                Record(topic=Topic.VM, what="power_on_failed", text=text, fields=(("vm", name),))
            ]
        epoch = self.state.ownership.next_epoch(name)
        self.state.ownership.claim(name, epoch=epoch, source=None, host=host)
        vm.host, vm.epoch = host, epoch
        return [PowerOn(vm=name, host=host, epoch=epoch)]

    def _vm_started(self, event: VmStarted) -> list[Command]:
        vm = self.state.vms[event.vm]
        if vm.epoch != event.epoch:
            return []
        vm.power = PowerState.ON
        text = f"{event.vm} powered on, {vm.host}"
        return [
            Record(
                topic=Topic.VM,
                what="powered_on",
                text=text,
                fields=(("vm", event.vm), ("host", vm.host)),
            )
        ]

    def _vm_ended(self, event: VmEnded, *, wanted: bool = False) -> list[Command]:
        """A VM that another host owns by now is not this report's business."""
        vm = self.state.vms[event.vm]
        if vm.power is PowerState.OFF or not self.state.ownership.release(
            event.vm, epoch=event.epoch
        ):
            return []
        host, vm.host, vm.power, vm.ended_reason = vm.host, None, PowerState.OFF, event.reason
        return [
            Record(
                topic=Topic.VM,
                what="powered_off" if wanted else "failed",
                text=f"{event.vm} powered off: {event.reason}",
                fields=(("vm", event.vm), ("host", host), ("reason", event.reason)),
            )
        ]

    def _host_failed(self, event: HostFailed) -> list[Command]:
        host = self.state.hosts[event.host]
        if host.state is HostState.NOT_RESPONDING:
            return []
        host.state = HostState.NOT_RESPONDING
        commands: list[Command] = [
            Record(
                topic=Topic.HOST,
                what="failed",
                text=f"{event.host} failed: {event.reason}",
                fields=(("host", event.host),),
            ),
            *self._moving.host_failed(event.host),
        ]
        for vm in self.state.vms.values():
            if vm.host == event.host:
                ended = VmEnded(vm=vm.spec.name, epoch=vm.epoch, reason=f"{event.host} failed")
                commands += self._vm_ended(ended)
        return commands

    def _sampled(self, event: LoadSampled, now: float) -> None:
        oldest = now - self.state.scenario.drs.window_s
        for load in event.load.vms:
            vm = self.state.vms[load.vm]
            if vm.host == event.load.host:
                vm.samples.append((now, load.demand_mhz, load.granted_mhz))
        for vm in self.state.vms.values():
            while vm.samples and vm.samples[0][0] <= oldest:
                vm.samples.popleft()

    # What the scenario, DRS and users want.

    def _due(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (
            self._schedule
            and not self._stopping
            and self._began_s is not None
            and self._began_s + self._schedule[-1].at_s <= now
        ):
            commands += self._happen(self._schedule.pop(), now)
        return commands

    def _happen(self, event: TimedEvent, now: float) -> list[Command]:
        commands: list[Command] = []
        for name in event.vms:
            vm = self.state.vms[name]
            match event.kind:
                case TimedKind.DEMAND:
                    commands += self._change_demand(vm, event, now)
                case TimedKind.MIGRATE:
                    wanted = MigrationRequested(
                        vm=name,
                        destination=event.destination,
                        trigger=Trigger.SCENARIO,
                        mode=event.mode,
                    )
                    commands += self._request(wanted, now)
                case TimedKind.CANCEL:
                    commands += self._moving.cancel(name)
                case TimedKind.POWER_OFF:
                    commands += self._power_off(vm)
        return commands

    def _change_demand(self, vm: VmRecord, event: TimedEvent, now: float) -> list[Command]:
        if event.demand is None:
            return []
        vm.demand, vm.demand_from_s = event.demand, self.scenario_s(now)
        note = Record(
            topic=Topic.VM,
            what="demand_changed",
            text=f"{vm.spec.name}: demand is {event.demand.at(0.0):.0f} MHz now",
            fields=(("vm", vm.spec.name), ("demand_mhz", event.demand.at(0.0))),
        )
        if vm.host is None:
            return [note]
        return [
            SetDemand(vm=vm.spec.name, host=vm.host, demand=event.demand, from_s=vm.demand_from_s),
            note,
        ]

    def _power_off(self, vm: VmRecord) -> list[Command]:
        if vm.host is None:
            return []
        host = vm.host
        ended = VmEnded(vm=vm.spec.name, epoch=vm.epoch, reason="by the scenario")
        return [PowerOff(vm=vm.spec.name, host=host), *self._vm_ended(ended, wanted=True)]

    def _request(self, event: MigrationRequested, now: float) -> list[Command]:
        if self._stopping:
            text = f"{event.vm}: refused, the cluster is stopping"
            return [Record(topic=Topic.MIGRATION, what="refused", text=text)]
        return self._moving.request(event, now=now)

    def _recommended(self, event: Recommended, now: float) -> list[Command]:
        notes, wanted = self._balancing.recommended(event, now=now)
        return [*notes, *(command for one in wanted for command in self._request(one, now))]
