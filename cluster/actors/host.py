"""An ESX host as a Ray actor: owns its VMs' memory, runs them, and moves them.

The host carries out; VirtualCenter and the migration machine decide. It drives the
machine of every migration that leaves it, and serves those that come in.
"""

import asyncio
import contextlib
import os
import time

import ray
from ray.exceptions import RayError

from cluster.actors.arrivals import Arrivals
from cluster.actors.background import Background
from cluster.actors.center_line import CenterLine
from cluster.actors.courier import Courier
from cluster.actors.departures import Departures
from cluster.actors.isolation import Isolation
from cluster.actors.local_vm import LocalVm, Power, create_vm
from cluster.actors.own_metrics import OwnMetrics
from cluster.actors.peer import PeerAddress, Prepared
from cluster.actors.priority import goes_first
from cluster.actors.pulling import DEPTH, Waybill, round_batch_bytes
from cluster.actors.replies import Handle
from cluster.actors.reports import HostFacts, HostReport, RunningVm
from cluster.actors.scheduling import Scheduler
from cluster.actors.standby import StandbyProcesses
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
from cluster.memory.pagers import PageSource, end_nursery, start_nursery
from cluster.memory.tracker import TrackerKind, probe, serves_faults
from cluster.memory.transfer import Batch
from cluster.migration.spec import MigrationSpec
from cluster.policy.sharing import SerialLink

_SCHEDULE_S = 0.1
# What a migration's remainder may take of the object store while it waits for the network:
# enough for eight at once with room for their rounds.
_AHEAD_RATIO = 1 / 16


