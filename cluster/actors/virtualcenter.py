"""VirtualCenter as a Ray actor: feeds the pure `Center` and carries out what it says."""

import asyncio
import importlib
import time
from collections.abc import Coroutine
from typing import Any, assert_never

import numpy as np
import ray
from ray.exceptions import RayError

from cluster.actors.priority import goes_first
from cluster.actors.replies import Handle
from cluster.actors.reports import HostFacts, HostSample, MigrationProgress, Verification
from cluster.actors.views import (
    ClusterView,
    EndedMigration,
    Happening,
    HostView,
    MigrationView,
)
from cluster.inventory.model import Scenario
from cluster.migration.spec import MigrationSpec, Outcome, not_begun
from cluster.migration.story import Entry
from cluster.policy.center import Center
from cluster.policy.licences import begins_unix_s
from cluster.policy.messages import (
    CalendarTold,
    CancelMigration,
    CancelRequested,
    CloseMigration,
    Command,
    CommitRequested,
    Discard,
    Event,
    FailHost,
    GrantCommit,
    HostConnected,
    HostFailed,
    LinksMeasured,
    LoadSampled,
    MigrationEnded,
    MigrationRequested,
    PowerOff,
    PowerOn,
    Recommended,
    Record,
    RefuseCommit,
    SetDemand,
    SetShares,
    Solve,
    SolveFailed,
    Started,
    StartMigration,
    Stopping,
    TakeOver,
    TellPeerLost,
    Ticked,
    VmEnded,
    VmStarted,
)
from cluster.policy.state import PowerState
from drs import DeadlineBudget, Plan, Policy, Snapshot, recommend

# Entries of the story that wait to be fetched.
_STORY_MAX = 1_000_000


