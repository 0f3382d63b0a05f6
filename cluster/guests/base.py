"""The class that a guest program subclasses, and what a guest may rely on.

A guest is a Python object whose arrays live in the VM's memory. The host moves
those pages while the guest runs; the guest is not told. What is not in the
arrays (ordinary attributes) stands for the CPU's registers and device state: it
is pickled at the switchover and must stay under `STATE_BYTES_MAX`.

The contract:
- declare arrays in `layout()`; they appear as attributes of the same name, bound
  by offset, in `start()` and ever after, on every host the VM runs on; write into them
  (`self.counts[...] = x`), never replace them (`self.counts = x` raises);
- `step(budget)` returns within `QUANTUM_S_MAX`; overruns are counted and shown;
- no threads, no fork, no addresses or views of arrays kept in attributes;
- no wall clock and no unseeded chance, if writes are to be replayed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

QUANTUM_S_MAX = 0.001
STATE_BYTES_MAX = 1 << 20


class Special(Enum):
    """Requests that every VM answers, whatever its guest is.

    PROBE is answered by the VM's own part of guest memory: it increments `header[0]` and
    answers with the new count, so that probes are numbered without a gap.
    """

    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """An array that a guest asks for in its memory; zero until it is written."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike = np.uint8

    @property
    def nbytes(self) -> int:
        """Bytes the array needs, without padding to the next page."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a vCPU grants for one step.

    Attributes:
        seconds: Guest time since the last step. On a host that cannot serve the VM's
            whole demand guest time runs slower than the wall clock, so a guest
            that works "per second of budget" really slows down.
        cycles: MHz × seconds granted, for guests that count work and not time.
        demand_mhz: What the VM asks for now.
    """

    seconds: float
    cycles: float
    demand_mhz: float


class Guest:
    """A program that runs in a VM; subclass it and override what you need.

    Attributes:
        memory_bytes: Memory left for arrays, known before `layout()` is called.
        seed: The VM's seed.
        period_s: How often `step` is called when no request arrives (class or instance).
        replayable: `replay` rebuilds the memory from the attributes and the clients' log.
    """

    period_s: float = 0.005
    replayable: ClassVar[bool] = False

    def __init__(self, *, memory_bytes: int, seed: int = 0) -> None:
        """Keep parameters only; the arrays are not there yet.

        Subclasses add keyword arguments; the scenario's `guest` table supplies them.

        Raises:
            ValueError: If a parameter is wrong. The message is shown to the user.
        """
        self.memory_bytes = memory_bytes
        self.seed = seed

    def layout(self) -> Mapping[str, Array]:
        """Name the arrays this guest keeps in VM memory; each starts on a page."""
        return {}

    def start(self) -> None:
        """Fill the arrays once, at the first power-on; not called after a migration."""

    def step(self, budget: Budget) -> None:
        """Run for one quantum."""

    def handle(self, request: object) -> object:
        """Answer a client's request; runs on the vCPU, between steps.

        Raises:
            Exception: Any exception powers the VM off, as one in `step` does. Answer
                a bad request with a value that says so.
        """
        raise ValueError(f"{type(self).__name__} answers no requests, got {request!r}")

    def replay(self, log: Sequence[tuple[object, object]]) -> None:
        """Write what the original has written, into arrays that `start` has just filled.

        Called on a second instance that has the original's attributes. `log` holds every
        (request, answer) that the original handled, in order. Override it together with
        `replayable = True`.

        Raises:
            ValueError: If the log cannot have led to the answers in it.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be replayed")

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to replace an array by something outside VM memory.

        `self.counts = self.counts + 1` would leave the guest with an array that no
        migration moves; the loss would show hosts later, or never.
        """
        arrays = self.__dict__.get("_arrays", {})
        if name in arrays and value is not arrays[name]:
            raise AttributeError(
                f"{type(self).__name__}.{name} lives in VM memory and cannot be replaced; "
                f"write into it: self.{name}[...] = value"
            )
        super().__setattr__(name, value)
