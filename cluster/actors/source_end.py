"""The source's end of a migration: carries out the machine's commands, and decides nothing."""

import asyncio
import time

from ray.exceptions import RayError

from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.replies import Handle
from cluster.actors.reports import MigrationProgress
from cluster.actors.vm_link import VmGone, VmRefused
from cluster.inventory.model import PAGE_BYTES
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
from cluster.policy.sharing import SerialLink

# What is left at the stun goes along with the state up to this size, and in batches above.
_INLINE_BYTES_MAX = 4 << 20


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
        self._outbox = Outbox(vm.tracker, vm.populated())
        self._prepared = False
        self._there: Handle = None

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
        except (VmGone, RayError, OSError) as error:
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
                reason = "post-copy needs a fault service, which this host does not have"
                return Refused(reply_to=command.seq, reason=reason)
            case Rollback():
                return await self._roll_back(command)
            case Unregister():
                self.vm.end()
        return Succeeded(reply_to=command.seq)

    async def _prepare(self, command: Prepare) -> Answer:
        spec, vm = self.spec, self.vm
        self._prepared = True  # from here on there may be something to forget
        self._there, refusal = await self._destination.prepare.remote(
            spec, vm.spec, vm.demand, vm.demand_from_s, self._host
        )
        if refusal:
            return Refused(reply_to=command.seq, reason=refusal)
        # Clients learn of the new place ahead of time, and warm their handles to it.
        await vm.handle.expect.remote(self._there)
        return Succeeded(reply_to=command.seq)

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

    async def _send_state(self, command: SendState) -> Answer:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        owed_bytes = PAGE_BYTES * await loop.run_in_executor(None, self._outbox.begin_round)
        scanned = time.monotonic()
        if owed_bytes > _INLINE_BYTES_MAX:
            await self._destination.pull.remote(self.spec.id)
        last = await self.read_batch(_INLINE_BYTES_MAX)
        copied = time.monotonic()
        state = await self.vm.capture()
        await self._destination.finish.remote(self.spec.id, state, last)
        return self._sent(command.seq, scanned - began, copied - scanned)

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
        refusal = await self._center.commit.remote(self.spec.id, command.epoch, self._there)
        if refusal:
            return Refused(reply_to=command.seq, reason=refusal)
        return Succeeded(reply_to=command.seq)

    async def _roll_back(self, command: Rollback) -> Answer:
        """Run here again first, and only then tell the destination to forget."""
        self.vm.control.put("throttle_ratio", 0.0)
        if self.vm.power is Power.OFF:
            return Refused(reply_to=command.seq, reason="the VM has ended on the source")
        try:
            await self.vm.handle.expect.remote(None)
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
