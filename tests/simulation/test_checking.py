"""The checkers find what must never be, in a world that a test has broken."""

import pytest

from cluster.simulation.checking import check, check_end
from cluster.simulation.seat import WorldBroken
from tests.simulation.test_world import migrating


def the_move(made):
    (move,) = made.moves.values()
    return move


def test_a_vm_that_runs_where_the_record_does_not_say_is_found():
    made, _ = migrating(0.05)
    check(made)
    the_move(made).carrier.destination.runs = True
    with pytest.raises(WorldBroken, match="esx-2 runs a, and the record is"):
        check(made)


def test_a_host_that_holds_more_than_it_has_is_found_with_what_comes_to_it():
    """The VM has 1025 MiB of 1024; while it moves it counts at both ends."""
    made, _ = migrating(0.05)
    made.fleet.memory_mib[0] = 1024
    check(made)
    made.fleet.memory_mib[0] = 1025
    with pytest.raises(WorldBroken, match="esx-1 holds 1025 of 1024 MiB"):
        check(made)
    made.fleet.host[0] = -1
    with pytest.raises(WorldBroken, match="holds 1025 of 1024 MiB"):
        check(made)


def test_a_migration_that_has_not_ended_is_found_at_the_end():
    made, _ = migrating(0.05)
    with pytest.raises(WorldBroken, match=f"not ended: {the_move(made).spec.id}"):
        check_end(made)


def test_a_vm_that_was_forgotten_is_found_at_the_end():
    made, _ = migrating(0.05)
    made.drain()
    check_end(made)
    seat, _ = made.seats.pop("a")
    with pytest.raises(WorldBroken, match="a is powered on on esx-2, and runs on None"):
        check_end(made)
    made.seats["a"] = (seat, "esx-1")
    with pytest.raises(WorldBroken, match="a is powered on on esx-2, and runs on esx-1"):
        check_end(made)
