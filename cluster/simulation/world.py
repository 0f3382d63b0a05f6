"""A whole cluster in virtual time: the same `Center`, the same machines, counts instead of pages.

The driver of `cluster.policy.center.Center` where the other one is VirtualCenter's actor:
it carries commands out, answers them, and decides nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.model import HostSpec, Scenario
from cluster.migration.convergence import Convergence
from cluster.migration.machine import Migration
from cluster.migration.messages import Begun, HostLost, Role
from cluster.migration.messages import CancelRequested as MachineCancelRequested
from cluster.migration.spec import MigrationSpec, Outcome, Result, not_begun
from cluster.policy.center import Center
from cluster.policy.facts import HostLoad, VmLoad
from cluster.policy.licences import begins_unix_s
from cluster.policy.licensing import DAY_S
from cluster.policy.messages import (
    CalendarTold,
    CancelMigration,
    CloseMigration,
    Command,
    CommitRequested,
    Discard,
    Event,
    FailHost,
    GrantCommit,
    HostConnected,
    HostFailed,
    LoadSampled,
    MigrationEnded,
    PowerOff,
    PowerOn,
    Recommended,
    Record,
    RefuseCommit,
    SetDemand,
    SetShares,
    Solve,
    Started,
    StartHost,
    StartMigration,
    Stopping,
    TakeOver,
    TellPeerLost,
    Ticked,
    VmEnded,
    VmStarted,
)
from cluster.policy.state import HostState, PowerState
from cluster.simulation.carry import Carrier
from cluster.simulation.clock import Clock, Timer
from cluster.simulation.evenness import BoolArray
from cluster.simulation.faults import Channel
from cluster.simulation.fleet import OFF, Fleet, FloatArray, IntArray
from cluster.simulation.guest import GuestMemory, dirty_model, populated_pages
from cluster.simulation.link import Network
from cluster.simulation.power import PowerMeter
from cluster.simulation.seat import Seat
from drs import Plan, StepBudget
from drs.cost import Calibration, effective_rate
from drs.manage import manage

# A host in one of these draws no power. A tuple: an enum's hash is a call, its identity is none.
_DARK = (HostState.STANDBY, HostState.NOT_RESPONDING, HostState.STARTING)
# A migration that is under way at the end may go on for so long, and for so many steps.
_DRAIN_S_MAX = 86_400.0
_DRAIN_STEPS_MAX = 10_000_000


@dataclass(slots=True, kw_only=True, eq=False)
class Move:
    """A migration under way."""

    spec: MigrationSpec
    carrier: Carrier
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Whom the world tells what happens: it keeps no history itself.

    Attributes:
        recorded: An entry of the Center's story.
        planned: A plan of DRS, and the wall-clock seconds that it took.
        ended: A migration, with the demand faults of its remainder.
    """

    recorded: Callable[[float, Record], None]
    planned: Callable[[float, Plan, float], None]
    ended: Callable[[MigrationSpec, Outcome, int], None]


