"""The loop between the machine and the source's end, without Ray."""

import asyncio
import time

from cluster.actors.driving import Driver
from cluster.migration.machine import Migration
from cluster.migration.messages import Progressed, Refused, Rollback, SendDirty, Succeeded
from cluster.migration.spec import MigrationSpec, Result


def test_a_send_that_makes_progress_is_not_taken_for_stalled():
    """Progress was once first looked at when the machine woke anyway: at the end of its patience."""
    spec = MigrationSpec(
        id="m", vm="v", source="a", destination="b", epoch=2, memory_bytes=1 << 20, stall_s_max=0.5
    )
    machine = Migration(spec)
    sent = 0

    async def carry_out(command):
        if isinstance(command, SendDirty):
            await asyncio.sleep(1.5)  # three times the patience
            return Refused(reply_to=command.seq, reason="enough")
        assert not isinstance(command, Rollback) or time.monotonic() - began > 1.4
        return Succeeded(reply_to=command.seq)

    async def progress(seq):
        nonlocal sent
        sent += 4096
        return Progressed(reply_to=seq, bytes_sent=sent, pages_dirty=0)

    began = time.monotonic()
    asyncio.run(
        Driver(machine, carry_out, progress, lambda: time.monotonic() - began, lambda _: None).run()
    )

    assert machine.outcome is not None
    assert Result.ABORTED is machine.outcome.result
    assert "enough" in machine.outcome.error


def test_a_send_that_does_not_move_is_stalled_and_fills_no_story():
    """A source that is asked and has nothing new to tell is silent, however often it is asked."""
    spec = MigrationSpec(
        id="m", vm="v", source="a", destination="b", epoch=2, memory_bytes=1 << 20, stall_s_max=0.5
    )
    machine = Migration(spec)

    async def carry_out(command):
        if isinstance(command, SendDirty):
            await asyncio.sleep(60.0)
        return Succeeded(reply_to=command.seq)

    async def progress(seq):
        return None

    began = time.monotonic()
    asyncio.run(
        Driver(machine, carry_out, progress, lambda: time.monotonic() - began, lambda _: None).run()
    )

    assert machine.outcome is not None
    assert Result.ABORTED is machine.outcome.result
    assert "no progress" in machine.outcome.error
    assert 4 == len(machine.story)  # begun, prepared, silent for too long, rolled back
