"""Both kinds of tracker pass the same tests."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster.memory.guest_memory import PAGE_BYTES, Mapping, create_memory, map_memory
from cluster.memory.tracker import (
    ShadowTracker,
    Tracker,
    TrackerKind,
    WriteProtectTracker,
    probe,
)
from cluster.memory.userfaultfd import open_userfaultfd

PAGES = 3000


@dataclass
class Tracked:
    """A guest's mapping, its host's mapping of the same memory, and the tracker between."""

    fd: int
    guest: Mapping
    host: Mapping
    tracker: Tracker


@pytest.fixture(params=list(TrackerKind), ids=lambda kind: kind.value)
def tracked(request: pytest.FixtureRequest) -> Iterator[Tracked]:
    nbytes = PAGES * PAGE_BYTES
    fd = create_memory("test", nbytes)
    guest, host = map_memory(fd, nbytes), map_memory(fd, nbytes)
    uffd = -1
    tracker: Tracker
    if request.param is TrackerKind.WRITE_PROTECT:
        kind, why = probe()
        if kind is not TrackerKind.WRITE_PROTECT:
            pytest.skip(f"{why}; needs Linux 6.7 and sysctl vm.unprivileged_userfaultfd=1 or root")
        uffd = open_userfaultfd()
        tracker = WriteProtectTracker(
            uffd=uffd, pid=os.getpid(), address=guest.address, nbytes=nbytes, memory=host
        )
        tracker.arm()
    else:
        tracker = ShadowTracker(memory=host, fd=fd)
    yield Tracked(fd=fd, guest=guest, host=host, tracker=tracker)
    tracker.close()
    if uffd >= 0:
        os.close(uffd)
    os.close(fd)
