"""Safety rules broken on purpose, one at a time, each with what catches it.

python -m tests.mutation.mutants docs/faults.md     # write the table anew
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cluster.memory import ledger as ledgers
from cluster.memory.tracker import ShadowTracker, WriteProtectTracker
from cluster.memory.transfer import Intake, Outbox
from cluster.migration import endings, machine, steps, table
from cluster.migration.messages import Resume, Unregister
from cluster.migration.state import Phase
from cluster.migration.table import Edge, Kind
from cluster.policy.licensing import Licensing, Use
from cluster.policy.moving import Moving
from cluster.policy.ownership import Ownership, Record
from cluster.policy.sharing import SerialLink
from cluster.policy.usage import Usage
from cluster.simulation.carry import Carrier
from tests.mutation import hunts

BEGIN = "<!-- mutants: made by python -m tests.mutation.mutants docs/faults.md, not by hand -->"
END = "<!-- end of mutants -->"
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule, how it is broken, and the hunt that must find it, by its place in the suite."""

    rule: str
    broken: str
    patch: Patch
    hunt: Callable[[], bool]
    test: str


def edge(phase: Phase, kind: Kind, act: Callable[[Any, Any], None], *to: Phase) -> Patch:
    """Replace one entry of the transition table."""
    return lambda patch: patch.setitem(table.TABLE, (phase, kind), Edge(act, frozenset(to)))


