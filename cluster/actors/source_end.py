"""The source's end of a migration: carries out the machine's commands, and decides nothing."""

import asyncio
import contextlib
import os
import time

import ray
from ray.exceptions import ActorUnavailableError, RayError

from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.replies import Handle
from cluster.actors.reports import MigrationProgress
from cluster.actors.vm_link import VmGone, VmRefused
from cluster.inventory.model import Mode
from cluster.memory.guest_memory import create_memory, map_memory
from cluster.memory.pagers import PagerFailed, PageServer, PageSource
from cluster.memory.transfer import Batch, Outbox
from cluster.migration.messages import (
    Answer,
    Command,
    Commit,
    Failed,
    Interrupt,
    Prepare,
    Progressed,
    Refused,
    Resume,
    Rollback,
    SendDirty,
    SendRemainder,
    SendState,
    Stun,
    Succeeded,
    Throttle,
    Unregister,
)
from cluster.migration.spec import MigrationSpec
from cluster.migration.state import State
from cluster.page import PAGE_BYTES
from cluster.policy.sharing import SerialLink

# What is left at the stun goes along with the state up to this size, and in batches above.
_INLINE_BYTES_MAX = 4 << 20
# Below any `stall_s_max`: silence for longer is the machine's to judge.
_CENTER_AWAY_S_MAX = 5.0
_COMMIT_AGAIN_S = 0.02


