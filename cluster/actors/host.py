"""An ESX host as a Ray actor: owns its VMs' memory, runs them, and moves them.

The host carries out; VirtualCenter and the migration machine decide. It drives the
machine of every migration that leaves it, and serves those that come in.
"""

import asyncio
import contextlib
import os
import pickle
import time

import numpy as np
import ray
from ray.exceptions import RayError

from cluster.actors.background import Background
from cluster.actors.center_line import CenterLine
from cluster.actors.courier import Courier
from cluster.actors.destination_end import DestinationEnd
from cluster.actors.driving import Driver
from cluster.actors.isolation import Isolation
from cluster.actors.late_memory import LateMemory
from cluster.actors.local_vm import LocalVm, Power, create_vm
from cluster.actors.own_metrics import OwnMetrics
from cluster.actors.peer import PeerAddress, PeerDoor, Prepared, Switchover
from cluster.actors.priority import goes_first
from cluster.actors.pulling import DEPTH, TURNS, Waybill, round_batch_bytes
from cluster.actors.replies import Handle
from cluster.actors.reports import HostFacts, HostReport, RunningVm, Verification
from cluster.actors.scheduling import Scheduler
from cluster.actors.source_end import SourceEnd
from cluster.actors.touching import StoreToucher
from cluster.actors.verifying import Audit, audit_guest
from cluster.actors.vm_link import Doorstep, VmGone, VmRefused
from cluster.actors.wire import Header
from cluster.guests.clients import ClientAccount
from cluster.inventory.demand import Demand
from cluster.inventory.model import HostSpec, VmSpec
from cluster.memory.guest_memory import Pages, Runs
from cluster.memory.hashes import Hashes
from cluster.memory.pager import Served
from cluster.memory.pagers import PagerFailed, PageSource
from cluster.memory.tracker import TrackerKind, probe, serves_faults
from cluster.memory.transfer import Batch
from cluster.migration.machine import Migration, ProtocolError
from cluster.migration.messages import CancelRequested, HostLost, Role
from cluster.migration.spec import MigrationSpec, Result, not_begun
from cluster.migration.state import Phase
from cluster.policy.sharing import SerialLink

_SCHEDULE_S = 0.1
# Migrations that are known to have been driven, when somebody says again to drive them.
_DRIVEN_MAX = 10_000
# What a migration's remainder may take of the object store while it waits for the network:
# enough for eight at once with room for their rounds.
_AHEAD_RATIO = 1 / 16
_SWITCHOVER = (Phase.STUNNING, Phase.SENDING_STATE, Phase.COMMITTING, Phase.RESUMING)