class VirtualCenter:
    """The cluster's one decision maker and the keeper of ownership."""

    def __init__(self, scenario: Scenario, *, seed: int) -> None:
        goes_first()
        self._scenario = scenario
        self._center = Center(scenario)
        self._rng = np.random.default_rng(seed)
        self._zero_s = time.monotonic()
        self._hosts: dict[str, Handle] = {}
        self._facts: dict[str, HostFacts] = {}
        self._vms: dict[str, Handle] = {}
        self._samples: dict[str, HostSample] = {}
        self._progress: dict[str, MigrationProgress] = {}
        self._specs: dict[str, MigrationSpec] = {}
        self._there: dict[str, Handle] = {}
        self._happened: list[Happening] = []
        self._ended: list[EndedMigration] = []
        self._verified: list[Verification] = []
        self._verifying: set[str] = set()
        self._problems: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._solver: Any = ray.remote(num_cpus=0, max_retries=0)(solve)

    # The run's calls.

    async def start(self, hosts: dict[str, Handle]) -> None:
        """Connect the hosts and power on every VM; `view().all_up` says when that is done."""
        self._hosts = hosts
        self._feed(CalendarTold(unix_s=begins_unix_s(self._scenario, time.time())))
        self._spawn(self._keep_time())
        self._spawn(self._warm_solver())
        me = ray.get_runtime_context().current_actor
        for name, host in hosts.items():
            self._spawn(self._connect(name, host, me))

    async def begin(self) -> None:
        """Start the scenario's clock: its events and DRS count from now."""
        for host in self._hosts.values():
            self._call(host.begin.remote(0.0))
        self._feed(Started())

    async def stopping(self) -> None:
        """Start nothing new."""
        self._feed(Stopping())

    async def links_measured(self, measured: LinksMeasured) -> None:
        """Count with what the network between the nodes carries."""
        self._feed(measured)

    async def request_migration(self, request: MigrationRequested) -> None:
        """Ask for a migration; what becomes of it is in the story."""
        self._feed(request)

    async def request_cancel(self, vm: str) -> None:
        """Ask for a VM's migration to be stopped."""
        self._feed(CancelRequested(vm=vm))

    async def locate(self, vm: str) -> tuple[Handle, int] | None:
        """Return where a VM runs and its epoch; None if it is off."""
        record = self._center.state.vms.get(vm)
        handle = self._vms.get(vm)
        if record is None or record.power is not PowerState.ON or handle is None:
            return None
        return handle, record.epoch

    async def host_of(self, vm: str) -> Handle:
        """Return the handle of the host a VM runs on; None if it is off."""
        record = self._center.state.vms.get(vm)
        return None if record is None or record.host is None else self._hosts[record.host]

    async def view(self) -> ClusterView:
        """Return what there is to see, and hand out what has happened since the last call."""
        state = self._center.state
        view = ClusterView(
            time_s=self._center.scenario_s(self._now()),
            all_up=self._center.all_up,
            balance=self._center.balance(),
            hosts=tuple(self._host_view(name) for name in state.hosts),
            samples=dict(self._samples),
            vms=tuple((name, vm.host, vm.power) for name, vm in state.vms.items()),
            migrations=tuple(
                MigrationView(
                    spec=m.spec,
                    queued_s=m.queued_s,
                    started_s=m.started_s,
                    waiting_for=m.waiting_for,
                    progress=self._progress.get(m.spec.id),
                )
                for m in state.migrations.values()
            ),
            happened=tuple(self._happened),
            ended=tuple(self._ended),
            verified=tuple(self._verified),
            verifying=len(self._verifying),
            problems=tuple(self._problems),
            awaiting_restart=sum(vm.restart_wanted for vm in state.vms.values()),
            licences=self._center.licences(now=self._now()),
        )
        self._happened, self._ended, self._verified, self._problems = [], [], [], []
        return view

    # The hosts' calls.

    async def prepared(self, migration: str, there: Handle) -> None:
        """A migration's destination is ready; `there` is the VM if it is committed."""
        self._there[migration] = there

    async def commit(self, migration: str, epoch: int) -> str:
        """The commit point: return "" when the destination owns the VM now, or why not."""
        answers = self._feed(CommitRequested(migration=migration, epoch=epoch))
        for answer in answers:
            match answer:
                case GrantCommit():
                    if (there := self._there.get(migration)) is not None:
                        self._vms[self._specs[migration].vm] = there
                    return ""
                case RefuseCommit(reason=reason):
                    return reason
        return "VirtualCenter gave no answer"

    async def report(self, sample: HostSample) -> None:
        """Take a host's sample."""
        self._samples[sample.load.host] = sample
        self._feed(LoadSampled(load=sample.load))

    async def vm_ended(self, vm: str, epoch: int, reason: str) -> None:
        """A VM has stopped by itself."""
        self._feed(VmEnded(vm=vm, epoch=epoch, reason=reason))

    async def migration_progressed(self, progress: MigrationProgress) -> None:
        """A migration has taken a turn."""
        self._progress[progress.migration] = progress

    async def migration_ended(
        self, migration: str, outcome: Outcome, story: tuple[Entry, ...], *, verifying: bool
    ) -> None:
        """A machine has finished; with `verifying` a call of `verified` follows."""
        if verifying:
            self._verifying.add(migration)
        self._end(migration, outcome, story, verifying=verifying)

    async def verified(self, verification: Verification) -> None:
        """A migrated VM's memory has been compared, or could not be."""
        self._verifying.discard(verification.migration)
        self._verified.append(verification)

    async def driver_failed(self, subject: str, error: str) -> None:
        """A host's work, a migration's among it, could not go on: a defect, which fails the run."""
        self._problems.append(f"{subject}: {error}")

    # Inside.

    def _now(self) -> float:
        return time.monotonic() - self._zero_s

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._problems.append(f"{type(error).__name__}: {error}")

    def _feed(self, event: Event) -> tuple[Command, ...]:
        commands = self._center.handle(event, now=self._now(), rng=self._rng)
        for command in commands:
            self._carry_out(command)
        self._woken.set()
        return commands

    def _carry_out(self, command: Command) -> None:
        match command:
            case PowerOn():
                self._spawn(self._power_on(command))
            case PowerOff(vm=vm, host=host):
                self._call(self._hosts[host].power_off.remote(vm))
            case FailHost(host=host):
                ray.kill(self._hosts[host])  # `_watch` tells the Center
            case StartMigration(spec=spec):
                self._specs[spec.id] = spec
                self._spawn(self._migrate(spec))
            case CancelMigration(migration=migration, source=source):
                self._call(self._hosts[source].cancel.remote(migration))
            case TellPeerLost(migration=migration, source=source):
                self._call(self._hosts[source].peer_lost.remote(migration))
            case Discard(migration=migration, destination=destination):
                self._call(self._hosts[destination].discard.remote(migration))
            case TakeOver():
                self._spawn(self._take_over(command))
            case CloseMigration(spec=spec, outcome=outcome):
                self._progress.pop(spec.id, None)
                self._ended.append(EndedMigration(spec=spec, outcome=outcome))
            case SetShares(host=host, shares=shares):
                self._call(self._hosts[host].set_shares.remote(dict(shares)))
            case SetDemand(vm=vm, host=host, demand=demand, from_s=from_s):
                self._call(self._hosts[host].set_demand.remote(vm, demand, from_s))
            case Solve():
                self._spawn(self._solve(command))
            case Record():
                if len(self._happened) < _STORY_MAX:
                    time_s = self._center.scenario_s(self._now())
                    self._happened.append(Happening(time_s=time_s, record=command))
            case GrantCommit() | RefuseCommit():
                pass  # the answer of `commit`
            case _:
                assert_never(command)

    def _call(self, ref: Any) -> None:
        """Wait for a host's answer in the background: one that is lost is reported by its lifeline."""
        self._spawn(self._await_host(ref))

    async def _await_host(self, ref: Any) -> None:
        try:
            await ref
        except ray.exceptions.ActorDiedError:
            return  # `_watch` tells the Center

    async def _connect(self, name: str, host: Handle, me: Handle) -> None:
        try:
            facts: HostFacts = await host.start.remote(me)
        except RayError as error:
            self._feed(HostFailed(host=name, reason=str(error)))
            return
        self._facts[name] = facts
        self._spawn(self._watch(name, host))
        self._feed(HostConnected(host=name, serves_faults=not facts.faults_why))

    async def _watch(self, name: str, host: Handle) -> None:
        try:
            await host.lifeline.remote()
        except RayError as error:
            self._feed(HostFailed(host=name, reason=type(error).__name__))

    async def _power_on(self, command: PowerOn) -> None:
        record = self._center.state.vms[command.vm]
        try:
            handle, refusal = await self._hosts[command.host].power_on.remote(
                record.spec, command.epoch, record.demand, record.demand_from_s
            )
        except RayError as error:
            handle, refusal = None, f"{command.host} did not answer: {type(error).__name__}"
        if handle is None:
            self._feed(VmEnded(vm=command.vm, epoch=command.epoch, reason=refusal))
            return
        self._vms[command.vm] = handle
        self._feed(VmStarted(vm=command.vm, epoch=command.epoch))

    async def _take_over(self, command: TakeOver) -> None:
        """The source died after the commit: have the destination go on alone, if it can."""
        try:
            refusal = await self._hosts[command.destination].take_over.remote(command.migration)
        except RayError as error:
            refusal = f"{command.destination} did not answer: {type(error).__name__}"
        if refusal:
            self._feed(VmEnded(vm=command.vm, epoch=command.epoch, reason=refusal))
        else:
            self._feed(VmStarted(vm=command.vm, epoch=command.epoch))

    async def _migrate(self, spec: MigrationSpec) -> None:
        try:
            refusal = await self._hosts[spec.source].migrate.remote(
                spec, self._hosts[spec.destination]
            )
        except RayError as error:
            refusal = f"{spec.source} did not answer: {type(error).__name__}"
        if refusal:
            began_s = self._center.scenario_s(self._now())
            self._end(spec.id, not_begun(refusal, now=began_s), ())

    def _end(
        self,
        migration: str,
        outcome: Outcome,
        story: tuple[Entry, ...],
        *,
        verifying: bool = False,
    ) -> None:
        self._progress.pop(migration, None)
        self._there.pop(migration, None)
        spec = self._specs[migration]
        self._ended.append(
            EndedMigration(spec=spec, outcome=outcome, story=story, verifying=verifying)
        )
        self._feed(MigrationEnded(migration=migration, outcome=outcome))

    async def _solve(self, command: Solve) -> None:
        began = time.monotonic()
        try:
            plan = await self._solver.remote(
                command.snapshot, command.policy, self._now(), command.seed, command.budget_s_max
            )
        except RayError as error:
            self._feed(SolveFailed(solve=command.solve, reason=str(error)))
            return
        self._feed(Recommended(solve=command.solve, plan=plan, solve_s=time.monotonic() - began))

    async def _warm_solver(self) -> None:
        """Start the solver's worker and load OR-Tools before the first pass needs them."""
        await self._solver.remote(None, None, 0.0, 0, 0.0)

    async def _keep_time(self) -> None:
        while True:
            self._woken.clear()
            wake_at = self._center.wake_at
            wait_s = None if wake_at is None else max(0.0, wake_at - self._now())
            try:
                await asyncio.wait_for(self._woken.wait(), wait_s)
            except TimeoutError:
                self._feed(Ticked())

    def _host_view(self, name: str) -> HostView:
        record = self._center.state.hosts[name]
        sample = self._samples.get(name)
        vms = sample.load.vms if sample else ()
        held = [vm for vm in self._center.state.vms.values() if vm.host == name]
        return HostView(
            name=name,
            state=record.state,
            cpu_mhz=record.spec.cpu_mhz,
            memory_mib=record.spec.memory_mib,
            demand_mhz=sum(vm.demand_mhz for vm in vms),
            granted_mhz=sum(vm.granted_mhz for vm in vms),
            used_mib=sum(vm.spec.memory_mib for vm in held),
            vms=len(held),
            tx_bytes=sample.tx_bytes if sample else 0,
            rx_bytes=sample.rx_bytes if sample else 0,
            facts=self._facts.get(name),
        )


def solve(
    snapshot: Snapshot | None, policy: Policy | None, now: float, seed: int, budget_s_max: float
) -> Plan | None:
    """Run one DRS pass in a process of its own; without a snapshot only load what it needs."""
    importlib.import_module("drs.solver")  # OR-Tools is heavy, and only this process needs it
    if snapshot is None or policy is None:
        return None
    return recommend(
        snapshot,
        policy,
        now=now,
        rng=np.random.default_rng(seed),
        budget=DeadlineBudget(deadline_s=now + budget_s_max),
    )
