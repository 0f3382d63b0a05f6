"""VirtualCenter's hands: carries out on Ray what the `Center` says."""

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from cluster.actors.background import Background
from cluster.actors.births import create_host_again
from cluster.actors.center_line import CenterDoor
from cluster.actors.replies import Handle
from cluster.actors.reports import HostReport, MigrationProgress
from cluster.migration.spec import MigrationSpec, not_begun
from cluster.policy.center import Center
from cluster.policy.messages import (
    CancelMigration,
    CloseMigration,
    Command,
    Discard,
    Event,
    FailHost,
    GrantCommit,
    HostConnected,
    HostFailed,
    MigrationEnded,
    NodeLost,
    PowerOff,
    PowerOn,
    Recommended,
    Record,
    RefuseCommit,
    SetDemand,
    SetShares,
    Solve,
    SolveFailed,
    StartHost,
    StartMigration,
    TakeOver,
    TellPeerLost,
    VmEnded,
    VmStarted,
)
from cluster.policy.state import HostState
from drs import DeadlineBudget, Plan, Policy, Snapshot
from drs.manage import PowerRequest, manage

# A host whose call ended in an error is asked again whether it lives.
_ASK_AGAIN_S = 0.2
_SUSPECT_S = 1.0


class Carrier:
    """The actors that VirtualCenter knows, and the calls it makes to them.

    Attributes:
        hosts: Every host's handle.
        reports: What each connected host said of itself.
        vms: The handle of each VM that runs, as far as a host has told it.
        there: Of migrations under way: the VM at the destination.
        progress: Of migrations under way.
    """

    def __init__(
        self,
        center: Center,
        feed: Callable[[Event], object],
        now: Callable[[], float],
        door: CenterDoor,
    ) -> None:
        self._center = center
        self._door = door
        self._feed = feed
        self._now = now
        self.hosts: dict[str, Handle] = {}
        self.reports: dict[str, HostReport] = {}
        self.vms: dict[str, Handle] = {}
        self.there: dict[str, Handle] = {}
        self.progress: dict[str, MigrationProgress] = {}
        self._solver: Any = ray.remote(num_cpus=0, max_retries=0)(solve)

    def carry_out(self, command: Command, work: Background) -> None:
        """Begin what a command says; its answer is an event."""
        hosts = self.hosts
        match command:
            case PowerOn():
                work.spawn(self._power_on(command))
            case PowerOff(vm=vm, host=host):
                work.spawn(_told(hosts[host].power_off, vm))
            case FailHost(host=host):
                ray.kill(hosts[host])  # `_watch` tells the Center
            case StartHost(host=host):
                work.spawn(self._start_host(host, work))
            case StartMigration(spec=spec):
                work.spawn(self._migrate(spec))
            case CancelMigration(migration=migration, source=source):
                work.spawn(_told(hosts[source].cancel, migration))
            case TellPeerLost(migration=migration, source=source):
                work.spawn(_told(hosts[source].peer_lost, migration))
            case Discard(migration=migration, destination=destination):
                work.spawn(_told(hosts[destination].discard, migration))
            case TakeOver():
                work.spawn(self._take_over(command))
            case CloseMigration(spec=spec):
                self.forget(spec.id)
            case SetShares(host=host, shares=shares):
                work.spawn(_told(hosts[host].set_shares, dict(shares)))
            case SetDemand(vm=vm, host=host, demand=demand, from_s=from_s):
                work.spawn(_told(hosts[host].set_demand, vm, demand, from_s))
            case Solve():
                work.spawn(self._solve(command))
            case Record() | GrantCommit() | RefuseCommit():
                pass  # written down, and the answer of `commit`
            case _:
                assert_never(command)

    def committed(self, spec: MigrationSpec) -> None:
        """The VM is at its destination now."""
        if (there := self.there.get(spec.id)) is not None:
            self.vms[spec.vm] = there

    def forget(self, migration: str) -> None:
        """A migration has ended."""
        self.progress.pop(migration, None)
        self.there.pop(migration, None)

    async def connect(self, name: str, me: Handle, work: Background) -> None:
        """Have a host report to us, learn what it runs, and hear when it dies."""
        host = self.hosts[name]
        address = await self._door.expect(name)
        try:
            report: HostReport = await _answer(host.start, me, address)
        except RayError as error:
            self._feed(HostFailed(host=name, reason=type(error).__name__))
            return
        self.reports[name] = report
        self._learn_places(report)
        state = self._center.state
        if state.began_s is not None and not report.begun:
            work.spawn(_told(host.begin, state.scenario_s(self._now())))
        work.spawn(self._watch(name, host))
        self._feed(
            HostConnected(
                host=name,
                serves_faults=not report.facts.faults_why,
                running=tuple((vm.name, vm.epoch) for vm in report.vms if not vm.leaving),
                incoming=report.incoming,
            )
        )

    async def warm_solver(self) -> None:
        """Start the solver's worker and load OR-Tools before the first pass needs them."""
        await self._solver.remote(None, None, None, 0.0, 0, 0.0)

    # Inside.

    def _learn_places(self, report: HostReport) -> None:
        """Take the handles of VMs from where they are owned."""
        state = self._center.state
        for vm in report.vms:
            if (record := state.vms.get(vm.name)) is not None and record.epoch == vm.epoch:
                self.vms[vm.name] = vm.handle
        self.there.update(report.there)
        for migration in report.there:
            moving = state.migrations.get(migration)
            if moving is not None and moving.committed:
                self.committed(moving.spec)

    async def _watch(self, name: str, host: Handle) -> None:
        """Wait for a host's death, and tell a dead process from a node that nobody reaches."""
        while True:
            try:
                await host.lifeline.remote()
                return  # it was stopped
            except ActorDiedError as error:
                if self.hosts[name] is not host:
                    return  # it has been begun anew meanwhile
                node = self.reports[name].facts.node
                alive = await asyncio.get_running_loop().run_in_executor(None, node_alive, node)
                if alive:
                    self._feed(HostFailed(host=name, reason=type(error).__name__))
                    return
                self._feed(NodeLost(host=name, reason="its node does not answer"))
                if self._center.state.hosts[name].state is HostState.NOT_RESPONDING:
                    return
                # Again: a sample that was under way has cleared the suspicion.
                await asyncio.sleep(_SUSPECT_S)
            except RayError:
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _start_host(self, name: str, work: Background) -> None:
        state = self._center.state
        node = state.links.nodes.get(name, "")
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, node_alive, node):
            self._feed(HostFailed(host=name, reason="its node is not there"))
            return
        self.hosts[name] = create_host_again(state.hosts[name].spec, state.scenario, node=node)
        await self.connect(name, ray.get_runtime_context().current_actor, work)

    async def _power_on(self, command: PowerOn) -> None:
        record = self._center.state.vms[command.vm]
        try:
            handle, refusal = await _answer(
                self.hosts[command.host].power_on,
                record.spec,
                command.epoch,
                record.demand,
                record.demand_from_s,
            )
        except RayError as error:
            handle, refusal = None, f"{command.host} did not answer: {type(error).__name__}"
        if handle is None:
            self._feed(VmEnded(vm=command.vm, epoch=command.epoch, reason=refusal))
            return
        self.vms[command.vm] = handle
        self._feed(VmStarted(vm=command.vm, epoch=command.epoch))

    async def _take_over(self, command: TakeOver) -> None:
        """The source died after the commit: have the destination go on alone, if it can."""
        try:
            refusal = await _answer(
                self.hosts[command.destination].take_over,
                command.migration,
                command.vm,
                command.epoch,
            )
        except RayError as error:
            refusal = f"{command.destination} did not answer: {type(error).__name__}"
        if refusal:
            self._feed(VmEnded(vm=command.vm, epoch=command.epoch, reason=refusal))
        else:
            self._feed(VmStarted(vm=command.vm, epoch=command.epoch))

    async def _migrate(self, spec: MigrationSpec) -> None:
        try:
            refusal = await _answer(
                self.hosts[spec.source].migrate, spec, self.hosts[spec.destination]
            )
        except RayError as error:
            refusal = f"{spec.source} did not answer: {type(error).__name__}"
        if refusal:
            began_s = self._center.scenario_s(self._now())
            self._feed(MigrationEnded(migration=spec.id, outcome=not_begun(refusal, now=began_s)))

    async def _solve(self, command: Solve) -> None:
        began = time.monotonic()
        try:
            plan = await self._solver.remote(
                command.snapshot,
                command.policy,
                command.power,
                self._now(),
                command.seed,
                command.budget_s_max,
            )
        except RayError as error:
            self._feed(SolveFailed(solve=command.solve, reason=str(error)))
            return
        self._feed(Recommended(solve=command.solve, plan=plan, solve_s=time.monotonic() - began))