class SourceEnd:
    """One migration as its source sees it; lives on the host's loop."""

    def __init__(
        self,
        *,
        spec: MigrationSpec,
        vm: LocalVm,
        host: Handle,
        destination: Handle,
        center: Handle,
        sending: SerialLink,
    ) -> None:
        """`sending` is this host's card, shared with every other migration that leaves."""
        self.spec = spec
        self.vm = vm
        self._host = host
        self._destination = destination
        self._center = center
        self._sending = sending
        # A byte a page: which ones the destination has fetched by itself.
        marks_bytes = -(-spec.memory_pages // PAGE_BYTES) * PAGE_BYTES
        self._fetched_fd = create_memory(f"{spec.vm}-fetched", marks_bytes)
        self._fetched = map_memory(self._fetched_fd, marks_bytes).flat
        self._outbox = Outbox(vm.tracker, vm.populated(), self._fetched)
        self._server: PageServer | None = None
        self._prepared = False
        self._there: Handle = None

    @property
    def there(self) -> Handle:
        """The VM at the destination; None until that is prepared."""
        return self._there

    @property
    def outbox(self) -> Outbox:
        """What this round has sent so far."""
        return self._outbox

    async def carry_out(self, command: Command) -> Answer:
        """Do what the machine says and answer once, whatever goes wrong."""
        try:
            return await self._do(command)
        except VmRefused as error:
            return Refused(reply_to=command.seq, reason=str(error))
        except (VmGone, PagerFailed, RayError, OSError) as error:
            return Failed(reply_to=command.seq, reason=f"{type(error).__name__}: {error}")

    def seen(self, state: State) -> MigrationProgress:
        """Return what people who watch may know of the migration now."""
        rounds = state.figures.rounds
        rate = state.link.bytes_per_second
        return MigrationProgress(
            migration=self.spec.id,
            phase=state.phase.value,
            round=len(rounds),
            sent_bytes=state.figures.precopy_bytes + self._outbox.sent_bytes,
            dirty_pages=rounds[-1].pages_dirty if rounds else 0,
            rate_bytes_per_second=rate or 0.0,
            throttle_ratio=state.throttle_ratio,
        )

    async def progress(self, seq: int) -> Progressed:
        """Say how far the send `seq` is."""
        written = await asyncio.get_running_loop().run_in_executor(None, self._outbox.written_count)
        return Progressed(reply_to=seq, bytes_sent=self._outbox.sent_bytes, pages_dirty=written)

    async def read_batch(self, bytes_max: int) -> Batch | None:
        """Return the next pages once the card would have sent them; None ends the round."""
        asked = time.monotonic()
        batch = await asyncio.get_running_loop().run_in_executor(
            None, self._outbox.next_batch, bytes_max
        )
        if batch is not None:
            await self._until_sent(batch.wire_bytes, asked)
        return batch

    def close(self) -> None:
        """Stop serving pages; safe to call twice."""
        if self._server is not None:
            self._server.end()
            self._server = None
        if self._fetched_fd >= 0:
            os.close(self._fetched_fd)
            self._fetched_fd = -1

    async def _until_sent(self, nbytes: int, began: float) -> None:
        wait_s = self._sending.accept(nbytes, now=began) - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _do(self, command: Command) -> Answer:
        match command:
            case Prepare():
                return await self._prepare(command)
            case SendDirty():
                return await self._send_dirty(command)
            case Throttle(ratio=ratio):
                self.vm.control.put("throttle_ratio", ratio)
            case Interrupt():
                self._outbox.interrupt()
            case Stun():
                await self.vm.stun()
            case SendState():
                return await self._send_state(command)
            case Commit():
                return await self._commit(command)
            case Resume():
                await self._destination.resume.remote(self.spec.id)
            case SendRemainder():
                return await self._send_remainder(command)
            case Rollback():
                return await self._roll_back(command)
            case Unregister():
                self.close()
                self.vm.end()
        return Succeeded(reply_to=command.seq)

    async def _prepare(self, command: Prepare) -> Answer:
        spec, vm = self.spec, self.vm
        # Probes begin now: a VM that is stunned soon has been heard of before.
        await vm.handle.expect.remote(True, None)
        pages = None
        if spec.mode is not Mode.PRECOPY:
            pages = await asyncio.get_running_loop().run_in_executor(None, self._serve_pages)
        self._prepared = True  # from here on there may be something to forget
        self._there, refusal = await self._destination.prepare.remote(
            spec, vm.spec, vm.demand, vm.demand_from_s, self._host, pages
        )
        if refusal:
            return Refused(reply_to=command.seq, reason=refusal)
        # Clients and VirtualCenter learn of the new place ahead of time: to take over an
        # actor's handle costs milliseconds, which would be the blackout's.
        await asyncio.gather(
            vm.handle.expect.remote(True, self._there),
            self._tell_prepared(),
        )
        return Succeeded(reply_to=command.seq)

    async def _tell_prepared(self) -> None:
        """A VirtualCenter that is away asks for it when it is back."""
        with contextlib.suppress(RayError):
            await self._center.prepared.remote(self.spec.id, self._there)

    async def _send_dirty(self, command: SendDirty) -> Answer:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        await loop.run_in_executor(None, self._outbox.begin_round)
        scanned = time.monotonic()
        await self._destination.pull.remote(self.spec.id)
        copied = time.monotonic()
        return await loop.run_in_executor(
            None, self._sent, command.seq, scanned - began, copied - scanned
        )

    def _serve_pages(self) -> PageSource:
        """Start the process that serves single pages to the destination's pager."""
        if self._server is None or not self._server.alive:
            self._server = PageServer(
                memory_fd=self.vm.memory_fd,
                sent_fd=self._fetched_fd,
                pages=self.spec.memory_pages,
                host=ray.util.get_node_ip_address(),
            )
        return self._server.wait_listening()

    async def _send_state(self, command: SendState) -> Answer:
        if command.bitmap_only:
            return await self._flip(command)
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        owed_bytes = PAGE_BYTES * await loop.run_in_executor(None, self._outbox.begin_round)
        scanned = time.monotonic()
        if owed_bytes > _INLINE_BYTES_MAX:
            await self._destination.pull.remote(self.spec.id)
        last = await self.read_batch(_INLINE_BYTES_MAX)
        copied = time.monotonic()
        state = await self.vm.capture()
        await self._destination.finish.remote(self.spec.id, state, last, None)
        return self._sent(command.seq, scanned - began, copied - scanned)

    async def _flip(self, command: SendState) -> Answer:
        """Send the state and which pages are missing; the pages themselves stay here."""
        began = time.monotonic()
        missing = await asyncio.get_running_loop().run_in_executor(None, self._outbox.flip)
        scanned = time.monotonic()
        state = await self.vm.capture()
        await self._destination.finish.remote(self.spec.id, state, None, missing)
        return Succeeded(
            reply_to=command.seq,
            pages_dirty=len(missing),
            sent_bytes=missing.nbytes + len(state),
            scan_s=scanned - began,
        )

    async def _send_remainder(self, command: SendRemainder) -> Answer:
        self._outbox.begin_remainder()
        await self._destination.pull_remainder.remote(self.spec.id)
        self._outbox.confirm()
        fetched = int(self._fetched.sum())
        return Succeeded(
            reply_to=command.seq,
            pages_sent=self._outbox.sent_pages + fetched,
            zero_pages=self._outbox.zero_pages,
            sent_bytes=self._outbox.sent_bytes + fetched * PAGE_BYTES,
        )

    def _sent(self, seq: int, scan_s: float, copy_s: float) -> Succeeded:
        box = self._outbox
        box.confirm()
        return Succeeded(
            reply_to=seq,
            pages_sent=box.sent_pages,
            pages_dirty=box.owed_count(),
            zero_pages=box.zero_pages,
            sent_bytes=box.sent_bytes,
            scan_s=scan_s,
            copy_s=copy_s,
        )

    async def _commit(self, command: Commit) -> Answer:
        refusal = await self._ask_commit(command.epoch)
        if refusal:
            return Refused(reply_to=command.seq, reason=refusal)
        return Succeeded(reply_to=command.seq)

    async def _ask_commit(self, epoch: int) -> str:
        """Ask VirtualCenter, at once again while it is starting anew: the VM stands still meanwhile.

        Raises:
            ray.exceptions.RayError: If it is away for long; the machine asks again then.
        """
        end_s = time.monotonic() + _CENTER_AWAY_S_MAX
        while True:
            try:
                refusal: str = await self._center.commit.remote(self.spec.id, epoch)
            except ActorUnavailableError:
                if time.monotonic() > end_s:
                    raise
                await asyncio.sleep(_COMMIT_AGAIN_S)
            else:
                return refusal

    async def _roll_back(self, command: Rollback) -> Answer:
        """Run here again first, and only then tell the destination to forget."""
        self.vm.control.put("throttle_ratio", 0.0)
        self.close()
        if self.vm.power is Power.OFF:
            return Refused(reply_to=command.seq, reason="the VM has ended on the source")
        try:
            await self.vm.handle.expect.remote(False, None)
            await self.vm.resume()
        except VmGone as error:
            return Refused(reply_to=command.seq, reason=str(error))
        if self._prepared:
            await self._forget_there()
        return Succeeded(reply_to=command.seq)

    async def _forget_there(self) -> None:
        try:
            await self._destination.discard.remote(self.spec.id)
        except RayError:
            # A destination that is gone has forgotten by itself; one that is only cut off
            # is told again by VirtualCenter when it answers.
            self._prepared = False