def method(owner: type, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replace a method by what `make` makes of it."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


# What the broken rules do instead.


def _resume_at_once(turn: Any, event: Any) -> None:
    turn.ask(Resume(seq=turn.seq), Phase.RESUMING)


def _skip_remainder(turn: Any, event: Any) -> None:
    turn.measure(ran_after_stun=True)
    turn.ask(Unregister(seq=turn.seq), Phase.UNREGISTERING)


def _abort_at_once(turn: Any, event: Any) -> None:
    turn.end(Phase.ABORTED, "?")


def _end_completed(turn: Any, event: Any) -> None:
    turn.end(Phase.COMPLETED)


def _back_at_once(turn: Any, event: Any) -> None:
    steps.roll_back(turn, "believed dead")


def _claim_without_looking(right: Any) -> Any:
    def claim(self: Ownership, vm: str, *, epoch: int, source: str | None, host: str) -> str:
        self._records[vm] = Record(epoch=epoch, host=host)
        return ""

    return claim


def _forgets_epochs(right: Any) -> Any:
    def release(self: Ownership, vm: str, *, epoch: int) -> bool:
        done: bool = right(self, vm, epoch=epoch)
        if done:
            del self._records[vm]
        return done

    return release


def _release_whatever_epoch(right: Any) -> Any:
    def release(self: Ownership, vm: str, *, epoch: int) -> bool:
        record = self._records.get(vm)
        if record is not None:
            self._records[vm] = replace(record, host=None)
        return record is not None

    return release


def _forgets_refusals(right: Any) -> Any:
    def commit(self: Moving, event: Any) -> Any:
        record = self._state.migrations.get(event.migration)
        if record is not None:
            record.refusal = ""
        return right(self, event)

    return commit


def _take_stale_answers(right: Any) -> Any:
    def classify(self: Any, event: Any) -> Any:
        asked = self.state.asked
        if asked is None:
            return None
        return right(self, replace(event, reply_to=asked.command.seq))

    return classify


def _without_harvest(right: Any) -> Any:
    def begin_round(self: Outbox) -> int:
        return self.begin_remainder()

    return begin_round


def _confirm_everything(right: Any) -> Any:
    def confirm(self: Outbox) -> None:
        self._owed[self._round] = False
        self._round = self._round[:0]
        self._position = 0

    return confirm


def _forget_what_failed(right: Any) -> Any:
    def begin_round(self: Outbox) -> int:
        self._owed[self._round[: self._position]] = False
        return int(right(self))

    return begin_round


def _keep_stale_pages(right: Any) -> Any:
    return lambda self, zeros: None


def _lose_the_last(right: Any) -> Any:
    return lambda self: right(self)[:-1]


def _claim_always(right: Any) -> Any:
    def claim(self: Any, page: int) -> bool:
        self.states[page] = ledgers.CLAIMED
        return True

    return claim


def _never_busy(right: Any) -> Any:
    def accept(self: SerialLink, nbytes: int, *, now: float) -> float:
        self.busy_until_s = now
        return float(right(self, nbytes, now=now))

    return accept


def _count_one_each(right: Any) -> Any:
    def use(self: Licensing, feature: Any, now: float) -> Use:
        hosts = tuple((h, self._needs[h]) for h, on in self._ticked.items() if feature in on)
        return Use(feature=feature, installed=self._installed(feature, now), hosts=hosts)

    return use


def _destination_remembers(right: Any) -> Any:
    def roll_back(self: Carrier, seq: int) -> Any:
        kept = (self.destination.holds, self.destination.complete)
        answer = right(self, seq)
        self.destination.holds, self.destination.complete = kept
        return answer

    return roll_back


P, K = Phase, Kind
_FUZZ = "tests/migration/test_faults.py"
_ORDERS = "tests/migration/test_orders.py"
_MATRIX = "tests/simulation/test_injections.py"
_LAWS = "tests/policy/test_laws.py"
_PAGES = "tests/memory/test_page_store.py"
_COUNTS = "tests/policy/test_stateful.py"

MUTANTS = (
    Mutant(
        "a failed commit is an unknown outcome",
        "it is taken for a refusal",
        edge(P.COMMITTING, K.FAILED, steps.commit_refused, P.ROLLING_BACK, P.LOST),
        hunts.orders(fail=1),
        _ORDERS,
    ),
    Mutant(
        "an answer that is lost is asked for again",
        "VirtualCenter's death at the commit leads back",
        edge(P.COMMITTING, K.FAILED, steps.commit_refused, P.ROLLING_BACK, P.LOST),
        hunts.matrix("F4", P.COMMITTING),
        _MATRIX,
    ),
    Mutant(
        "the VM runs at the destination after the commit",
        "it is resumed before the commit",
        edge(P.SENDING_STATE, K.SUCCEEDED, _resume_at_once, P.RESUMING),
        hunts.orders(),
        _ORDERS,
    ),
    Mutant(
        "a cancel is too late once the commit is sent",
        "it leads back",
        edge(P.COMMITTING, K.CANCEL_REQUESTED, steps.interrupted, P.ROLLING_BACK),
        hunts.orders(cancel=1),
        _ORDERS,
    ),
    Mutant(
        "a dead destination does not undo a commit",
        "its death while committing leads back",
        edge(P.COMMITTING, K.DESTINATION_LOST, _back_at_once, P.ROLLING_BACK),
        hunts.orders(die=1),
        _ORDERS,
    ),
    Mutant(
        "a failed stun is rolled back",
        "the migration ends and leaves the VM as it is",
        edge(P.STUNNING, K.FAILED, _abort_at_once, P.ABORTED),
        hunts.fuzz,
        _FUZZ,
    ),
    Mutant(
        "a failed preparation is rolled back",
        "the destination keeps what it had prepared",
        edge(P.PREPARING, K.FAILED, endings.cancel_unbegun, P.ABORTED),
        hunts.fuzz,
        _FUZZ,
    ),
    Mutant(
        "a rollback is asked for until it is answered",
        "one that failed is believed",
        edge(P.ROLLING_BACK, K.FAILED, steps.rolled_back, P.ABORTED),
        hunts.fuzz,
        _FUZZ,
    ),
    Mutant(
        "a failed resume is asked for again",
        "the VM is given up",
        edge(P.RESUMING, K.FAILED, steps.destination_gone, P.LOST),
        hunts.fuzz,
        _FUZZ,
    ),
    Mutant(
        "the source is freed when every page has left it",
        "the remainder is skipped",
        edge(P.RESUMING, K.SUCCEEDED, _skip_remainder, P.UNREGISTERING),
        hunts.orders(),
        _ORDERS,
    ),
    Mutant(
        "a failed remainder is asked for again",
        "it is taken for a whole one",
        edge(P.REMAINDER, K.FAILED, _end_completed, P.COMPLETED),
        hunts.matrix("F6", P.REMAINDER),
        _MATRIX,
    ),
    Mutant(
        "an answer belongs to one command",
        "a stale one is taken for the answer to the newest",
        method(machine.Migration, "_classify_answer", _take_stale_answers),
        hunts.fuzz,
        _FUZZ,
    ),
    Mutant(
        "a rollback makes the destination forget",
        "the destination keeps the VM",
        method(Carrier, "_roll_back", _destination_remembers),
        hunts.matrix("F1", P.PRECOPYING),
        _MATRIX,
    ),
    Mutant(
        "the record is changed by compare-and-set",
        "whoever asks gets it",
        method(Ownership, "claim", _claim_without_looking),
        hunts.ownership,
        "tests/policy/test_ownership.py",
    ),
    Mutant(
        "an epoch never goes back",
        "a VM that is off is forgotten with its epoch",
        method(Ownership, "release", _forgets_epochs),
        hunts.policy,
        _LAWS,
    ),
    Mutant(
        "who reports an old epoch changes nothing",
        "any report releases the VM",
        method(Ownership, "release", _release_whatever_epoch),
        hunts.ownership,
        "tests/policy/test_ownership.py",
    ),
    Mutant(
        "a refused commit stays refused",
        "the refusal is forgotten",
        method(Moving, "commit", _forgets_refusals),
        hunts.tests_of("tests.policy.test_moving"),
        "tests/policy/test_moving.py",
    ),
    Mutant(
        "a host takes so many migrations at once",
        "there always is a slot",
        method(Usage, "full", lambda right: lambda self, spec: ""),
        hunts.tests_of("tests.policy.test_moving"),
        "tests/policy/test_moving.py",
    ),
    Mutant(
        "the last scan comes after the stun",
        "what was owed before is all that is sent",
        method(Outbox, "begin_round", _without_harvest),
        hunts.page_store,
        _PAGES,
    ),
    Mutant(
        "an interrupted round forgets nothing",
        "what was not handed out counts as sent",
        method(Outbox, "confirm", _confirm_everything),
        hunts.page_store,
        _PAGES,
    ),
    Mutant(
        "what was handed out is owed until it is confirmed",
        "a round that failed is not sent again",
        method(Outbox, "begin_round", _forget_what_failed),
        hunts.page_store,
        _PAGES,
    ),
    Mutant(
        "a page of zeros overwrites what was there",
        "it is left out",
        method(Intake, "_clear", _keep_stale_pages),
        hunts.page_store,
        _PAGES,
    ),
    Mutant(
        "every dirty page is found",
        "each scan loses its last page",
        lambda patch: (
            [
                patch.setattr(kind, "harvest", _lose_the_last(kind.harvest))
                for kind in (WriteProtectTracker, ShadowTracker)
            ]
            and None
        ),
        hunts.page_store,
        _PAGES,
    ),
    Mutant(
        "a page is written by who has claimed it",
        "everybody gets the claim",
        method(ledgers.Ledger, "claim", _claim_always),
        hunts.claims,
        "tests/memory/test_pager.py",
    ),
    Mutant(
        "a card carries no more than its rate",
        "a batch does not wait for the one before it",
        method(SerialLink, "accept", _never_busy),
        hunts.shaper,
        _COUNTS,
    ),
    Mutant(
        "no more licences are used than there are",
        "every ticked host gets its own",
        method(Licensing, "_use", _count_one_each),
        hunts.licences,
        _COUNTS,
    ),
)


def markdown() -> str:
    """Return the table of mutants."""
    rows = ["| Rule | Broken so | Caught by |", "|---|---|---|"]
    rows += [f"| {m.rule} | {m.broken} | `{m.test}` |" for m in MUTANTS]
    return "\n".join(rows)


def with_table(text: str) -> str:
    """Return the document with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_table(document.read_text()))
