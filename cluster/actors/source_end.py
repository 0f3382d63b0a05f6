"""The source's end of a migration: carries out the machine's commands, and decides nothing."""

import asyncio
import time

import numpy as np
import ray
from ray.exceptions import RayError

from cluster.actors.center_line import CenterLine
from cluster.actors.destination_line import DestinationLine
from cluster.actors.giving_back import GivingBack
from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.outgoing import Outgoing
from cluster.actors.peer import PeerFailed, Prepared, Switchover
from cluster.actors.pulling import Waybill
from cluster.actors.replies import Handle
from cluster.actors.reports import MigrationProgress
from cluster.actors.touching import StoreToucher, map_early
from cluster.actors.vm_link import VmGone, VmRefused
from cluster.inventory.model import Mode
from cluster.memory.guest_memory import Pages, Runs, pages_of
from cluster.memory.hashes import Hashes
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
# From the stun on a VM tells clients that still come where it is now. One that ended sooner would
# have them ask VirtualCenter, which takes longer than the blackout.
_TURNS_AWAY_S = 0.05
# How often a destination is asked whether it still prepares.
_LISTEN_S = 1.0
# The VM's own page is written for each request and touched first of all: it goes with the
# state, like other devices' registers, and costs a flip no fault.
_HEADER: Pages = np.zeros(1, dtype=np.int64)
# Runs of touched pages that a preparation names; finer ones are joined.
_RUNS_MAX = 1024