class Host:
    """One ESX host."""

    def __init__(
        self,
        spec: HostSpec,
        *,
        sample_s: float,
        isolation_s_max: float | None = None,
        tracker: TrackerKind | None = None,
        runtime_env: dict[str, object] | None = None,
    ) -> None:
        """`tracker` None takes the best that this machine allows.

        `isolation_s_max` None: nobody restarts this host's VMs elsewhere, so it never stops them.
        """
        goes_first()
        self._spec = spec
        self._sample_s = sample_s
        self._runtime_env = runtime_env
        kind, why = probe()
        self._tracker = tracker or kind
        self._tracker_why = why if tracker is None else "chosen by the caller"
        tracked = self._tracker is TrackerKind.WRITE_PROTECT
        self._faults_why = serves_faults() if tracked else "pages are tracked by a shadow copy"
        self._vms: dict[str, LocalVm] = {}
        self._incoming: dict[str, DestinationEnd] = {}
        self._outgoing: dict[str, tuple[SourceEnd, Driver]] = {}
        self._shares: dict[str, float | None] = {}
        self._sending = SerialLink(rate_bytes_per_second=spec.nic.rate_bytes_per_second)
        self._receiving = SerialLink(rate_bytes_per_second=spec.nic.rate_bytes_per_second)
        self._scheduler = Scheduler(spec)
        self._clock_zero_s = time.monotonic()
        self._begun = False
        self._work = Background(self._failed)
        self._courier = Courier()
        self._booting: dict[tuple[str, int], asyncio.Task[tuple[Handle, str]]] = {}
        self._driven: dict[str, None] = {}
        # Those whose machine is not made yet, and whether they were cancelled meanwhile.
        self._beginning: dict[str, bool] = {}
        # Migrations whose source was given up: it may live, and ask.
        self._taken_over: dict[str, None] = {}
        self._stopped = asyncio.Event()
        self._isolated = isolation_s_max is not None
        self._isolation = Isolation(isolation_s_max or 0.0, self._cut_off, self._back)
        self._held: set[str] = set()
        self._center: Handle = None
        self._line = CenterLine(None)
        self._door: Doorstep | None = None
        self._metrics: OwnMetrics | None = None
        self._peers: PeerDoor | None = None
        self._ahead_bytes = self._round_batch_bytes = 0
        self._store = StoreToucher(0)
        self._turns = asyncio.Semaphore(TURNS)

    # VirtualCenter's calls.

    async def start(
        self, center: Handle, hosts: int, address: PeerAddress | None = None
    ) -> HostReport:
        """Begin to schedule and to report to `center`; told again, only say what is here.

        The cluster's object store serves so many `hosts`, this one among them. At `address`
        `center` can be reached without Ray.
        """
        if self._door is None:
            self._center = center
            self._door = Doorstep()
            store_bytes = ray.cluster_resources().get("object_store_memory", 0)
            self._ahead_bytes = int(store_bytes * _AHEAD_RATIO)
            self._round_batch_bytes = round_batch_bytes(store_bytes / hosts)
            self._store = StoreToucher(DEPTH * self._round_batch_bytes)
            self._peers = await PeerDoor.open(ray.util.get_node_ip_address())
            self._work.spawn(self._schedule())
            self._work.spawn(self._report())
            if self._isolated:
                self._work.spawn(self._isolation.watch())
            self._work.spawn(self._courier.run(center))
            self._line = CenterLine(center)
        if address is not None:
            self._work.spawn(self._line.reach(address))
        context = ray.get_runtime_context()
        facts = HostFacts(
            host=self._spec.name,
            pid=os.getpid(),
            node=context.get_node_id(),
            tracker=self._tracker,
            tracker_why=self._tracker_why,
            faults_why=self._faults_why,
        )
        return HostReport(
            facts=facts,
            begun=self._begun,
            vms=tuple(
                RunningVm(name=name, epoch=vm.epoch, handle=vm.handle, leaving=vm.leaving)
                for name, vm in self._vms.items()
                if vm.power is Power.RUNNING or vm.leaving
            ),
            incoming=tuple(
                (migration, end.vm.spec.name, end.vm.epoch)
                for migration, end in self._incoming.items()
                if end.vm.power is not Power.RUNNING
            ),
            there={
                migration: end.there
                for migration, (end, _) in self._outgoing.items()
                if end.there is not None
            },
        )

    async def serve_metrics(self, *, address: str | None, per_vm: bool) -> str:
        """Serve this host's own metrics on a free port from now on; return HOST:PORT.

        Without an address on that of the node, which other machines reach.
        """
        if self._metrics is None:
            address = address or ray.util.get_node_ip_address()
            self._metrics = OwnMetrics(self._spec, address=address, per_vm=per_vm)
        return self._metrics.target

    async def begin(self, scenario_s: float) -> None:
        """Set the scenario's clock, which demand profiles and reports count by."""
        if not self._begun:  # a clock that migrations count by never goes back
            self._begun = True
            self._clock_zero_s = time.monotonic() - scenario_s

    async def power_on(
        self, spec: VmSpec, epoch: int, demand: Demand, demand_from_s: float
    ) -> tuple[Handle, str]:
        """Boot a VM here, once for each epoch; return its handle, or None and why not."""
        here = self._vms.get(spec.name)
        if here is not None and here.epoch == epoch:
            return here.handle, ""
        booting = self._booting.get((spec.name, epoch))
        if booting is None:
            booting = asyncio.create_task(self._boot(spec, epoch, demand, demand_from_s))
            self._booting[spec.name, epoch] = booting
            booting.add_done_callback(lambda _: self._booting.pop((spec.name, epoch), None))
        return await asyncio.shield(booting)

    async def _boot(
        self, spec: VmSpec, epoch: int, demand: Demand, demand_from_s: float
    ) -> tuple[Handle, str]:
        try:
            vm = await self._create(spec, epoch, demand, demand_from_s, boots=True)
            await vm.resume()
        except (VmRefused, VmGone, RayError, OSError) as error:
            return None, str(error)
        self._vms[spec.name] = vm
        return vm.handle, ""

    async def power_off(self, name: str) -> None:
        """End a VM and free its memory; unknown names are off already."""
        vm = self._vms.pop(name, None)
        if vm is not None:
            vm.end()  # at once: another host may own it
            await self._free_settled(vm)

    async def set_demand(self, name: str, demand: Demand, demand_from_s: float) -> None:
        """Give a VM another demand profile."""
        vm = self._vms.get(name)
        if vm is not None:
            vm.demand, vm.demand_from_s = demand, demand_from_s

    async def migrate(self, spec: MigrationSpec, destination: Handle) -> str:
        """Drive a migration of a VM that runs here to its end, once; return "" or why not begun."""
        if spec.id in self._driven:
            return ""
        vm = self._vms.get(spec.vm)
        if vm is None or vm.power is not Power.RUNNING:
            return f"{spec.vm} does not run on {self._spec.name}"
        if vm.leaving:
            return f"{spec.vm} is migrating already"
        vm.leaving = True
        self._driven[spec.id] = None
        self._beginning[spec.id] = False
        _keep_latest(self._driven)
        self._work.spawn(self._drive(spec, vm, destination))
        return ""

    async def cancel(self, migration: str) -> None:
        """Ask a migration that leaves this host to stop; unknown ones have ended."""
        if (found := self._outgoing.get(migration)) is not None:
            found[1].tell(CancelRequested())
        elif migration in self._beginning:
            self._beginning[migration] = True

    async def peer_lost(self, migration: str) -> None:
        """The destination of a migration that leaves this host is known to be dead."""
        if (found := self._outgoing.get(migration)) is not None:
            found[1].tell(HostLost(role=Role.DESTINATION))

    async def take_over(self, migration: str, name: str, epoch: int) -> str:
        """Run a VM whose source died after the commit; return "" or why it cannot run.

        What had not left the source's process died with it; what had is waited for.
        """
        end = self._incoming.get(migration)
        if end is None:
            here = self._vms.get(name)
            if here is not None and here.epoch == epoch:
                return ""
            return f"{self._spec.name} knows nothing of {migration}"
        missing = await end.rescue()
        if missing:
            end.close()
            end.vm.end()
            end.vm.free()
            self._vms.pop(end.vm.spec.name, None)
            self._incoming.pop(migration, None)
            return f"lost with {missing} pages that had not arrived"
        self._taken_over[migration] = None
        _keep_latest(self._taken_over)
        await self.resume(migration)
        self._work.spawn(self._let_go(migration))
        return ""

    async def set_shares(self, shares: dict[str, float | None]) -> None:
        """Set the network share of migrations that come in, in bytes a second.

        Told once, and perhaps before the migration is prepared, so they are kept.
        """
        self._shares.update(shares)
        for migration, rate in shares.items():
            if (end := self._incoming.get(migration)) is not None:
                end.set_share(rate)

    async def audit(self, name: str, accounts: list[ClientAccount]) -> Audit:
        """Stun a VM for good, replay its writes and settle its clients' accounts."""
        vm = self._vms[name]
        if vm.power is Power.RUNNING:
            await vm.stun()
        state = await vm.capture()
        return await asyncio.get_running_loop().run_in_executor(
            None, audit_guest, vm.spec, vm.memory, state, accounts
        )

    async def lifeline(self) -> None:
        """Return when the host stops; who waits here learns of its death at once."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """End everything this host runs, and leave nothing behind."""
        self._work.cancel()
        for incoming in self._incoming.values():
            incoming.close()
            incoming.vm.end()
            incoming.vm.free()
        for outgoing, _ in self._outgoing.values():
            outgoing.close()
        for name in list(self._vms):
            await self.power_off(name)
        if self._door is not None:
            self._door.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._peers is not None:
            self._peers.close()
        self._line.close()
        self._stopped.set()

    # Other hosts' calls.

    async def prepare(
        self,
        spec: MigrationSpec,
        vm_spec: VmSpec,
        demand: Demand,
        demand_from_s: float,
        source: Handle,
        pages: PageSource | None,
        touched: Runs,
    ) -> Prepared:
        """Make room for a VM that comes; return its handle, or why not.

        With `pages` it may run before all of its memory is here: its faults are served.
        The runs `touched` will be sent, so they are allocated now.
        """
        if (end := self._incoming.get(spec.id)) is not None:
            return Prepared(there=end.vm.handle, peer=self._let_in(spec.id))
        if vm_spec.name in self._vms:
            return Prepared(refusal=f"{vm_spec.name} is on {self._spec.name} already")
        try:
            vm = await self._create(
                vm_spec,
                spec.epoch,
                demand,
                demand_from_s,
                boots=False,
                armed=pages is None,
                touched=touched,
            )
        except VmRefused as error:
            return Prepared(refusal=str(error))
        late = None
        if pages is not None:
            try:
                late = await asyncio.get_running_loop().run_in_executor(
                    None, _serve, vm, pages, self._spec.nic.rate_bytes_per_second
                )
            except (PagerFailed, OSError):
                vm.end()
                vm.free()
                raise
        end = DestinationEnd(
            spec.id,
            vm,
            source,
            self._receiving,
            self._turns,
            late,
            round_batch_bytes=self._round_batch_bytes,
            ahead_bytes=self._ahead_bytes,
            hashed=spec.verify,
        )
        end.set_share(self._shares.get(spec.id, spec.rate_bytes_per_second))
        self._incoming[spec.id] = end
        return Prepared(there=vm.handle, peer=self._let_in(spec.id))

    async def pull(self, migration: str) -> None:
        """Fetch and install what the source has to send in this round."""
        await self._incoming[migration].pull()

    async def pull_remainder(self, migration: str) -> None:
        """Bring every page that the running VM still lacks."""
        if migration not in self._taken_over:  # its source lives after all; nothing is missing
            await self._incoming[migration].pull_remainder()

    async def answer(self) -> None:
        """Show that this host's loop turns: what was asked of it is under way."""

    async def said(self, migration: str, kind: str, what: object) -> None:
        """What the source says on its socket, when that is broken."""
        await self._do_said(migration, kind, what)

    async def resume(self, migration: str) -> None:
        """Run the VM: the ownership record is ours."""
        end = self._incoming.get(migration)
        if end is None and migration in self._taken_over:
            return
        end = self._incoming[migration]
        if end.vm.power is not Power.RUNNING:
            await end.resume()
            self._vms[end.vm.spec.name] = end.vm

    async def discard(self, migration: str) -> None:
        """Forget a migration that came in and was rolled back; unknown ones are forgotten."""
        end = self._incoming.get(migration)
        if self._peers is not None:
            self._peers.forget(migration)
        if end is not None and end.settles:  # nobody asks for its hashes any more
            self._work.spawn(self._let_go(migration))
            return
        self._incoming.pop(migration, None)
        self._shares.pop(migration, None)
        if end is not None and end.vm.power is not Power.RUNNING:
            end.close()
            end.vm.end()
            end.vm.free()

    async def noted(self, migration: str) -> tuple[Hashes, Served | None]:
        """Return each page's hash as it was installed, and what the pager did; forget both."""
        end = self._incoming[migration]
        try:
            hashes = await end.noted()
            return hashes, end.served
        finally:
            await self._let_go(migration)

    async def read_batch(
        self, migration: str, bytes_max: int, rate_bytes_per_second: float | None
    ) -> tuple[Waybill | None, Batch | None]:
        """Return the next pages of a round, and what there is to know before they arrive.

        Called for two returns: the first is small and comes at once, the second is the
        caller's wherever it lies. Twice None when the round is over.
        """
        found = self._outgoing.get(migration)
        return (
            (None, None)
            if found is None
            else await found[0].read_batch(bytes_max, rate_bytes_per_second)
        )

    async def leave(self, migration: str, nbytes: int) -> None:
        """Return when this host's card would have sent so much of a migration."""
        if (found := self._outgoing.get(migration)) is not None:
            await found[0].leave(nbytes)

    async def arrived(self, migration: str, pages: Pages) -> None:
        """Learn which pages of the remainder the destination has: they can be given back."""
        if (found := self._outgoing.get(migration)) is not None:
            await found[0].arrived(pages)

    async def still_missing(self, migration: str, pages: Pages) -> None:
        """Send these pages again, and no others: the destination has what is not named."""
        await self._outgoing[migration][0].still_missing(pages)

    # Inside.

    async def _let_go(self, migration: str) -> None:
        """Free what a migration needed beside the VM that it brought, when that is settled.

        Raises:
            OSError: If the VM's writes cannot be tracked. All is kept then, for another try.
        """
        end = self._incoming.get(migration)
        if end is None:
            return
        await end.settled()
        end.close()
        self._incoming.pop(migration, None)
        self._shares.pop(migration, None)

    async def _settled(self, vm: LocalVm) -> None:
        """Return when nothing of a migration that brought a VM here is under way any more."""
        for end in [end for end in self._incoming.values() if end.vm is vm]:
            await end.settled()

    def _let_in(self, migration: str) -> PeerAddress | None:
        """Expect the source on a socket of its own, which spares the blackout Ray's calls."""
        if self._peers is None:
            return None

        async def serve(kind: str, payload: bytes) -> bytes:
            await self._do_said(migration, kind, pickle.loads(payload))
            return b""

        return self._peers.expect(migration, serve)

    async def _do_said(self, migration: str, kind: str, what: object) -> None:
        match kind, what:
            case "announce", np.ndarray():
                self._incoming[migration].announce(what)
            case "finish", Switchover():
                await self._incoming[migration].finish(what)
            case "resume", None:
                await self.resume(migration)
            case _:
                raise ValueError(f"a source does not say {kind} of {type(what).__name__}")

    def _now(self) -> float:
        return time.monotonic() - self._clock_zero_s

    def _failed(self, error: BaseException) -> None:
        """Tell VirtualCenter of work that ended in an exception: a defect, which fails the run."""
        text = f"{type(error).__name__}: {error}"
        self._courier.tell("driver_failed", self._spec.name, text)

    async def _create(
        self,
        spec: VmSpec,
        epoch: int,
        demand: Demand,
        demand_from_s: float,
        *,
        boots: bool,
        armed: bool = True,
        touched: Runs | None = None,
    ) -> LocalVm:
        if self._door is None:
            raise VmRefused(f"{self._spec.name} has not started")
        return await create_vm(
            spec=spec,
            epoch=epoch,
            boots=boots,
            demand=demand,
            demand_from_s=demand_from_s,
            tracker=self._tracker,
            armed=armed,
            touched=touched,
            door=self._door,
            said=self._said,
            lost=self._lost,
            may_run=self._isolation.open,
            runtime_env=self._runtime_env,
        )

    async def _cut_off(self) -> None:
        """Stun what runs here: another host may be starting it just now."""
        for name, vm in list(self._vms.items()):
            if vm.power is Power.RUNNING:
                with contextlib.suppress(VmGone, VmRefused):
                    await vm.stun()
                    self._held.add(name)

    async def _back(self) -> bool:
        """Run again what is still ours, and end the rest; return whether that is known."""
        held = [(name, vm.epoch) for name, vm in self._vms.items() if name in self._held]
        try:
            ours = set(await self._center.owned.remote(self._spec.name, held))
        except RayError:
            return False
        self._isolation.open.set()
        for name, _ in held:
            vm = self._vms.get(name)
            if vm is None:
                continue
            if name not in ours and not vm.leaving:
                await self.power_off(name)
            elif name in ours and not self._switches_over(name):
                with contextlib.suppress(VmGone, VmRefused):
                    await vm.resume()
        self._held.clear()
        return True

    def _switches_over(self, name: str) -> bool:
        """Whether a migration has stunned the VM, and will run it again where it belongs."""
        return any(
            end.spec.vm == name and driver.phase in _SWITCHOVER
            for end, driver in self._outgoing.values()
        )

    def _said(self, vm: LocalVm, header: Header) -> None:
        """A VM spoke unasked: its guest raised."""
        self._power_off_failed(vm, str(header.get("error", header)))

    def _lost(self, vm: LocalVm) -> None:
        """A VM's socket closed; unless we ended it, its process has died."""
        if vm.power is not Power.OFF:
            self._power_off_failed(vm, "its process ended")

    def _power_off_failed(self, vm: LocalVm, reason: str) -> None:
        if vm.power is Power.OFF:
            return
        vm.end()
        if self._vms.get(vm.spec.name) is vm:
            del self._vms[vm.spec.name]
        if not vm.leaving:
            self._work.spawn(self._free_settled(vm))
        self._courier.tell("vm_ended", vm.spec.name, vm.epoch, reason)

    async def _free_settled(self, vm: LocalVm) -> None:
        """Free a dead VM's memory when no thread uses its descriptors any more."""
        await self._settled(vm)
        vm.free()

    async def _schedule(self) -> None:
        while True:
            self._scheduler.tick(list(self._vms.values()), scenario_s=self._now())
            await asyncio.sleep(_SCHEDULE_S)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._sample_s)
            sample = self._scheduler.sample(
                list(self._vms.values()),
                scenario_s=self._now(),
                tx_bytes=self._sending.sent_bytes,
                rx_bytes=self._receiving.sent_bytes,
            )
            if self._metrics is not None:
                self._metrics.sampled(sample)
            with contextlib.suppress(RayError):  # the next sample is newer than this one
                await self._center.report.remote(sample)

    async def _drive(self, spec: MigrationSpec, vm: LocalVm, destination: Handle) -> None:
        if refusal := await self._unready(vm):
            del self._beginning[spec.id]
            vm.leaving = False
            if vm.power is Power.OFF:
                vm.free()
            refused = not_begun(refusal, now=self._now())
            self._courier.tell("migration_ended", spec.id, refused, (), verifying=False)
            return
        end = SourceEnd(
            spec=spec,
            vm=vm,
            host=ray.get_runtime_context().current_actor,
            destination=destination,
            center=self._center,
            line=self._line,
            sending=self._sending,
            store=self._store,
        )
        machine = Migration(spec)
        driver = Driver(
            machine,
            end.carry_out,
            end.progress,
            self._now,
            lambda _: self._turned(machine, end),
        )
        self._outgoing[spec.id] = (end, driver)
        if self._beginning.pop(spec.id):
            driver.tell(CancelRequested())
        try:
            await driver.run()
        except ProtocolError as error:
            # Our defect. Whoever runs the VM goes on; nothing is undone on a guess.
            self._courier.tell("driver_failed", spec.id, str(error))
            return
        finally:
            end.close()
            vm.leaving = False
            del self._outgoing[spec.id]
        outcome = machine.outcome
        assert outcome is not None
        moved = outcome.result is Result.COMPLETED
        if vm.power is Power.OFF and self._vms.get(spec.vm) is vm:
            del self._vms[spec.vm]
        self._courier.tell(
            "migration_ended", spec.id, outcome, tuple(machine.story), verifying=moved
        )
        if moved:
            await self._verify(end, destination)
        if vm.power is Power.OFF:
            vm.free()

    async def _unready(self, vm: LocalVm) -> str:
        """Wait until a VM that has just come can leave again; return "" or why it cannot."""
        try:
            await self._settled(vm)
        except OSError as error:
            return f"the writes of {vm.spec.name} cannot be tracked: {error}"
        return "" if vm.power is Power.RUNNING else f"{vm.spec.name} has ended"

    def _turned(self, machine: Migration, end: SourceEnd) -> None:
        if machine.state.phase not in _SWITCHOVER:  # nothing that is not needed, while it stands
            self._center.migration_progressed.remote(end.seen(machine.state))

    async def _verify(self, end: SourceEnd, destination: Handle) -> None:
        """Keep the frozen memory until each page is known to have arrived as it was."""
        spec, error, mismatched, served = end.spec, "", 0, None
        try:
            noted, served = await destination.noted.remote(spec.id)
            if spec.verify:
                mismatched = await end.mismatched(noted)
        except RayError as lost:
            error = f"{spec.destination} did not answer: {lost}"
        found = Verification(
            migration=spec.id,
            vm=spec.vm,
            pages=spec.memory_pages if spec.verify else 0,
            mismatched_pages=mismatched,
            served=served,
            error=error,
        )
        self._courier.tell("verified", found)


def _keep_latest(ids: dict[str, None]) -> None:
    """Forget the oldest of more ids than can be asked for again."""
    if len(ids) > _DRIVEN_MAX:
        del ids[next(iter(ids))]


def _serve(vm: LocalVm, pages: PageSource, rate_bytes_per_second: float | None) -> LateMemory:
    """Start serving a VM's faults; blocks until it is served, and leaves nothing if it is not."""
    late = LateMemory(vm, pages, rate_bytes_per_second)
    try:
        late.wait_ready()
    except PagerFailed:
        late.close()
        raise
    return late
