"""VirtualCenter's decisions: one pure machine that Ray and virtual time drive alike."""

from dataclasses import replace

import numpy as np

from cluster.inventory.model import Scenario
from cluster.migration.spec import Result
from cluster.policy.balancing import Balance, Balancing, OpenRecommendation
from cluster.policy.configuring import configure_vmotion, reconfigure_host, reconfigure_vm
from cluster.policy.ha import Suspicion
from cluster.policy.licences import Licences
from cluster.policy.licensing import Status
from cluster.policy.links import Links
from cluster.policy.maintenance import RETRY_S, Maintenance
from cluster.policy.messages import (
    Asked,
    CalendarTold,
    CancelRequested,
    Command,
    CommitRequested,
    DrsConfigured,
    Event,
    FeaturesTicked,
    FeaturesUnticked,
    HostConnected,
    HostConnectRequested,
    HostFailed,
    HostReconfigured,
    LicenceServerBack,
    LicenceServerLost,
    LicencesOffered,
    LinksMeasured,
    LoadSampled,
    MaintenanceCancelled,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationEnded,
    MigrationRequested,
    NodeLost,
    PassRequested,
    PowerOffRequested,
    PowerOnRequested,
    RecommendationsApproved,
    Recommended,
    Record,
    Restarted,
    SolveFailed,
    Started,
    StartHost,
    Stopping,
    Ticked,
    Topic,
    VmEnded,
    VMotionConfigured,
    VmReconfigured,
    VmStarted,
)
from cluster.policy.moving import Moving
from cluster.policy.powering import Powering
from cluster.policy.resuming import said_again
from cluster.policy.shares import Shares
from cluster.policy.standby import Standby
from cluster.policy.state import ClusterState, HostState, PowerState
from cluster.policy.tasks import Tasks
from cluster.policy.timetable import Timetable, Wanted
from drs import Policy, Snapshot