class SourceEnd:
    """One migration as its source sees it; lives on the host's loop."""

    def __init__(
        self,
        *,
        spec: MigrationSpec,
        vm: LocalVm,
        populated: Runs,
        host: Handle,
        destination: Handle,
        line: CenterLine,
        sending: SerialLink,
        store: StoreToucher,
    ) -> None:
        """`populated` are the pages that the VM had ever touched when its writes were tracked already.

        `sending` is this host's card, shared with every other migration that leaves; so is `store`.
        """
        self.spec = spec
        self.vm = vm
        self._populated = populated
        self._host = host
        self._destination = destination
        self._line = line
        self._store = store
        self._outgoing = Outgoing(spec.vm, spec.memory_pages, sending)
        self._stunned_s = 0.0
        self._moved = (-1, -1, -1)
        self._outbox = Outbox(
            vm.tracker,
            pages_of(populated),
            spec.memory_pages,
            self._outgoing.fetched,
            checksummed=spec.checksum,
        )
        self._server: PageServer | None = None
        self._prepared = False
        self._preparing = False
        self._heard_s = 0.0
        self._there: Handle = None
        self._giving = GivingBack(vm, self._outbox, self._outgoing.fetched, hashed=spec.verify)
        self._peer = DestinationLine(spec.id, destination)
        self._state = b""

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
        except (VmGone, PagerFailed, PeerFailed, RayError, OSError) as error:
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

    async def progress(self, seq: int) -> Progressed | None:
        """Say how far the send `seq` is, or that the destination is at its preparation.

        A process that starts on a busy machine takes its time, which is no silence. None if
        nothing is known.
        """
        if self._preparing:
            return await self._listen(seq)
        moved = (self._outbox.sent_bytes, *self._outgoing.moved)
        if moved == self._moved:
            return None
        self._moved = moved
        written = await asyncio.get_running_loop().run_in_executor(None, self._outbox.written_count)
        return Progressed(reply_to=seq, bytes_sent=self._outbox.sent_bytes, pages_dirty=written)

    async def _listen(self, seq: int) -> Progressed | None:
        """Ask the destination now and then whether it is still there."""
        if time.monotonic() - self._heard_s > _LISTEN_S:
            try:
                await asyncio.wait_for(self._destination.answer.remote(), _LISTEN_S)
            except (RayError, TimeoutError):
                return None
            self._heard_s = time.monotonic()
        return Progressed(reply_to=seq, bytes_sent=0, pages_dirty=0)

    async def read_batch(
        self, bytes_max: int, rate_bytes_per_second: float | None
    ) -> tuple[Waybill | None, Batch | None]:
        """Return the next pages, as they are now; twice None ends the round.

        The rate is this migration's share at the destination; None is as fast as can be.
        """
        batch = await asyncio.get_running_loop().run_in_executor(
            None, self._outbox.next_batch, bytes_max, self._packed_for(rate_bytes_per_second)
        )
        if batch is None:
            return None, None
        paced = self._outgoing.rate_bytes_per_second is not None
        if not paced:
            await self.leave(batch.wire_bytes)
        return Waybill(wire_bytes=batch.wire_bytes, paced=paced), batch

    def _packed_for(self, share: float | None) -> float | None:
        """Return the rate that packing has to beat; None packs nothing."""
        rates = [rate for rate in (share, self._outgoing.rate_bytes_per_second) if rate is not None]
        return min(rates) if rates and self.spec.compression else None

    async def leave(self, nbytes: int) -> None:
        """Return when the card would have sent so much; urgent pages had it before."""
        await self._outgoing.leave(nbytes)

    async def still_missing(self, pages: Pages) -> None:
        """Owe these pages and no others, whatever was sent before: the remainder is repeated."""
        await self._giving.still_missing(pages)

    async def arrived(self, pages: Pages) -> None:
        """Give back pages of the remainder that the destination has, and some sent before them."""
        await self._giving.arrived(pages)

    async def mismatched(self, noted: Hashes) -> int:
        """Return how many pages arrived otherwise than they were when the VM was stunned."""
        return await self._giving.mismatched(noted)

    def close(self) -> None:
        """Stop serving pages and hang up; safe to call twice."""
        self._giving.close()
        self._peer.close()
        if self._server is not None:
            self._server.end()
            self._server = None
        self._outgoing.close()

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
                self._state = await self.vm.stun_and_capture()
                self._stunned_s = time.monotonic()
            case SendState():
                return await self._send_state(command)
            case Commit():
                return await self._commit(command)
            case Resume():
                await self._peer.say("resume")
            case SendRemainder():
                return await self._send_remainder(command)
            case Rollback():
                return await self._roll_back(command)
            case Unregister():
                self.close()
                await asyncio.sleep(max(0.0, self._stunned_s + _TURNS_AWAY_S - time.monotonic()))
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
        runs = self._populated
        mapped = map_early(vm.memory, runs)
        self._preparing, self._heard_s = True, time.monotonic()
        try:
            prepared: Prepared = await self._destination.prepare.remote(
                spec, vm.spec, vm.demand, vm.demand_from_s, self._host, pages, _coarse(runs)
            )
        finally:
            self._preparing = False
        if prepared.refusal:
            return Refused(reply_to=command.seq, reason=prepared.refusal)
        self._there = prepared.there
        touched_bytes = PAGE_BYTES * sum(stop - first for first, stop in runs)
        touching = self._store.touch_for(touched_bytes)
        await asyncio.gather(mapped, touching, self._peer.reach(prepared.peer))
        if spec.mode is Mode.POSTCOPY:
            await self._announce()
        # Clients and VirtualCenter learn of the new place ahead of time: to take over an
        # actor's handle costs milliseconds, which would be the blackout's.
        await asyncio.gather(
            vm.handle.expect.remote(True, self._there),
            self._line.prepared(spec.id, self._there),
        )
        return Succeeded(reply_to=command.seq)

    async def _send_dirty(self, command: SendDirty) -> Answer:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        await loop.run_in_executor(None, self._outbox.begin_round)
        scanned = time.monotonic()
        await self._destination.pull.remote(self.spec.id)
        copied = time.monotonic()
        self._outbox.confirm()
        # What is dirty by now is known at the destination before the stun: a flip then adds
        # what the guest writes from here to there, and costs the same whatever is dirty.
        await loop.run_in_executor(None, self._outbox.harvest)
        if self.spec.mode is not Mode.PRECOPY:
            await self._announce()
        return self._sent(command.seq, scanned - began, copied - scanned)

    async def _announce(self) -> None:
        owed = self._outbox.owed()
        await asyncio.gather(self._peer.say("announce", owed), self._outgoing.go_first(owed.nbytes))

    def _serve_pages(self) -> PageSource:
        """Start the process that serves single pages to the destination's pager."""
        if self._server is None or not self._server.alive:
            self._server = PageServer(
                memory_fd=self.vm.memory_fd,
                sent_fd=self._outgoing.fetched_fd,
                pages=self.spec.memory_pages,
                host=ray.util.get_node_ip_address(),
                rate_bytes_per_second=self._outgoing.rate_bytes_per_second,
            )
        return self._server.wait_listening()

    async def _send_state(self, command: SendState) -> Answer:
        began = time.monotonic()
        if self.vm.tracker.quick:
            new = self._outbox.harvest()  # a hop to a thread and back costs more
        else:
            new = await asyncio.get_running_loop().run_in_executor(None, self._outbox.harvest)
        scanned = time.monotonic()
        if command.bitmap_only:
            header = self._outbox.ahead(_HEADER)
            sent_bytes = new.nbytes + len(self._state) + header.wire_bytes
            await asyncio.gather(
                self._peer.say("finish", Switchover(state=self._state, missing=new, last=header)),
                self._outgoing.go_first(sent_bytes),
            )
            return Succeeded(
                reply_to=command.seq,
                pages_dirty=self._outbox.owed_count(),
                sent_bytes=sent_bytes,
                scan_s=scanned - began,
            )
        owed_bytes = PAGE_BYTES * self._outbox.begin_remainder()
        if owed_bytes > _INLINE_BYTES_MAX:
            await self._destination.pull.remote(self.spec.id)
        last = self._outbox.next_batch(_INLINE_BYTES_MAX)
        copied = time.monotonic()
        saying = self._peer.say("finish", Switchover(state=self._state, last=last))
        if last is None:
            await saying
        else:  # it leaves this card while it arrives at the other one
            await asyncio.gather(saying, self._outgoing.sent(last.wire_bytes, scanned))
            copied = time.monotonic()
        self._outbox.confirm()
        return self._sent(command.seq, scanned - began, copied - scanned)

    async def _send_remainder(self, command: SendRemainder) -> Answer:
        self._outbox.begin_remainder()
        await self._destination.pull_remainder.remote(self.spec.id)
        self._outbox.confirm()
        fetched = self._outgoing.fetched_pages
        return Succeeded(
            reply_to=command.seq,
            pages_sent=self._outbox.sent_pages + fetched,
            zero_pages=self._outbox.zero_pages,
            sent_bytes=self._outbox.sent_bytes + fetched * PAGE_BYTES,
        )

    def _sent(self, seq: int, scan_s: float, copy_s: float) -> Succeeded:
        box = self._outbox
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
        refusal = await self._line.commit(self.spec.id, command.epoch)
        if refusal:
            return Refused(reply_to=command.seq, reason=refusal)
        return Succeeded(reply_to=command.seq)

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


def _coarse(runs: Runs) -> Runs:
    """Return at most `_RUNS_MAX` runs that hold all of `runs`, and the gaps between some."""
    step = -(-len(runs) // _RUNS_MAX)
    groups = [runs[at : at + step] for at in range(0, len(runs), max(step, 1))]
    return tuple((group[0][0], group[-1][1]) for group in groups)
