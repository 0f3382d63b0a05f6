"""What a VM's memory must hold, rebuilt from what is known outside it, and the comparison."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cluster.guests.base import Guest
from cluster.guests.memory_map import Buffer, bind, make_guest, restore_state
from cluster.page import PAGE_BYTES

# Problems named in words; the rest is counted.
NAMED_MAX = 5


class ReplayError(ValueError):
    """The logs do not tell what the guest did; the message says why."""


class OperationLog:
    """The numbered operations that one client saw answered, in any order."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.exchanges: list[tuple[object, object]] = []

    def add(self, number: int, request: object, answer: object) -> None:
        """Note one operation."""
        self.numbers.append(number)
        self.exchanges.append((request, answer))

    def __len__(self) -> int:
        return len(self.numbers)


def merge(logs: Iterable[OperationLog], *, operations: int) -> list[tuple[object, object]]:
    """Put all clients' (request, answer) in the order the guest did them.

    `operations` is the guest's own count.

    Raises:
        ReplayError: If a number is missing, is there twice, or is beyond the guest's count.
    """
    known = list(logs)
    exchanges = [exchange for log in known for exchange in log.exchanges]
    numbers = np.array([number for log in known for number in log.numbers], dtype=np.int64)
    beyond = numbers[(numbers < 0) | (numbers >= operations)]
    counts = np.bincount(numbers[(numbers >= 0) & (numbers < operations)], minlength=operations)
    problems = [
        *_problem("was never answered to a client", np.flatnonzero(counts == 0)),
        *_problem("was answered more than once", np.flatnonzero(counts > 1)),
        *_problem(f"is not among the {operations} that the guest did", beyond),
    ]
    if problems:
        raise ReplayError("; ".join(problems))
    return [exchanges[index] for index in np.argsort(numbers)]


def replay(
    program: type[Guest],
    params: Mapping[str, object],
    *,
    vm_memory_bytes: int,
    seed: int,
    state: bytes,
    log: Sequence[tuple[object, object]] = (),
) -> Buffer:
    """Return the whole memory that a VM must have now; uint8, page 0 left zero.

    `state` is what `capture_state` takes from the guest, `log` what `merge` made of the
    clients' logs. Runs as fast as the guest's own work allows (writer: about a
    million page writes a second and core).

    Raises:
        ReplayError: If the program cannot be replayed or the log contradicts itself.
    """
    if not program.replayable:
        raise ReplayError(f"{program.__name__} cannot be replayed")
    memory = np.zeros(vm_memory_bytes, dtype=np.uint8)
    guest = make_guest(program, params, vm_memory_bytes=vm_memory_bytes, seed=seed)
    bind(guest, memory)
    guest.start()
    restore_state(guest, state)
    try:
        guest.replay(log)
    except ValueError as error:
        raise ReplayError(str(error)) from error
    return memory


def compare_pages(expected: Buffer, actual: Buffer) -> npt.NDArray[np.int64]:
    """Return the numbers of the pages that differ, ascending; page 0, the header, is not compared."""
    differs = (
        expected[PAGE_BYTES:].view(np.uint64).reshape(-1, PAGE_BYTES // 8)
        != actual[PAGE_BYTES:].view(np.uint64).reshape(-1, PAGE_BYTES // 8)
    ).any(axis=1)
    return np.flatnonzero(differs) + 1


def _problem(what: str, numbers: npt.NDArray[np.int64]) -> list[str]:
    if not numbers.size:
        return []
    named = ", ".join(str(number) for number in numbers[:NAMED_MAX])
    more = f" and {numbers.size - NAMED_MAX} more" if numbers.size > NAMED_MAX else ""
    return [f"operation {named}{more} {what}"]