class Center:
    """Events in, commands out.

    Attributes:
        state: What is known; read it, never change it from outside.
        tasks: What was asked for, and what became of it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.state = ClusterState.of(scenario)
        self._moving = Moving(self.state)
        self._powering = Powering(self.state)
        self._standby = Standby(self.state)
        self._balancing = Balancing(self.state, self._standby)
        self._maintenance = Maintenance(self.state)
        self._timetable = Timetable(self.state, self._moving, self._powering)
        self._suspicion = Suspicion(scenario.ha.isolation_s_max)
        self._shares = Shares(self.state)
        self._licences = Licences(self.state)
        self.tasks = Tasks(self.state)
        self._stopping = False

    @property
    def wake_at(self) -> float | None:
        """When to send `Ticked` if nothing else happens; ask again after each event."""
        due = (
            self._balancing.next_s,
            self._timetable.next_s,
            self._suspicion.wake_at,
            self._licences.next_s,
        )
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

    def licences(self, *, now: float) -> Status | None:
        """Return what the right to use features rests on; None before the calendar is known."""
        return self._licences.status(now=now)

    def recommendations(self) -> tuple[OpenRecommendation, ...]:
        """Return what waits for somebody's consent, the most urgent first."""
        return tuple(sorted(self._balancing.open.values(), key=lambda one: one.priority))

    def drs_input(self, *, now: float) -> tuple[Snapshot, Policy]:
        """Return the snapshot and the policy that a DRS pass would decide on now."""
        return self._balancing.input(now=now)

    def handle(self, event: Event, *, now: float, rng: np.random.Generator) -> tuple[Command, ...]:
        """Take one event and decide."""
        if isinstance(event, LoadSampled):  # far more often than all others
            self._sampled(event, now)
            return ()
        commands = tuple(self._shares.settle(self._handle(event, now, rng)))
        self.tasks.took(commands, now=now)
        if isinstance(event, Asked):
            self.tasks.asked(event.key, commands, now=now)
        return commands

    def _handle(self, event: Event, now: float, rng: np.random.Generator) -> list[Command]:
        match event:
            case Asked(key=key, wish=wish):
                if self.tasks.asked_before(key) is not None:
                    return []
                self.tasks.begin(event, now=now)
                return self._handle(wish, now, rng)
            case Restarted():
                text = "VirtualCenter was restarted"
                note = Record(topic=Topic.CLUSTER, what="center_restarted", text=text)
                return [note, *self._balancing.forget_solve()]
            case PowerOnRequested() | PowerOffRequested():
                return self._power(event)
            case HostConnected():
                return self._host_connected(event, now)
            case HostConnectRequested(host=host):
                return self._connect(host)
            case HostFailed():
                return self._hosts_failed([(event.host, event.reason)], now)
            case NodeLost():
                self._suspicion.node_lost(event.host, event.reason, now=now)
                return []
            case LinksMeasured():
                self.state.links = Links.of(event)
                self._balancing.links_measured()
                return []
            case VmStarted():
                return self._powering.started(event)
            case VmEnded():
                return self._vm_ended(event, now)
            case Started():
                self.state.began_s = now
                self._balancing.begin(now=now)
                return self._standby.begin()
            case Stopping():
                self._stopping = True
                self._balancing.stop()
                self._timetable.stop()
                return self._moving.stop()
            case Ticked():
                return self._ticked(now, rng)
            case Recommended():
                return self._recommended(event, now, rng)
            case SolveFailed():
                self._evacuate(now + RETRY_S)
                return self._balancing.failed(event.solve, event.reason)
            case MigrationRequested():
                return self._moving.request(event, now=now)
            case CancelRequested():
                return self._moving.cancel(event.vm)
            case CommitRequested():
                return self._moving.commit(event)
            case MigrationEnded():
                return self._migration_ended(event, now)
            case MaintenanceRequested() | MaintenanceCancelled() | MaintenanceEnded():
                return self._maintain(event, now, rng)
            case DrsConfigured() | PassRequested() | RecommendationsApproved():
                return self._operate_drs(event, now, rng)
            case HostReconfigured() | VMotionConfigured() | VmReconfigured():
                return self._reconfigure(event, now)
            case (
                CalendarTold()
                | LicencesOffered()
                | FeaturesTicked()
                | FeaturesUnticked()
                | LicenceServerLost()
                | LicenceServerBack()
            ):
                return [*self._licences.handle(event, now=now), *self._room_came(now)]
            case LoadSampled():
                return []

    # Hosts and VMs.

    def _host_connected(self, event: HostConnected, now: float) -> list[Command]:
        """A host that was thought lost comes back empty: what runs there is not its own."""
        host = self.state.hosts[event.host]
        self._suspicion.heard(event.host)
        known, host.serves_faults = host.answers, event.serves_faults
        if host.state in (HostState.STARTING, HostState.NOT_RESPONDING):
            back = HostState.MAINTENANCE if host.in_maintenance else HostState.CONNECTED
            host.state = back
        note = Record(
            topic=Topic.HOST,
            what="connected",
            text=f"{event.host} connected",
            fields=(("host", event.host),),
        )
        return [
            note,
            *self._powering.stale(event.host, event.running),
            *(said_again(self.state, self._shares, event) if known else ()),
            *self._power_on_if_all_known(),
            *self._room_came(now),
        ]

    def _connect(self, name: str) -> list[Command]:
        host = self.state.hosts.get(name)
        if host is not None and host.state is HostState.NOT_RESPONDING and not self._stopping:
            host.state = HostState.STARTING
            return [StartHost(host=name)]
        why = "there is no such host" if host is None else f"it is {host.state.value}"
        text = f"{name}: {'the cluster is stopping' if self._stopping else why}"
        fields = (("host", name),)
        return [Record(topic=Topic.HOST, what="connect_refused", text=text, fields=fields)]

    def _power_on_if_all_known(self) -> list[Command]:
        """Placement needs to know every host, as there or as lost."""
        waiting = any(host.state is HostState.STARTING for host in self.state.hosts.values())
        if waiting or self._stopping:
            return []
        return self._powering.power_on_all()

    def _room_came(self, now: float, *, only_room: bool = False) -> list[Command]:
        """What waits for room on a host is tried: lost VMs first, then migrations."""
        restarted = [] if self._stopping else self._powering.restart_lost()
        return [
            *self._maintenance.arrived(),
            *self._standby.arrived(),
            *restarted,
            *self._moving.start_waiting(now=now, only_room=only_room),
        ]

    def _hosts_failed(self, lost: list[tuple[str, str]], now: float) -> list[Command]:
        """All that are lost at once first, so that nothing restarts on another of them."""
        commands = [command for name, reason in lost for command in self._lose(name, reason, now)]
        if not commands:
            return []
        return [*commands, *self._room_came(now), *self._power_on_if_all_known()]

    def _lose(self, name: str, reason: str, now: float) -> list[Command]:
        host = self.state.hosts[name]
        self._suspicion.heard(name)
        if host.state is HostState.NOT_RESPONDING:
            return []
        host.state = HostState.NOT_RESPONDING
        text = f"{name} failed: {reason}"
        commands: list[Command] = [
            Record(topic=Topic.HOST, what="failed", text=text, fields=(("host", name),)),
            *self._moving.host_failed(name, now=now),
            *self._powering.host_failed(name),
        ]
        for vm_name, vm in self.state.vms.items():
            if vm.off_wanted and self.state.migration_of(vm_name) is None:
                commands += self._powering.power_off(vm, vm.off_wanted)
        return commands

    def _power(self, event: PowerOnRequested | PowerOffRequested) -> list[Command]:
        name = event.vm
        vm = self.state.vms.get(name)
        if isinstance(event, PowerOnRequested) and not self._stopping:
            return self._powering.request_on(name, event.host)
        if isinstance(event, PowerOffRequested) and vm is not None and vm.host is not None:
            return self._timetable.power_off(vm, "as asked")
        why = "there is no such VM" if vm is None else f"it is {vm.power.value}"
        what = "power_on_failed" if isinstance(event, PowerOnRequested) else "power_off_failed"
        text = f"{name}: {'the cluster is stopping' if self._stopping else why}"
        return [Record(topic=Topic.VM, what=what, text=text, fields=(("vm", name),))]

    def _vm_ended(self, event: VmEnded, now: float) -> list[Command]:
        vm = self.state.vms[event.vm]
        # Nobody can take over what had not arrived: it went with its source's host.
        lost = event.vm in self.state.taking_over and event.epoch == vm.epoch
        return [
            *(self._powering.lost(event.vm, event.reason) if lost else self._powering.ended(event)),
            *self._moving.vm_ended(event.vm, event.epoch, event.reason),
            *self._room_came(now, only_room=True),
        ]

    def _migration_ended(self, event: MigrationEnded, now: float) -> list[Command]:
        record = self.state.migrations.get(event.migration)
        if record is None:
            return []
        commands = self._moving.ended(event.migration, event.outcome, now=now)
        vm = self.state.vms[record.spec.vm]
        if event.outcome.result is Result.LOST:
            reason = f"lost with its migration: {event.outcome.error}"
            commands += self._powering.lost(record.spec.vm, reason)
        if vm.off_wanted:
            commands += self._powering.power_off(vm, vm.off_wanted)
        self._evacuate(now + RETRY_S)
        return [*commands, *self._room_came(now, only_room=True)]

    def _sampled(self, event: LoadSampled, now: float) -> None:
        """A VM that nobody samples keeps its last figures: unknown demand is not no demand."""
        self._suspicion.heard(event.load.host)
        oldest = now - self.state.scenario.drs.window_s
        vms, host = self.state.vms, event.load.host
        for name, demand_mhz, granted_mhz in event.load.vms:
            vm = vms[name]
            if vm.host == host:
                samples = vm.samples
                samples.append((now, demand_mhz, granted_mhz))
                while samples[0][0] <= oldest:
                    samples.popleft()

    # Time, DRS, and what people want.

    def _ticked(self, now: float, rng: np.random.Generator) -> list[Command]:
        return [
            *self._hosts_failed(self._suspicion.lost(now=now), now),
            *self._licences.due(now=now),
            *self._timed(now, rng),
            *self._standby.arrived(),
            *self._balancing.tick(now=now, rng=rng),
        ]

    def _timed(self, now: float, rng: np.random.Generator) -> list[Command]:
        """What the scenario wants now; some of it as if somebody had asked for it."""
        commands: list[Command] = []
        for one in self._timetable.due(now=now):
            commands += self._handle(one, now, rng) if isinstance(one, Wanted) else [one]
        return commands

    def _recommended(
        self, event: Recommended, now: float, rng: np.random.Generator
    ) -> list[Command]:
        advice = self._balancing.recommended(event, now=now)
        commands = list(advice.notes)
        commands += self._moving.request(*advice.wanted, now=now)
        commands += self._maintenance.planned(advice.evacuated)
        # A plan from before the request knows nothing of it: ask anew, and at once.
        self._evacuate(now + RETRY_S if self._maintenance.entering <= advice.evacuated else now)
        return [*commands, *self._balancing.tick(now=now, rng=rng)]

    def _evacuate(self, at_s: float) -> None:
        """Let DRS look at that time, if somebody is still on a host that is to be empty."""
        if not self._stopping and self._maintenance.stragglers():
            self._balancing.hurry(at_s)

    def _maintain(
        self,
        event: MaintenanceRequested | MaintenanceCancelled | MaintenanceEnded,
        now: float,
        rng: np.random.Generator,
    ) -> list[Command]:
        if self._stopping:
            text = f"{event.host} stays as it is: the cluster is stopping"
            fields = (("host", event.host),)
            return [Record(topic=Topic.HOST, what="maintenance_refused", text=text, fields=fields)]
        match event:
            case MaintenanceRequested(host=host, wait=wait):
                commands = self._maintenance.request(host, wait=wait)
            case MaintenanceCancelled(host=host):
                commands = self._maintenance.cancel(host)
                commands += self._moving.stay(host)
            case MaintenanceEnded(host=host):
                commands = self._maintenance.leave(host)
        commands += self._room_came(now)
        self._evacuate(now)
        return [*commands, *self._balancing.tick(now=now, rng=rng)]

    def _operate_drs(
        self,
        event: DrsConfigured | PassRequested | RecommendationsApproved,
        now: float,
        rng: np.random.Generator,
    ) -> list[Command]:
        if self._stopping:
            text = "DRS does nothing more: the cluster is stopping"
            return [Record(topic=Topic.DRS, what="refused", text=text)]
        match event:
            case DrsConfigured(changes=changes):
                settings = replace(self.state.scenario.drs, **dict(changes))
                self.state.scenario = replace(self.state.scenario, drs=settings)
                return self._balancing.configure(settings, now=now)
            case RecommendationsApproved(vms=vms):
                notes, wanted = self._balancing.approve(vms)
                return [*notes, *self._moving.request(*wanted, now=now)]
            case PassRequested():
                if not self.state.scenario.drs.enabled:
                    return [Record(topic=Topic.DRS, what="refused", text="DRS is off")]
                self._balancing.hurry(now)
                return self._balancing.tick(now=now, rng=rng)

    def _reconfigure(
        self, event: HostReconfigured | VMotionConfigured | VmReconfigured, now: float
    ) -> list[Command]:
        match event:
            case HostReconfigured(spec=spec):
                commands = reconfigure_host(self.state, spec)
                commands += self._licences.resized(spec.name, now=now)
            case VMotionConfigured():
                commands = configure_vmotion(self.state, event)
            case VmReconfigured():
                commands = reconfigure_vm(self.state, event)
        return [*commands, *self._room_came(now)]
