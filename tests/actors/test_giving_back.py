"""What a source frees while its VM's memory follows: nothing that may still be asked for."""

import asyncio
import os
from types import SimpleNamespace

import numpy as np
import pytest

from cluster.actors.center_line import CenterLine
from cluster.actors.source_end import SourceEnd
from cluster.actors.touching import StoreToucher
from cluster.inventory.model import Mode
from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory, populated_pages
from cluster.memory.tracker import ShadowTracker
from cluster.migration.spec import MigrationSpec
from cluster.policy.sharing import SerialLink

PAGES = 600


@pytest.fixture
def vm():
    nbytes = PAGES * PAGE_BYTES
    fd = create_memory("leaver", nbytes)
    memory = map_memory(fd, nbytes)
    memory.flat[:] = 7
    tracker = ShadowTracker(memory=memory, fd=fd)
    yield SimpleNamespace(
        memory=memory, tracker=tracker, populated=lambda: populated_pages(fd, nbytes)
    )
    tracker.close()
    os.close(fd)


def test_a_page_that_the_pager_has_asked_for_is_not_given_back_before_it_has_come(vm):
    """The remainder is asked for again before its first batch has arrived."""
    end = SourceEnd(
        spec=MigrationSpec(
            id="m1",
            vm="w",
            source="a",
            destination="b",
            epoch=2,
            memory_bytes=PAGES * PAGE_BYTES,
            mode=Mode.POSTCOPY,
        ),
        vm=vm,
        populated=((0, PAGES),),
        host=None,
        destination=None,
        line=CenterLine(),
        sending=SerialLink(rate_bytes_per_second=None),
        store=StoreToucher(0),
    )
    claimed = np.arange(40, 60)

    async def ask_again():
        await end.still_missing(np.setdiff1d(np.arange(PAGES), claimed))
        await end.arrived(np.arange(0, 32))
        await end.arrived(np.arange(64, 96))

    asyncio.run(ask_again())
    here = vm.populated()
    end.close()

    assert set(claimed.tolist()) <= set(here.tolist())
    assert PAGES - 64 == len(here)
