"""What a VM answers to a client, and the births of VMs: frozen, picklable."""

from dataclasses import dataclass
from typing import Any

from cluster.inventory.model import VmSpec
from cluster.memory.tracker import TrackerKind

# A Ray actor handle. Ray publishes no type for it that survives `ray.remote(cls)`.
Handle = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The guest has done the request, once.

    Attributes:
        epoch: Of the VM that answered; a client learns from it that the VM has moved.
        moving: The VM is about to move, or its memory is still arriving.
        then: Where to, to be warmed up; None while that is not known.
    """

    answer: object
    epoch: int
    moving: bool = False
    then: Handle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Not done here; ask there: None is where the last answer said that the VM would be."""

    to: Handle | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHere:
    """Not done here, and never will be; ask VirtualCenter where the VM is."""

    reason: str


Reply = Answered | Moved | NotHere


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a VM runs.

    Attributes:
        born: The epoch under which it was booted; with another one its memory is new.
    """

    vm: Handle
    epoch: int
    born: int


class CenterDown(Exception):
    """VirtualCenter cannot work; the message says why, and what cures it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a VM process needs to find its host and become a VM.

    Attributes:
        boots: Start the guest afresh; otherwise wait for the state of a migration.
        socket_path: Of the host, on the same machine.
        token: Proves to the host that this is the process it asked for.
    """

    spec: VmSpec
    epoch: int
    boots: bool
    socket_path: str
    token: str
    tracker: TrackerKind
