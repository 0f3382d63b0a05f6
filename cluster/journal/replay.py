"""From a journal back to what VirtualCenter knew: the kept state, and the events since."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cluster.inventory.model import Scenario
from cluster.journal.database import ASIDE, JournalFailed, lost
from cluster.journal.journal import Journal
from cluster.policy.center import Center


@dataclass(slots=True, kw_only=True)
class Known:
    """What a VirtualCenter starts with.

    Attributes:
        now_s: Its time when it heard the last event; time never goes back.
        unix_s: The world's, then.
        replayed: Events that were heard again.
        restarted: It has lived before.
    """

    center: Center
    rng: np.random.Generator
    now_s: float
    unix_s: float
    replayed: int = 0
    restarted: bool = False


def begin(journal: Journal, scenario: Scenario, *, seed: int, unix_s: float) -> Known:
    """Begin a cluster's life in a journal.

    Raises:
        JournalFailed: If it cannot be written.
    """
    center, rng = Center(scenario), np.random.default_rng(seed)
    journal.begin(scenario.name, (center, rng), unix_s=unix_s)
    return Known(center=center, rng=rng, now_s=0.0, unix_s=unix_s)


def begun_at(path: Path, scenario: Scenario, *, seed: int) -> None:
    """Begin a cluster's life in a file, before any VirtualCenter: each one only goes on.

    So a database in which nothing has begun is one that was lost, and never a first life.

    Raises:
        JournalFailed: If it cannot be written.
    """
    with contextlib.closing(Journal(path)) as journal:
        begin(journal, scenario, seed=seed, unix_s=time.time())


def go_on(path: Path, *, name: str) -> tuple[Journal, Known]:
    """Return the journal of the scenario `name`, and what it leads to.

    Raises:
        JournalFailed: If it is not there, cannot be read, or is another one's.
    """
    with contextlib.ExitStack() as unless_known:
        journal = Journal(path, new=False)
        unless_known.callback(journal.abandon)
        known = restore(journal)
        if known is None:
            raise lost(path, "nothing has begun in it")
        if (other := known.center.state.scenario.name) != name:
            raise JournalFailed(f"{path} is the database of the cluster {other}. {ASIDE}")
        unless_known.pop_all()
    return journal, known


def restore(journal: Journal) -> Known | None:
    """Return what the journal leads to; None if nothing has begun in it.

    Raises:
        JournalFailed: If it cannot be read, or does not lead anywhere.
    """
    kept = journal.kept()
    if kept is None:
        return None
    match kept.state:
        case (Center() as center, np.random.Generator() as rng):
            pass
        case _:
            raise JournalFailed(f"{journal.path} holds no state of a cluster. {ASIDE}")
    known = Known(center=center, rng=rng, now_s=kept.now_s, unix_s=kept.unix_s, restarted=True)
    for heard in journal.heard_since(kept.number):
        try:
            center.handle(heard.event, now=heard.now_s, rng=rng)
        except Exception as error:
            what = f"event {heard.number} cannot be heard again: {type(error).__name__}: {error}"
            raise JournalFailed(f"{journal.path}: {what}. {ASIDE}") from error
        known.now_s, known.unix_s = heard.now_s, heard.unix_s
        known.replayed += 1
    return known