async def _answer(method: Any, *args: object) -> Any:
    """Return what a host answers; one that cannot be reached just now is told again.

    Raises:
        ray.exceptions.RayError: If it is dead, or the call raised.
    """
    while True:
        try:
            return await method.remote(*args)
        except ActorUnavailableError:
            await asyncio.sleep(_ASK_AGAIN_S)


async def _told(method: Any, *args: object) -> None:
    """Wait for a host's answer: one that is dead is reported by its lifeline."""
    with contextlib.suppress(ActorDiedError):
        await _answer(method, *args)


def node_alive(node: str) -> bool:
    """Return whether Ray's GCS holds a node for alive; blocks."""
    return any(one["NodeID"] == node and one["Alive"] for one in ray.nodes())


def solve(
    snapshot: Snapshot | None,
    policy: Policy | None,
    power: PowerRequest | None,
    now: float,
    seed: int,
    budget_s_max: float,
) -> Plan | None:
    """Run one DRS pass in a process of its own; without a snapshot only load what it needs."""
    importlib.import_module("drs.solver")  # OR-Tools is heavy, and only this process needs it
    if snapshot is None or policy is None:
        return None
    return manage(
        snapshot,
        policy,
        power,
        now=now,
        rng=np.random.default_rng(seed),
        budget=DeadlineBudget(deadline_s=now + budget_s_max),
    )