class World:
    """Hosts, VMs, links and VirtualCenter, from power-on to the last migration's end.

    Attributes:
        moves: Migrations under way, by id.
        mishaps: Draws everything that goes wrong.
        host_index, vm_index: By name, in the arrays of `fleet` and `network`.
        seats: Where each VM that is on runs, and on which host; its source while it moves.
    """

    def __init__(
        self,
        scenario: Scenario,
        watcher: Watcher,
        *,
        seed: int,
        calibration: Calibration,
        faults: Faults = NO_FAULTS,
        convergence: Convergence | None = None,
        budget: StepBudget | None = None,
        serves_faults: bool = True,
    ) -> None:
        """`serves_faults`: hosts can carry post-copy. `budget` is of one DRS pass."""
        self.scenario = scenario
        self.clock = Clock()
        self.center = Center(scenario)
        self.meter = PowerMeter(scenario.hosts, len(scenario.vms))
        counted = {"counted": self._meter} if self.meter.known else {}
        self.fleet = Fleet(scenario.hosts, scenario.vms, **counted)
        self._watcher = watcher
        self.calibration = calibration
        self._convergence = convergence
        self._budget = budget or StepBudget()
        self._serves_faults = serves_faults
        self._faults = faults
        # One generator for the decisions, one for the faults: a fault more leaves DRS's draws.
        decisions, mishaps = np.random.default_rng(seed).spawn(2)
        if faults.seed is not None:
            mishaps = np.random.default_rng(faults.seed)
        self._rng, self.mishaps = decisions, mishaps
        self.channel = Channel(self.clock, faults, mishaps)
        self.host_index = {host.name: at for at, host in enumerate(scenario.hosts)}
        self.vm_index = {vm.name: at for at, vm in enumerate(scenario.vms)}
        self._names = [vm.name for vm in scenario.vms]
        self._models = [dirty_model(vm) for vm in scenario.vms]
        rates = [line_rate(host, calibration) for host in scenario.hosts]
        # A card is two links: what it sends, and behind those what it receives.
        self.network = Network(self.clock, (*rates, *rates))
        self._dead: set[str] = set()
        self._born_s: dict[str, float] = {}
        self.seats: dict[str, tuple[Seat, str]] = {}
        self.moves: dict[str, Move] = {}
        self._orphans: dict[str, Move] = {}  # their source, which drove them, has died
        self._wake: Timer | None = None

    def _meter(self, elapsed_s: float) -> None:
        """Count the energy of a span in which nothing has changed, once the scenario's clock runs."""
        if self.center.state.began_s is None:
            return
        hosts = self.center.state.hosts.values()
        on = np.array([host.state not in _DARK for host in hosts], np.bool_)
        self.meter.add(elapsed_s, self.fleet.sum_by_host(self.fleet.demand_mhz), on)

    # The run.

    def start(self) -> None:
        """Connect the hosts, power on the VMs, start the scenario's clock."""
        # Whole days, so that the hour at which it is simulated makes no difference.
        today_s = time.time() // DAY_S * DAY_S
        self.feed(CalendarTold(unix_s=begins_unix_s(self.scenario, today_s)))
        for host in self.scenario.hosts:
            self.feed(HostConnected(host=host.name, serves_faults=self._serves_faults))
        self.clock.run_until(0.0)
        self.feed(Started())
        self.fleet.grant(0.0)

    def sample(self) -> tuple[FloatArray, FloatArray]:
        """Report what every host has measured since the last sample; return the means by VM."""
        span_s = self.fleet.span_s(self.clock.now)
        demand, granted = self.fleet.sample(self.clock.now)
        self.meter.demanded(demand * span_s)
        order = np.argsort(self.fleet.host, kind="stable")
        names = [self._names[vm] for vm in order.tolist()]
        wanted, got = demand[order].tolist(), granted[order].tolist()
        ends = np.searchsorted(self.fleet.host[order], np.arange(len(self.host_index) + 1)).tolist()
        for host, first, end in zip(self.scenario.hosts, ends, ends[1:], strict=False):
            if host.name not in self._dead:
                mine = slice(first, end)
                rows = zip(names[mine], wanted[mine], got[mine], strict=True)
                loads = tuple(map(VmLoad._make, rows))
                self._tell(LoadSampled(load=HostLoad(host=host.name, vms=loads)))
        self._set_alarm()
        self._grant()
        return demand, granted

    def placement(self) -> IntArray:
        """Return the host of each VM as VirtualCenter sees it: a VM that moves is at its source."""
        at = self.fleet.host.copy()
        for move in self.moves.values():
            if self.seats.get(move.spec.vm) is not None:
                at[self.vm_index[move.spec.vm]] = self.host_index[move.spec.source]
        return at

    def connected(self) -> BoolArray:
        """Return which hosts are alive, (H,)."""
        return np.array([host.name not in self._dead for host in self.scenario.hosts])

    def drain(self) -> None:
        """Start nothing new, and run until no migration is under way or queued."""
        self.feed(Stopping())
        end_s = self.clock.now + _DRAIN_S_MAX
        for _ in range(_DRAIN_STEPS_MAX):
            due = self.clock.next_s
            busy = self.moves or self.center.state.migrations
            if not busy or due is None or due > end_s:
                break
            self.clock.step()
        self.clock.run_until(self.clock.now)  # answers that are on their way

    def fail_host(self, name: str) -> None:
        """Kill a host with every VM on it; VirtualCenter hears of it at once."""
        if name in self._dead:
            return
        self._dead.add(name)
        for move in list(self.moves.values()):
            if name == move.spec.source:
                move.carrier.abandon()  # the source drives
                self._orphans[move.spec.id] = self.moves.pop(move.spec.id)
            elif name == move.spec.destination:
                move.carrier.seat_lost(move.carrier.destination)
        for vm, (seat, host) in list(self.seats.items()):
            if host == name:
                seat.alive = False
                seat.empty()
                self._take_off(vm)
        self.feed(HostFailed(host=name, reason="it crashed"))

    def repair_host(self, name: str) -> None:
        """Bring a dead host back, empty."""
        if name in self._dead:
            self._dead.discard(name)
            self.feed(HostConnected(host=name, serves_faults=self._serves_faults))

    # VirtualCenter's driver.

    def feed(self, event: Event) -> tuple[Command, ...]:
        """Give the Center an event and carry out what it says."""
        commands = self._tell(event)
        self._set_alarm()
        return commands

    def _tell(self, event: Event) -> tuple[Command, ...]:
        commands = self.center.handle(event, now=self.clock.now, rng=self._rng)
        for command in commands:
            self._carry_out(command)
        return commands

    def _set_alarm(self) -> None:
        wake_at = self.center.wake_at
        if self._wake is not None and self._wake.act is not None:
            if self._wake.at_s == wake_at:
                return
            self._wake.cancel()
        if wake_at is not None:
            at_s = max(wake_at, self.clock.now)
            self._wake = self.clock.at(at_s, lambda: self._tick())

    def _tick(self) -> None:
        self.feed(Ticked())

    def _carry_out(self, command: Command) -> None:
        match command:
            case PowerOn():
                self._power_on(command)
            case PowerOff(vm=vm):
                self._power_off(vm)
            case FailHost(host=host):
                self.clock.after(0.0, lambda: self.fail_host(host))
            case StartHost(host=host):
                self.clock.after(0.0, lambda: self.repair_host(host))
            case StartMigration(spec=spec):
                self._start_migration(spec)
            case CancelMigration(migration=migration):
                if (move := self.moves.get(migration)) is not None:
                    move.carrier.hear(MachineCancelRequested())
            case TellPeerLost(migration=migration):
                if (move := self.moves.get(migration)) is not None:
                    move.carrier.hear(HostLost(role=Role.DESTINATION))
            case Discard(migration=migration):
                if (orphan := self._orphans.pop(migration, None)) is not None:
                    orphan.carrier.destination.empty()
            case TakeOver():
                self._take_over(command)
            case CloseMigration(spec=spec, outcome=outcome):
                self._watcher.ended(spec, outcome, 0)
            case SetShares(shares=shares):
                for migration, rate in shares:
                    if (move := self.moves.get(migration)) is not None:
                        move.carrier.set_share(rate)
            case SetDemand(vm=vm, demand=demand, from_s=from_s):
                self.fleet.set_demand(self.vm_index[vm], demand, from_s)
                self._grant()
            case Solve():
                self._solve(command)
            case Record():
                self._watcher.recorded(self.center.scenario_s(self.clock.now), command)
            case GrantCommit() | RefuseCommit():
                pass  # the answer of `_claim`

    def _power_on(self, command: PowerOn) -> None:
        if command.host in self._dead:
            ended = VmEnded(vm=command.vm, epoch=command.epoch, reason=f"{command.host} is dead")
            self.clock.after(0.0, lambda: self._feed_only(ended))
            return
        seat = Seat(holds=True, runs=True, complete=True)
        self.seats[command.vm] = (seat, command.host)
        self._born_s[command.vm] = self.clock.now
        self.fleet.place(
            self.vm_index[command.vm], self.host_index[command.host], now=self.clock.now
        )
        if self.center.state.began_s is not None:  # until then nobody asks for anything
            self._grant()
        started = VmStarted(vm=command.vm, epoch=command.epoch)
        self.clock.after(0.0, lambda: self._feed_only(started))

    def _feed_only(self, event: Event) -> None:
        self.feed(event)

    def _power_off(self, vm: str) -> None:
        """End it at both ends of its migration, if it has one; the machine will find it gone."""
        for move in self.moves.values():
            if move.spec.vm == vm:
                move.carrier.power_off()
        if vm in self.seats:
            seat, _ = self.seats[vm]
            seat.empty()
            self._take_off(vm)
            self._grant()

    def _take_off(self, vm: str) -> None:
        self.seats.pop(vm, None)
        self.fleet.place(self.vm_index[vm], OFF, now=self.clock.now)

    def _solve(self, command: Solve) -> None:
        """DRS takes no virtual time: what it takes depends on the machine."""
        began = time.perf_counter()
        plan = manage(
            command.snapshot,
            command.policy,
            command.power,
            now=self.clock.now,
            rng=np.random.default_rng(command.seed),
            budget=self._budget,
        )
        solve_s = time.perf_counter() - began
        self._watcher.planned(self.center.scenario_s(self.clock.now), plan, solve_s)
        answer = Recommended(solve=command.solve, plan=plan, solve_s=0.0)
        self.clock.after(0.0, lambda: self._feed_only(answer))

    # Migrations.

    def _start_migration(self, spec: MigrationSpec) -> None:
        seat, host = self.seats.get(spec.vm, (None, None))
        if seat is None or host != spec.source:
            outcome = not_begun(f"{spec.vm} does not run on {spec.source}", now=self.clock.now)
            self.clock.after(0.0, lambda: self._report(spec, outcome, 0))
            return
        # Messages of an earlier migration must not be taken for this one's.
        source = Seat(holds=True, runs=True, complete=True)
        self.seats[spec.vm] = (source, host)
        vm = self.vm_index[spec.vm]
        now, age_s = self.clock.now, self.clock.now - self._born_s.get(spec.vm, 0.0)
        guest = GuestMemory(
            spec.memory_pages,
            self._models[vm],
            now=now,
            populated_pages=populated_pages(self.scenario.vms[vm], age_s),
        )
        guest.set_speed(self.fleet.speed(vm), now=now)
        machine = Migration(spec, convergence=self._convergence)
        out, into = (
            self.host_index[spec.source],
            len(self.host_index) + self.host_index[spec.destination],
        )
        carrier = Carrier(
            machine=machine,
            clock=self.clock,
            network=self.network,
            links=(out, into),
            guest=guest,
            source=source,
            destination=Seat(alive=spec.destination not in self._dead),
            calibration=self.calibration,
            channel=self.channel,
            claim=lambda epoch, answer: answer(self._claim(spec.id, epoch)),
            ended=lambda: self._ended(spec.id),
        )
        carrier.set_share(spec.rate_bytes_per_second)
        self.moves[spec.id] = Move(spec=spec, carrier=carrier)
        self.clock.after(0.0, lambda: carrier.hear(Begun()))
        if self.channel.happens(self._faults.cancel):
            at_s = self.clock.now + self.mishaps.exponential(self._faults.crash_s_mean)
            self.clock.at(at_s, lambda: carrier.hear(MachineCancelRequested()))

    def _claim(self, migration: str, epoch: int) -> str:
        """Ask the Center for the commit; a refusal is remembered, so that no late asking passes."""
        move = self.moves.get(migration)
        if move is None:
            return "the migration has ended"
        if move.refused:
            return move.refused
        for answer in self.feed(CommitRequested(migration=migration, epoch=epoch)):
            match answer:
                case GrantCommit():
                    self._committed(move.spec)
                    return ""
                case RefuseCommit(reason=reason):
                    move.refused = reason
        return move.refused or "VirtualCenter gave no answer"

    def _committed(self, spec: MigrationSpec) -> None:
        """From now on the destination's host pays for the VM."""
        vm, into = self.vm_index[spec.vm], self.host_index[spec.destination]
        if self.fleet.host[vm] != into:
            self.fleet.place(vm, into, now=self.clock.now)
            self.fleet.regrant((self.host_index[spec.source], into), self.clock.now)
            self._speed_up()

    def _ended(self, migration: str) -> None:
        move = self.moves.pop(migration)
        spec, carrier = move.spec, move.carrier
        outcome = carrier.machine.outcome
        assert outcome is not None
        if outcome.result is Result.LOST:  # each host frees what it holds of the VM
            carrier.power_off()
        lost = not (carrier.source.runs or carrier.destination.runs)
        if carrier.destination.runs:
            self.seats[spec.vm] = (carrier.destination, spec.destination)
        elif lost and spec.vm in self.seats:
            self._take_off(spec.vm)
            self._grant()
        self._report(spec, outcome, carrier.demand_faults)
        record = self.center.state.vms[spec.vm]
        if lost and record.power is not PowerState.OFF:
            self.feed(VmEnded(vm=spec.vm, epoch=record.epoch, reason=outcome.error))

    def _report(self, spec: MigrationSpec, outcome: Outcome, demand_faults: int) -> None:
        self._watcher.ended(spec, outcome, demand_faults)
        vm = self.vm_index[spec.vm]
        self.meter.migrated(vm, float(self.fleet.demand_mhz[vm]), outcome.duration_s)
        self.feed(MigrationEnded(migration=spec.id, outcome=outcome))

    def _take_over(self, command: TakeOver) -> None:
        """The destination runs the VM without its source, if every page is here."""
        orphan = self._orphans.pop(command.migration)
        seat = orphan.carrier.destination
        answer: Event
        if seat.complete and not seat.missing_pages:
            seat.runs = True
            self.seats[command.vm] = (seat, command.destination)
            vm, into = self.vm_index[command.vm], self.host_index[command.destination]
            self.fleet.place(vm, into, now=self.clock.now)
            answer = VmStarted(vm=command.vm, epoch=command.epoch)
        else:
            reason = f"{seat.missing_pages} pages are lost with {orphan.spec.source}"
            seat.empty()
            self._take_off(command.vm)
            answer = VmEnded(vm=command.vm, epoch=command.epoch, reason=reason)
        self._grant()
        self.clock.after(0.0, lambda: self._feed_only(answer))

    # Inside.

    def _grant(self) -> None:
        """Divide the CPUs anew, and let guests that migrate run at their new speed."""
        self.fleet.grant(self.clock.now)
        self._speed_up()

    def _speed_up(self) -> None:
        for move in self.moves.values():
            speed = self.fleet.speed(self.vm_index[move.spec.vm])
            move.carrier.guest.set_speed(speed, now=self.clock.now)


def line_rate(host: HostSpec, calibration: Calibration) -> float:
    """Return the payload bytes a second of a host's card, each way."""
    rate = host.nic.rate_bytes_per_second
    return effective_rate(np.inf if rate is None else rate, calibration)