class Host:
    """One ESX host."""

    def __init__(
        self,
        spec: HostSpec,
        *,
        hosts: int,
        sample_s: float,
        standby_processes: int = 0,
        isolation_s_max: float | None = None,
        tracker: TrackerKind | None = None,
        runtime_env: dict[str, object] | None = None,
    ) -> None:
        """The cluster's object store serves so many `hosts`, this one among them.

        So many `standby_processes` are kept started for VMs that come.
        `tracker` None takes the best that this machine allows.
        `isolation_s_max` None: nobody restarts this host's VMs elsewhere, so it never stops them.
        """
        goes_first()
        self._spec = spec
        self._sample_s = sample_s
        kind, why = probe()
        self._tracker = tracker or kind
        self._tracker_why = why if tracker is None else "chosen by the caller"
        tracked = self._tracker is TrackerKind.WRITE_PROTECT
        self._faults_why = serves_faults() if tracked else "pages are tracked by a shadow copy"
        self._vms: dict[str, LocalVm] = {}
        self._scheduler = Scheduler(spec)
        self._clock_zero_s = time.monotonic()
        self._begun = False
        self._work = Background(self._failed)
        self._courier = Courier()
        self._booting: dict[tuple[str, int], asyncio.Task[tuple[Handle, str]]] = {}
        self._standby = StandbyProcesses(
            standby_processes, busy=self._busy, runtime_env=runtime_env
        )
        self._stopped = asyncio.Event()
        self._isolated = isolation_s_max is not None
        self._isolation = Isolation(isolation_s_max or 0.0, self._cut_off, self._back)
        self._held: set[str] = set()
        self._center: Handle = None
        self._line = CenterLine()
        self._door: Doorstep | None = None
        self._metrics: OwnMetrics | None = None
        self._sending = SerialLink(rate_bytes_per_second=spec.nic.rate_bytes_per_second)
        self._receiving = SerialLink(rate_bytes_per_second=spec.nic.rate_bytes_per_second)
        store_bytes = ray.cluster_resources().get("object_store_memory", 0)
        batch_bytes = round_batch_bytes(store_bytes / hosts)
        self._arrivals = Arrivals(
            host=spec.name,
            receiving=self._receiving,
            round_batch_bytes=batch_bytes,
            ahead_bytes=int(store_bytes * _AHEAD_RATIO),
            work=self._work,
            landed=self._landed,
            gone=self._gone,
        )
        self._departures = Departures(
            sending=self._sending,
            store=StoreToucher(DEPTH * batch_bytes),
            line=self._line,
            courier=self._courier,
            work=self._work,
            now=self._now,
            settled=self._arrivals.settled,
            gone=self._gone,
        )

    # VirtualCenter's calls.

    async def start(self, center: Handle, address: PeerAddress | None = None) -> HostReport:
        """Begin to schedule and to report to `center`; told again, only say what is here.

        At `address` `center` can be reached without Ray.
        """
        if self._door is None:
            self._center = center
            self._line.begin(self._spec.name, center)
            self._door = Doorstep()
            await self._arrivals.open(ray.util.get_node_ip_address())
            self._work.spawn(self._schedule())
            self._work.spawn(self._report())
            if self._isolated:
                self._work.spawn(self._isolation.watch())
            self._work.spawn(self._courier.run(center))
            self._work.spawn(self._standby.keep())
            if not self._faults_why:
                start_nursery()
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
            incoming=self._arrivals.waiting(),
            there=self._departures.there(),
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
        return self._departures.begin(spec, self._vms.get(spec.vm), destination)

    async def cancel(self, migration: str) -> None:
        """Ask a migration that leaves this host to stop; unknown ones have ended."""
        self._departures.cancel(migration)

    async def peer_lost(self, migration: str) -> None:
        """The destination of a migration that leaves this host is known to be dead."""
        self._departures.peer_lost(migration)

    async def take_over(self, migration: str, name: str, epoch: int) -> str:
        """Run a VM whose source died after the commit; return "" or why it cannot run."""
        return await self._arrivals.take_over(migration, self._vms.get(name), epoch)

    async def set_shares(self, shares: dict[str, float | None]) -> None:
        """Set the network share of migrations that come in, in bytes a second."""
        self._arrivals.set_shares(shares)

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
        self._arrivals.close()
        self._departures.close()
        self._standby.close()
        for name in list(self._vms):
            await self.power_off(name)
        if self._door is not None:
            self._door.close()
        if self._metrics is not None:
            self._metrics.close()
        self._line.close()
        end_nursery()
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
        if (prepared := self._arrivals.known(spec.id)) is not None:
            return prepared
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
        return await self._arrivals.expect(spec, vm, source, pages)

    async def pull(self, migration: str) -> None:
        """Fetch and install what the source has to send in this round."""
        await self._arrivals.pull(migration)

    async def pull_remainder(self, migration: str) -> None:
        """Bring every page that the running VM still lacks."""
        await self._arrivals.pull_remainder(migration)

    async def answer(self) -> None:
        """Show that this host's loop turns: what was asked of it is under way."""

    async def said(self, migration: str, kind: str, what: object) -> None:
        """What the source says on its socket, when that is broken."""
        await self._arrivals.said(migration, kind, what)

    async def discard(self, migration: str) -> None:
        """Forget a migration that came in and was rolled back; unknown ones are forgotten."""
        self._arrivals.discard(migration)

    async def noted(self, migration: str) -> tuple[Hashes, Served | None]:
        """Return each page's hash as it was installed, and what the pager did; forget both."""
        return await self._arrivals.noted(migration)

    async def read_batch(
        self, migration: str, bytes_max: int, rate_bytes_per_second: float | None
    ) -> tuple[Waybill | None, Batch | None]:
        """Return the next pages of a round, and what there is to know before they arrive.

        Called for two returns: the first is small and comes at once, the second is the
        caller's wherever it lies. Twice None when the round is over.
        """
        return await self._departures.read_batch(migration, bytes_max, rate_bytes_per_second)

    async def leave(self, migration: str, nbytes: int) -> None:
        """Return when this host's card would have sent so much of a migration."""
        await self._departures.leave(migration, nbytes)

    async def arrived(self, migration: str, pages: Pages) -> None:
        """Learn which pages of the remainder the destination has: they can be given back."""
        await self._departures.arrived(migration, pages)

    async def still_missing(self, migration: str, pages: Pages) -> None:
        """Send these pages again, and no others: the destination has what is not named."""
        await self._departures.still_missing(migration, pages)

    # Inside.

    def _landed(self, vm: LocalVm) -> None:
        """A VM that a migration brought runs here."""
        self._vms[vm.spec.name] = vm

    def _gone(self, vm: LocalVm) -> None:
        """A VM does not run here any more; another one of its name may."""
        if self._vms.get(vm.spec.name) is vm:
            del self._vms[vm.spec.name]

    def _busy(self) -> bool:
        """Whether a VM is starting or moving here, whom another process's start would delay."""
        return bool(
            not self._begun or self._booting or self._arrivals.busy or self._departures.busy
        )

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
            self._standby.take(),
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
            elif name in ours and not self._departures.switches_over(name):
                with contextlib.suppress(VmGone, VmRefused):
                    await vm.resume()
        self._held.clear()
        return True

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
        self._gone(vm)
        if not vm.leaving:
            self._work.spawn(self._free_settled(vm))
        self._courier.tell("vm_ended", vm.spec.name, vm.epoch, reason)

    async def _free_settled(self, vm: LocalVm) -> None:
        """Free a dead VM's memory when no thread uses its descriptors any more."""
        await self._arrivals.settled(vm)
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
                standby_processes=self._standby.count,
            )
            if self._metrics is not None:
                self._metrics.sampled(sample)
            with contextlib.suppress(RayError):  # the next sample is newer than this one
                await self._center.report.remote(sample)
