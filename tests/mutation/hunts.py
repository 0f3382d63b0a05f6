"""What can catch a broken rule: each hunt looks for a violation and says whether it found one."""

import importlib
import inspect
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from cluster.inventory.model import Mode
from cluster.migration.machine import ProtocolError
from cluster.migration.state import Phase as MigrationPhase
from cluster.simulation.fault_matrix import failure as matrix_failure
from tests.memory.test_page_store import PageStore
from tests.migration.orders import Budget, Orders
from tests.migration.world import failure
from tests.policy.test_laws import Anything
from tests.policy.test_ownership import Claims
from tests.policy.test_stateful import Licences, Shaper

SEEDS = 2_000
# No shrinking: that something is wrong is all that a hunt tells.
_QUICK = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fuzz() -> bool:
    """Seeded faults around one machine: tests/migration/world.py."""
    return any(failure(seed) for seed in range(SEEDS))


def orders(**budget: int) -> Callable[[], bool]:
    """Every order within a budget: tests/migration/orders.py."""

    def hunt() -> bool:
        try:
            for mode in (Mode.PRECOPY, Mode.HYBRID):
                Orders(mode, Budget(**budget)).explore(300_000)
        except (AssertionError, ProtocolError):
            return True
        return False

    return hunt


def matrix(row: str, state: MigrationPhase) -> Callable[[], bool]:
    """One row of the fault matrix at one state."""
    return lambda: any(matrix_failure(row, state, seed)[1] for seed in range(200))


def stateful(machine: type) -> Callable[[], bool]:
    """A Hypothesis state machine."""

    def hunt() -> bool:
        try:
            run_state_machine_as_test(machine, settings=_QUICK)
        except Exception:
            return True
        return False

    return hunt


def claims() -> bool:
    """A page of a ledger is claimed once, and what the guest wrote since is not overwritten."""
    import os

    from cluster.memory.ledger import INSTALLED, MISSING, Ledger, create_ledger

    pages = 64
    fd = create_ledger("hunt", pages)
    try:
        ledger = Ledger(fd, pages)
        np.frombuffer(ledger.states, dtype=np.uint8)[:] = MISSING
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(pages), 2))
        taken = [int(page) for page in order if ledger.claim(int(page))]
        ledger.states[0] = INSTALLED
        return sorted(taken) != list(range(pages)) or ledger.claim(0)
    finally:
        os.close(fd)


def tests_of(name: str) -> Callable[[], bool]:
    """The tests of a file that take no argument."""

    def hunt() -> bool:
        tests = vars(importlib.import_module(name))
        for called, test in tests.items():
            if called.startswith("test_") and not inspect.signature(test).parameters:
                try:
                    test()
                except (Exception, pytest.fail.Exception):
                    return True
        return False

    return hunt


policy = stateful(Anything)
ownership = stateful(Claims)
page_store = stateful(PageStore)
shaper = stateful(Shaper)
licences = stateful(Licences)
