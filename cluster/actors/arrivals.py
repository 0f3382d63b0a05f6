"""Migrations that come to a host: memory and a VM for each, until it runs here or is forgotten."""

import asyncio
import pickle
from collections.abc import Callable

import numpy as np

from cluster.actors.background import Background
from cluster.actors.destination_end import DestinationEnd
from cluster.actors.late_memory import LateMemory
from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.peer import PeerAddress, PeerDoor, Prepared, Switchover
from cluster.actors.pulling import TURNS
from cluster.actors.remembering import keep_latest
from cluster.actors.replies import Handle
from cluster.memory.hashes import Hashes
from cluster.memory.pager import Served
from cluster.memory.pagers import PagerFailed, PageSource
from cluster.migration.spec import MigrationSpec
from cluster.policy.sharing import SerialLink


class Arrivals:
    """What comes to one host; lives on its loop."""

    def __init__(
        self,
        *,
        host: str,
        receiving: SerialLink,
        round_batch_bytes: int,
        ahead_bytes: int,
        work: Background,
        landed: Callable[[LocalVm], None],
        gone: Callable[[LocalVm], None],
    ) -> None:
        """`receiving` is the host's card. The two sizes are of what is under way; see `Puller`.

        `landed` is called with a VM that runs here now, `gone` with one that does not any more.
        """
        self._host = host
        self._receiving = receiving
        self._round_batch_bytes = round_batch_bytes
        self._ahead_bytes = ahead_bytes
        self._work = work
        self._landed = landed
        self._gone = gone
        self._ends: dict[str, DestinationEnd] = {}
        self._shares: dict[str, float | None] = {}
        # Migrations whose source was given up: it may live, and ask.
        self._taken_over: dict[str, None] = {}
        self._turns = asyncio.Semaphore(TURNS)
        self._door: PeerDoor | None = None

    async def open(self, address: str) -> None:
        """Listen for sources at an address."""
        self._door = await PeerDoor.open(address)

    def known(self, migration: str) -> Prepared | None:
        """Return what was answered to a preparation that is asked for again."""
        end = self._ends.get(migration)
        return None if end is None else self._prepared(migration, end)

    async def expect(
        self, spec: MigrationSpec, vm: LocalVm, source: Handle, pages: PageSource | None
    ) -> Prepared:
        """Let a VM's memory come; with `pages` it may run before all of it is here.

        Raises:
            PagerFailed, OSError: If its faults cannot be served; the VM is ended then.
        """
        late = None
        if pages is not None:
            try:
                late = await asyncio.get_running_loop().run_in_executor(
                    None, _serve, vm, pages, self._receiving.rate_bytes_per_second
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
        self._ends[spec.id] = end
        return self._prepared(spec.id, end)

    @property
    def busy(self) -> bool:
        """Whether anything of a migration that came is under way."""
        return bool(self._ends)

    def waiting(self) -> tuple[tuple[str, str, int], ...]:
        """Return (migration, VM, epoch) of all that do not run yet."""
        return tuple(
            (migration, end.vm.spec.name, end.vm.epoch)
            for migration, end in self._ends.items()
            if end.vm.power is not Power.RUNNING
        )

    def set_shares(self, shares: dict[str, float | None]) -> None:
        """Set the network share of migrations, in bytes a second.

        Told once, and perhaps before the migration is prepared, so they are kept.
        """
        self._shares.update(shares)
        for migration, rate in shares.items():
            if (end := self._ends.get(migration)) is not None:
                end.set_share(rate)

    async def pull(self, migration: str) -> None:
        """Fetch and install what the source has to send in this round."""
        await self._ends[migration].pull()

    async def pull_remainder(self, migration: str) -> None:
        """Bring every page that the running VM still lacks."""
        if migration not in self._taken_over:  # its source lives after all; nothing is missing
            await self._ends[migration].pull_remainder()

    async def said(self, migration: str, kind: str, what: object) -> None:
        """Do what the source says; any of it may be said twice.

        Raises:
            ValueError: If a source does not say such a thing.
        """
        match kind, what:
            case "announce", np.ndarray():
                self._ends[migration].announce(what)
            case "finish", Switchover():
                await self._ends[migration].finish(what)
            case "resume", None:
                await self._resume(migration)
            case _:
                raise ValueError(f"a source does not say {kind} of {type(what).__name__}")

    async def take_over(self, migration: str, here: LocalVm | None, epoch: int) -> str:
        """Run a VM whose source died after the commit; return "" or why it cannot run.

        What had not left the source's process died with it; what had is waited for. `here` is
        the VM of that name that runs here already.
        """
        end = self._ends.get(migration)
        if end is None:
            if here is not None and here.epoch == epoch:
                return ""
            return f"{self._host} knows nothing of {migration}"
        missing = await end.rescue()
        if missing:
            end.close()
            end.vm.end()
            end.vm.free()
            self._gone(end.vm)
            self._ends.pop(migration, None)
            return f"lost with {missing} pages that had not arrived"
        keep_latest(self._taken_over, migration)
        await self._resume(migration)
        self._work.spawn(self._let_go(migration))
        return ""

    def discard(self, migration: str) -> None:
        """Forget a migration that was rolled back; unknown ones are forgotten."""
        end = self._ends.get(migration)
        if self._door is not None:
            self._door.forget(migration)
        if end is not None and end.settles:  # nobody asks for its hashes any more
            self._work.spawn(self._let_go(migration))
            return
        self._ends.pop(migration, None)
        self._shares.pop(migration, None)
        if end is not None and end.vm.power is not Power.RUNNING:
            end.close()
            end.vm.end()
            end.vm.free()

    async def noted(self, migration: str) -> tuple[Hashes, Served | None]:
        """Return each page's hash as it was installed, and what the pager did; forget both."""
        end = self._ends[migration]
        try:
            hashes = await end.noted()
            return hashes, end.served
        finally:
            await self._let_go(migration)

    async def settled(self, vm: LocalVm) -> None:
        """Return when nothing of a migration that brought a VM here is under way any more.

        Raises:
            OSError: If its writes cannot be tracked.
        """
        for end in [end for end in self._ends.values() if end.vm is vm]:
            await end.settled()

    def close(self) -> None:
        """End what has not run yet, and listen no more."""
        for end in self._ends.values():
            end.close()
            end.vm.end()
            end.vm.free()
        if self._door is not None:
            self._door.close()

    # Inside.

    def _prepared(self, migration: str, end: DestinationEnd) -> Prepared:
        return Prepared(there=end.vm.handle, peer=self._let_in(migration))

    async def _resume(self, migration: str) -> None:
        """Run the VM: the ownership record is ours."""
        end = self._ends.get(migration)
        if end is None and migration in self._taken_over:
            return
        end = self._ends[migration]
        if end.vm.power is not Power.RUNNING:
            await end.resume()
            self._landed(end.vm)

    async def _let_go(self, migration: str) -> None:
        """Free what a migration needed beside the VM that it brought, when that is settled.

        Raises:
            OSError: If the VM's writes cannot be tracked. All is kept then, for another try.
        """
        end = self._ends.get(migration)
        if end is None:
            return
        await end.settled()
        end.close()
        self._ends.pop(migration, None)
        self._shares.pop(migration, None)

    def _let_in(self, migration: str) -> PeerAddress | None:
        """Expect the source on a socket of its own, which spares the blackout Ray's calls."""
        if self._door is None:
            return None

        async def serve(kind: str, payload: bytes) -> bytes:
            await self.said(migration, kind, pickle.loads(payload))
            return b""

        return self._door.expect(migration, serve)


def _serve(vm: LocalVm, pages: PageSource, rate_bytes_per_second: float | None) -> LateMemory:
    """Start serving a VM's faults; blocks until it is served, and leaves nothing if it is not."""
    late = LateMemory(vm, pages, rate_bytes_per_second)
    try:
        late.wait_ready()
    except PagerFailed:
        late.close()
        raise
    return late
