"""Migrations that leave a host: each is driven here, by a machine of its own, to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import ray
from ray.exceptions import ActorDiedError, RayError

from cluster.actors.background import Background
from cluster.actors.center_line import CenterLine
from cluster.actors.courier import Courier
from cluster.actors.driving import Driver
from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.pulling import Waybill
from cluster.actors.remembering import keep_latest
from cluster.actors.replies import Handle
from cluster.actors.reports import Verification
from cluster.actors.source_end import SourceEnd
from cluster.actors.touching import StoreToucher
from cluster.memory.guest_memory import Pages, Runs
from cluster.memory.transfer import Batch
from cluster.migration.machine import Migration, ProtocolError
from cluster.migration.messages import CancelRequested, HostLost, Role
from cluster.migration.spec import MigrationSpec, Result, not_begun
from cluster.migration.state import Phase
from cluster.policy.sharing import SerialLink

_SWITCHOVER = (Phase.STUNNING, Phase.SENDING_STATE, Phase.COMMITTING, Phase.RESUMING)


class Departures:
    """What leaves one host; lives on its loop."""

    def __init__(
        self,
        *,
        sending: SerialLink,
        store: StoreToucher,
        line: CenterLine,
        courier: Courier,
        work: Background,
        now: Callable[[], float],
        settled: Callable[[LocalVm], Awaitable[None]],
        gone: Callable[[LocalVm], None],
    ) -> None:
        """`sending` is the host's card; `now` is the scenario's time.

        `settled` returns when nothing of a VM's coming is under way; `gone` is called with a
        VM that a migration has ended here.
        """
        self._sending = sending
        self._store = store
        self._line = line
        self._courier = courier
        self._work = work
        self._now = now
        self._settled = settled
        self._gone = gone
        self._ends: dict[str, tuple[SourceEnd, Driver]] = {}
        self._driven: dict[str, None] = {}
        # Those whose machine is not made yet, and whether they were cancelled meanwhile.
        self._beginning: dict[str, bool] = {}

    def begin(self, spec: MigrationSpec, vm: LocalVm | None, destination: Handle) -> str:
        """Drive a migration of a VM to its end, once; return "" or why not begun."""
        if spec.id in self._driven:
            return ""
        if vm is None or vm.power is not Power.RUNNING:
            return f"{spec.vm} does not run on {spec.source}"
        if vm.leaving:
            return f"{spec.vm} is migrating already"
        vm.leaving = True
        keep_latest(self._driven, spec.id)
        self._beginning[spec.id] = False
        self._work.spawn(self._drive(spec, vm, destination))
        return ""

    @property
    def busy(self) -> bool:
        """Whether anything leaves."""
        return bool(self._ends or self._beginning)

    def cancel(self, migration: str) -> None:
        """Ask a migration to stop; unknown ones have ended."""
        if (found := self._ends.get(migration)) is not None:
            found[1].tell(CancelRequested())
        elif migration in self._beginning:
            self._beginning[migration] = True

    def peer_lost(self, migration: str) -> None:
        """The destination of a migration is known to be dead."""
        if (found := self._ends.get(migration)) is not None:
            found[1].tell(HostLost(role=Role.DESTINATION))

    def there(self) -> dict[str, Handle]:
        """Return the VMs that wait at their destinations, by migration."""
        return {
            migration: end.there
            for migration, (end, _) in self._ends.items()
            if end.there is not None
        }

    def switches_over(self, name: str) -> bool:
        """Whether a migration has stunned the VM, and will run it again where it belongs."""
        return any(
            end.spec.vm == name and driver.phase in _SWITCHOVER
            for end, driver in self._ends.values()
        )

    def close(self) -> None:
        """Stop serving pages of all of them."""
        for end, _ in self._ends.values():
            end.close()

    # What destinations ask; of a migration that has ended there is nothing more.

    async def read_batch(
        self, migration: str, bytes_max: int, rate_bytes_per_second: float | None
    ) -> tuple[Waybill | None, Batch | None]:
        """Return the next pages of a round, or twice None when it is over."""
        found = self._ends.get(migration)
        if found is None:
            return None, None
        return await found[0].read_batch(bytes_max, rate_bytes_per_second)

    async def leave(self, migration: str, nbytes: int) -> None:
        """Return when this host's card would have sent so much of a migration."""
        if (found := self._ends.get(migration)) is not None:
            await found[0].leave(nbytes)

    async def arrived(self, migration: str, pages: Pages) -> None:
        """Learn which pages of the remainder the destination has: they can be given back."""
        if (found := self._ends.get(migration)) is not None:
            await found[0].arrived(pages)

    async def still_missing(self, migration: str, pages: Pages) -> None:
        """Send these pages again, and no others: the destination has what is not named."""
        await self._ends[migration][0].still_missing(pages)

    # Inside.

    async def _drive(self, spec: MigrationSpec, vm: LocalVm, destination: Handle) -> None:
        populated, refusal = await self._readied(vm)
        if refusal:
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
            populated=populated,
            host=ray.get_runtime_context().current_actor,
            destination=destination,
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
        self._ends[spec.id] = (end, driver)
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
            del self._ends[spec.id]
        await self._ended(machine, end, destination)

    async def _ended(self, machine: Migration, end: SourceEnd, destination: Handle) -> None:
        outcome, vm = machine.outcome, end.vm
        assert outcome is not None
        moved = outcome.result is Result.COMPLETED
        if vm.power is Power.OFF:
            self._gone(vm)
        self._courier.tell(
            "migration_ended", end.spec.id, outcome, tuple(machine.story), verifying=moved
        )
        if moved:
            await self._verify(end, destination)
        if vm.power is Power.OFF:
            vm.free()

    async def _readied(self, vm: LocalVm) -> tuple[Runs, str]:
        """Wait until a VM that has just come can leave again.

        Returns the pages that it has ever touched, looked for when its writes are tracked already,
        and "" or why it cannot leave.
        """
        try:
            await self._settled(vm)
            # In a thread: other migrations would wait for this loop, long for a large memory.
            populated = await asyncio.get_running_loop().run_in_executor(None, vm.populated_runs)
        except OSError as error:
            return (), f"the memory of {vm.spec.name} cannot be tracked: {error}"
        return populated, "" if vm.power is Power.RUNNING else f"{vm.spec.name} has ended"

    def _turned(self, machine: Migration, end: SourceEnd) -> None:
        if machine.state.phase not in _SWITCHOVER:  # nothing that is not needed, while it stands
            self._line.progressed(end.seen(machine.state))

    async def _verify(self, end: SourceEnd, destination: Handle) -> None:
        """Keep the frozen memory until each page is known to have arrived as it was."""
        spec = end.spec
        found = Verification(migration=spec.id, vm=spec.vm, pages=0, mismatched_pages=0)
        try:
            noted, served = await destination.noted.remote(spec.id)
            found = replace(found, served=served)
            if spec.verify:
                mismatched = await end.mismatched(noted)
                found = replace(found, pages=spec.memory_pages, mismatched_pages=mismatched)
        except ActorDiedError:
            why = f"{spec.destination} died before the memory was compared"
            found = replace(found, uncompared=why)
        except RayError as lost:
            found = replace(found, error=f"{spec.destination} did not answer: {lost}")
        self._courier.tell("verified", found)
