"""Whether what clients saw of a VM could have been one VM that does one thing at a time.

The algorithm of Wing and Gong with Lowe's memory of situations ("Testing for
linearizability", 2017), as the checker porcupine has it: take operations in an order that
their times allow, go back where an answer does not fit, and enter no situation twice.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cluster.guests.keyvalue import COUNTER_BYTES, Answer, Status

# Situations of one key that are looked at before the checker gives up: concurrent operations
# on one key are as few as there are clients, so a right history needs few.
SITUATIONS_MAX = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request as its client saw it. `answer` None: none came, and `returned_s` is infinite."""

    called_s: float
    returned_s: float
    request: Hashable
    answer: Hashable = None


Step = Callable[[Hashable, Hashable, Hashable], tuple[bool, Hashable]]


class Undecided(Exception):
    """There are more situations than the checker looks at."""


def linearizable(
    operations: Sequence[Operation],
    step: Step,
    *,
    initial: Hashable,
    situations_max: int = SITUATIONS_MAX,
) -> bool:
    """Return whether some order that the times allow gives every operation its answer.

    Args:
        step: (state, request, answer or None) to (whether the answer fits, the state then).

    Raises:
        Undecided: If `situations_max` are not enough.
    """
    order = sorted(range(len(operations)), key=lambda at: operations[at].called_s)
    history = _History([operations[at] for at in order])
    state = initial
    done = 0
    seen: set[tuple[int, int, Hashable]] = set()
    taken: list[tuple[int, Hashable]] = []
    entry = history.first
    while history.unanswered_returns:
        if entry != _END and not history.is_return(entry):
            at = history.operation(entry)
            one = history.operations[at]
            fits, after = step(state, one.request, one.answer)
            if fits:
                then = done | 1 << at
                low = (~then & (then + 1)).bit_length() - 1
                situation = (low, then >> low, after)
                if situation not in seen:
                    if len(seen) >= situations_max:
                        raise Undecided(f"{len(operations)} operations, {len(seen)} situations")
                    seen.add(situation)
                    taken.append((entry, state))
                    state, done = after, then
                    history.lift(entry)
                    entry = history.first
                    continue
            entry = history.after(entry)
        else:
            # This one returned, or nothing is left: what was taken last was too early.
            if not taken:
                return False
            entry, state = taken.pop()
            done &= ~(1 << history.operation(entry))
            history.unlift(entry)
            entry = history.after(entry)
    return True


_END = -1


class _History:
    """Calls and returns in the order of their times, as a list that entries leave and come back to.

    Entry 2·i is the call of operation i, 2·i + 1 its return.
    """

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        events: list[tuple[float, int, int]] = []
        for at, one in enumerate(operations):
            events.append((one.called_s, 0, 2 * at))
            if math.isfinite(one.returned_s):
                events.append((one.returned_s, 1, 2 * at + 1))
        # Calls first among equals: clocks that cannot tell two moments apart accuse nobody.
        events.sort()
        self._answered = [math.isfinite(one.returned_s) for one in operations]
        self.unanswered_returns = sum(self._answered)
        size = 2 * len(operations) + 1
        self._head = size - 1
        self._next = [_END] * size
        self._before = [_END] * size
        last = self._head
        for *_, entry in events:
            self._next[last], self._before[entry] = entry, last
            last = entry

    @property
    def first(self) -> int:
        """The first entry; `_END` if there is none."""
        return self._next[self._head]

    def after(self, entry: int) -> int:
        """The next one."""
        return self._next[entry]

    @staticmethod
    def is_return(entry: int) -> bool:
        """Whether it is a return."""
        return bool(entry % 2)

    @staticmethod
    def operation(entry: int) -> int:
        """The operation's index."""
        return entry // 2

    def lift(self, call: int) -> None:
        """Take an operation out."""
        self._unlink(call)
        if self._answered[call // 2]:
            self._unlink(call + 1)
            self.unanswered_returns -= 1

    def unlift(self, call: int) -> None:
        """Put the operation that was taken out last back."""
        if self._answered[call // 2]:
            self._link(call + 1)
            self.unanswered_returns += 1
        self._link(call)

    def _unlink(self, entry: int) -> None:
        before, after = self._before[entry], self._next[entry]
        self._next[before] = after
        if after != _END:
            self._before[after] = before

    def _link(self, entry: int) -> None:
        before, after = self._before[entry], self._next[entry]
        self._next[before] = entry
        if after != _END:
            self._before[after] = entry


def counter(state: Hashable, request: Hashable, answer: Hashable) -> tuple[bool, Hashable]:
    """A counter that answers each request with how many came before it and itself."""
    assert isinstance(state, int)
    return answer is None or answer == state + 1, state + 1


def one_key(value_bytes: int) -> Step:
    """Return the key-value guest as one key of it sees it; the state is its value or None."""

    def step(state: Hashable, request: Hashable, answer: Hashable) -> tuple[bool, Hashable]:
        assert isinstance(request, tuple)
        assert state is None or isinstance(state, bytes)
        kind = request[0]
        if isinstance(answer, Answer) and answer.status is Status.FULL:
            return state is None and kind != "get", state
        if kind == "get":
            if state is None:
                return answer is None or _says(answer, Status.ABSENT, None), state
            return answer is None or _says(answer, Status.DONE, state), state
        if kind == "put":
            stored = request[2].ljust(value_bytes, b"\0")
            return answer is None or _says(answer, Status.DONE, None), stored
        before = state or bytes(value_bytes)
        count = (int.from_bytes(before[:COUNTER_BYTES], "little") + 1) % (1 << 8 * COUNTER_BYTES)
        stored = count.to_bytes(COUNTER_BYTES, "little") + before[COUNTER_BYTES:]
        return answer is None or _says(answer, Status.DONE, count), stored

    return step


def _says(answer: Hashable, status: Status, value: bytes | int | None) -> bool:
    return isinstance(answer, Answer) and answer.status is status and answer.value == value


def wrong_keys(operations: Iterable[Operation], *, value_bytes: int) -> list[int]:
    """Return the keys of a key-value guest whose history no single VM could have given.

    Keys are checked one by one: a history of a table is linearizable if each key's is
    (Herlihy and Wing, locality).

    Raises:
        Undecided: If one key's history has too many situations.
    """
    by_key: Mapping[int, list[Operation]] = defaultdict(list)
    for one in operations:
        assert isinstance(one.request, tuple)
        by_key[one.request[1]].append(one)
    step = one_key(value_bytes)
    return [key for key, history in by_key.items() if not linearizable(history, step, initial=None)]
