"""The pure part of a client load: what clients ask, what became of it, and the gaps they saw."""

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cluster.guests.base import Guest, Special
from cluster.guests.keyvalue import VALUE_BYTES, Answer, KeyValue, Malformed
from cluster.guests.linearizability import Operation
from cluster.guests.replay import OperationLog

OWN_KEYS = 1024
SHARED_COUNTERS = 16
STALL_S_MIN = 0.01
# Operations of a client whose times are kept: some 30 MB.
HISTORY_MAX = 100_000


class RequestSource:
    """The endless, seeded sequence of one client's requests to one VM.

    A key-value guest gets puts and gets of the client's own keys and increments of
    counters that all clients share, a third each; any other guest gets probes.
    """

    def __init__(
        self, program: type[Guest], params: Mapping[str, object], *, client: int, seed: int
    ) -> None:
        """`client` tells clients of one VM apart; their own keys never meet."""
        self._random = random.Random(f"{seed}/{client}")
        self._client = client
        self._keyvalue = issubclass(program, KeyValue)
        value_bytes = params.get("value_bytes")
        self._value_bytes = value_bytes if isinstance(value_bytes, int) else VALUE_BYTES

    def next(self) -> object:
        """Draw the next request."""
        if not self._keyvalue:
            return Special.PROBE
        draw = self._random
        own_key = ((self._client + 1) << 32) + draw.randrange(OWN_KEYS)
        match draw.randrange(3):
            case 0:
                return ("put", own_key, draw.randbytes(draw.randint(1, self._value_bytes)))
            case 1:
                return ("get", own_key)
            case _:
                return ("increment", draw.randrange(SHARED_COUNTERS))


class ClientAccount:
    """One client's books: every request sent, and what came back.

    With the times of both it also keeps the history that `linearizability` judges.
    """

    def __init__(self) -> None:
        self._history: list[Operation] = []
        self._called: tuple[float, object] | None = None
        self.log = OperationLog()
        self.probe_counts = array("Q")
        self.operations_sent = 0
        self.probes_sent = 0
        self.malformed = 0
        self.answered = 0

    def note_sent(self, request: object, *, now_s: float | None = None) -> None:
        """A request has left; it is lost until it is answered."""
        self._called = None if now_s is None else (now_s, request)
        if request is Special.PROBE:
            self.probes_sent += 1
        else:
            self.operations_sent += 1

    def history(self) -> list[Operation] | None:
        """Return every operation with its times; None if there were too many to keep."""
        if len(self._history) > HISTORY_MAX:
            return None
        if self._called is None:
            return list(self._history)
        called_s, request = self._called
        pending = Operation(called_s=called_s, returned_s=math.inf, request=request)
        return [*self._history, pending]

    def note_answered(self, request: object, answer: object, *, now_s: float | None = None) -> None:
        """The answer to a request that was sent has come; call it once a request.

        Raises:
            TypeError: If the answer is none that the request can have: our bug.
        """
        match answer:
            case Answer():
                self.log.add(answer.number, request, answer)
            case Malformed():
                self.malformed += 1
            case int() if request is Special.PROBE:
                self.probe_counts.append(answer)
            case _:
                raise TypeError(f"{request!r} cannot be answered by {answer!r}")
        self.answered += 1
        if now_s is not None and self._called is not None:
            called_s, asked = self._called
            self._called = None
            if len(self._history) <= HISTORY_MAX:
                self._history.append(
                    Operation(called_s=called_s, returned_s=now_s, request=asked, answer=answer)
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of every request that clients sent to one VM.

    Attributes:
        lost: Requests that no client got an answer to.
        duplicated: Numbers that reached clients twice, and requests that the VM did
            without anybody having the answer, beyond those that are lost anyway.
        malformed: Answered as no request at all: our clients' bug.
    """

    sent: int
    answered: int
    lost: int
    duplicated: int
    malformed: int


def settle(accounts: Iterable[ClientAccount], *, operations: int, probes: int) -> Settlement:
    """Compare all clients' books of a VM with the VM's own counts.

    `operations` is the guest's counter, `probes` the header's. A VM that lost its memory
    has new counters and cannot be settled; leave it out.
    """
    books = list(accounts)
    malformed = sum(book.malformed for book in books)
    lost_operations, doubled_operations = _settle_stream(
        sent=sum(book.operations_sent for book in books) - malformed,
        numbers=(number for book in books for number in book.log.numbers),
        done=operations,
    )
    lost_probes, doubled_probes = _settle_stream(
        sent=sum(book.probes_sent for book in books),
        numbers=(count - 1 for book in books for count in book.probe_counts),
        done=probes,
    )
    return Settlement(
        sent=sum(book.operations_sent + book.probes_sent for book in books),
        answered=sum(book.answered for book in books),
        lost=lost_operations + lost_probes,
        duplicated=doubled_operations + doubled_probes,
        malformed=malformed,
    )


def _settle_stream(*, sent: int, numbers: Iterable[int], done: int) -> tuple[int, int]:
    """Return (lost, duplicated) of one numbered stream."""
    seen = Counter(numbers)
    repeated = seen.total() - len(seen)
    lost = max(sent - seen.total(), 0)
    unseen = done - sum(1 for number in seen if number < done)
    foreign = sum(1 for number in seen if number >= done)  # a second copy of the VM counted on
    return lost, repeated + foreign + max(unseen - lost, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """What clients felt of one migration.

    Attributes:
        blackout_s: From the last answer of the source to the first of the destination.
        stall_s_max: The longest gap over `STALL_S_MIN` after that, until the remainder drained.
        stall_s_sum: All such gaps together.
    """

    blackout_s: float
    stall_s_max: float = 0.0
    stall_s_sum: float = 0.0


class GapMeter:
    """Measures, from the answers to probes, how long nobody answered; O(1) memory a migration.

    Times are one clock's, epochs those of the VM's ownership. An answer of an older epoch
    that arrives late is one the client did get: it moves the clock on and nothing else.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._epoch: int | None = None
        self._gaps: dict[int, Gaps] = {}
        self._draining = False

    def answered(self, at_s: float, *, epoch: int) -> None:
        """A probe's answer arrived, from the VM's instance of that epoch."""
        if self._last_s is not None and self._epoch is not None:
            gap_s = max(at_s - self._last_s, 0.0)
            if epoch > self._epoch:
                self._gaps[epoch] = Gaps(blackout_s=gap_s)
                self._draining = True
            elif self._draining and gap_s > STALL_S_MIN:
                self._add_stall(gap_s)
        self._last_s = at_s if self._last_s is None else max(at_s, self._last_s)
        self._epoch = epoch if self._epoch is None else max(epoch, self._epoch)

    def drained(self) -> None:
        """The remainder has arrived, or probing pauses: the gap that follows is nobody's."""
        self._draining = False
        self._last_s = None

    def gaps(self, epoch: int) -> Gaps | None:
        """What the migration to `epoch` cost; None before its first answer, or without probes."""
        return self._gaps.get(epoch)

    def all_gaps(self) -> dict[int, Gaps]:
        """What each migration seen cost, by the epoch it led to."""
        return dict(self._gaps)

    def _add_stall(self, gap_s: float) -> None:
        assert self._epoch is not None
        gaps = self._gaps[self._epoch]
        self._gaps[self._epoch] = replace(
            gaps,
            stall_s_max=max(gaps.stall_s_max, gap_s),
            stall_s_sum=gaps.stall_s_sum + gap_s,
        )
