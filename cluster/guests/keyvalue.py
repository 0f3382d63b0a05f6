"""A guest that serves: a hash table in VM memory, whose operations are numbered without a gap.

Whoever collects every answer knows the order in which all operations happened. An
operation lost, done twice, or done by two copies of the VM shows in the numbers.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.guests.base import Array, Guest
from cluster.guests.chance import GOLDEN
from cluster.page import PAGE_BYTES

COUNTER_BYTES = 8
VALUE_BYTES = 256
_MASK = (1 << 64) - 1


class Status(IntEnum):
    """What became of an operation."""

    DONE = 0
    ABSENT = 1
    FULL = 2


class Answer(NamedTuple):
    """The answer to a well-formed request.

    Attributes:
        number: Of the operation: 0, 1, 2 … over the VM's life, whoever asked.
        value: The stored bytes for a get, the new count for an increment, else None.
    """

    number: int
    status: Status
    value: bytes | int | None = None


class Malformed(NamedTuple):
    """The answer to a request that is none; it has no number and changed nothing."""

    reason: str


class KeyValue(Guest):
    """A hash table with linear probing: uint64 keys, values of `value_bytes`, no deletion.

    Requests are tuples: ("put", key, value), ("get", key), ("increment", key). A shorter
    value is padded with zeros. Increment takes the value's first eight bytes for an
    unsigned little-endian number and wraps at 2**64; an absent key counts from 0. A new key in a full
    table is answered with FULL.
    """

    period_s = 0.05
    replayable: ClassVar[bool] = True
    operations: npt.NDArray[np.uint64]
    used: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    values: npt.NDArray[np.uint8]

    def __init__(
        self,
        *,
        memory_bytes: int,
        seed: int = 0,
        slots: int | None = None,
        value_bytes: int = VALUE_BYTES,
    ) -> None:
        """Check the parameters; without `slots` the table fills the VM's memory.

        Raises:
            ValueError: If a parameter is out of range.
        """
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        if not COUNTER_BYTES <= value_bytes <= PAGE_BYTES:
            raise ValueError(
                f"value_bytes must be {COUNTER_BYTES} to {PAGE_BYTES}, is {value_bytes}"
            )
        if slots is None:
            # One page for the counter; each of the three columns may leave a page unfilled.
            slots = (memory_bytes - 4 * PAGE_BYTES) // (value_bytes + COUNTER_BYTES + 1)
        if slots < 1:
            raise ValueError(f"slots must be 1 or more and fit into memory, is {slots}")
        self.slots = slots
        self.value_bytes = value_bytes

    def layout(self) -> Mapping[str, Array]:
        """The counter of operations, and the table by columns."""
        return {
            "operations": Array(shape=(1,), dtype=np.uint64),
            "used": Array(shape=(self.slots,), dtype=np.uint8),
            "keys": Array(shape=(self.slots,), dtype=np.uint64),
            "values": Array(shape=(self.slots, self.value_bytes), dtype=np.uint8),
        }

    def handle(self, request: object) -> Answer | Malformed:
        """Do one operation and number it."""
        match request:
            case ("put", int(key), bytes(value)) if (
                0 <= key <= _MASK and len(value) <= self.value_bytes
            ):
                return self._put(key, value)
            case ("get", int(key)) if 0 <= key <= _MASK:
                return self._get(key)
            case ("increment", int(key)) if 0 <= key <= _MASK:
                return self._increment(key)
        return Malformed(
            'ask ("put", key, value), ("get", key) or ("increment", key); key 0 to 2**64 - 1, '
            f"value at most {self.value_bytes} bytes"
        )

    def replay(self, log: Sequence[tuple[object, object]]) -> None:
        """Do every operation again, and compare its answer with the one the client got."""
        for request, answer in log:
            again = self.handle(request)
            if again != answer:
                raise ValueError(f"{request!r} was answered {answer!r}, should have been {again!r}")

    def _put(self, key: int, value: bytes) -> Answer:
        slot = self._claim(key)
        if slot is None:
            return Answer(self._number(), Status.FULL)
        row = self.values[slot]
        row[: len(value)] = np.frombuffer(value, dtype=np.uint8)
        row[len(value) :] = 0
        return Answer(self._number(), Status.DONE)

    def _get(self, key: int) -> Answer:
        slot, found = self._find(key)
        if not found:
            return Answer(self._number(), Status.ABSENT)
        return Answer(self._number(), Status.DONE, self.values[slot].tobytes())

    def _increment(self, key: int) -> Answer:
        slot = self._claim(key)
        if slot is None:
            return Answer(self._number(), Status.FULL)
        counter = self.values[slot, :COUNTER_BYTES]
        count = (int.from_bytes(counter.tobytes(), "little") + 1) & _MASK
        counter[...] = np.frombuffer(count.to_bytes(COUNTER_BYTES, "little"), dtype=np.uint8)
        return Answer(self._number(), Status.DONE, count)

    def _number(self) -> int:
        number = int(self.operations[0])
        self.operations[0] = number + 1
        return number

    def _claim(self, key: int) -> int | None:
        """Return the key's slot, taking a free one for a new key; None if all are taken."""
        slot, found = self._find(key)
        if found:
            return slot
        if self.used[slot]:
            return None
        self.used[slot] = 1
        self.keys[slot] = key
        return slot

    def _find(self, key: int) -> tuple[int, bool]:
        """Return (the key's slot, True), or (where the search ended, False)."""
        # Fibonacci hashing: the high bits of a product are the well-mixed ones.
        slot = ((key * GOLDEN & _MASK) * self.slots) >> 64
        for _ in range(self.slots):
            if not self.used[slot]:
                return slot, False
            if self.keys[slot] == key:
                return slot, True
            slot = slot + 1 if slot + 1 < self.slots else 0
        return slot, False
