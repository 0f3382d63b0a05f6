"""Memory rebuilt from outside equals memory as it is, also after the guest has moved."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.guests.base import Budget, Guest
from cluster.guests.clients import ClientAccount, RequestSource
from cluster.guests.idle import Idle
from cluster.guests.keyvalue import KeyValue
from cluster.guests.memory_map import bind, capture_state, make_guest, restore_state
from cluster.guests.replay import OperationLog, ReplayError, compare_pages, merge, replay
from cluster.guests.trace import Trace
from cluster.guests.writer import Writer
from cluster.page import PAGE_BYTES

VM_BYTES = 1 << 20
PROGRAMS = {
    "uniform": (Writer, {"rate_mb_s": 50.0, "working_set_mib": 0.1}),
    "zipf": (Writer, {"rate_mb_s": 50.0, "pattern": "zipf", "words_per_page": 3}),
    "sweep": (Writer, {"rate_mb_s": 50.0, "pattern": "sweep", "words_per_page": 512}),
    "trace": (Trace, {"working_set_mib": 0.05}),
    "idle": (Idle, {}),
    "keyvalue": (KeyValue, {"slots": 64, "value_bytes": 32}),
}


def migrate(guest, program, params, memory):
    """What a migration does to a guest: other memory, a fresh instance, its state."""
    there = memory.copy()
    moved = make_guest(program, params, vm_memory_bytes=there.nbytes, seed=11)
    bind(moved, there)
    restore_state(moved, capture_state(guest))
    return moved, there


@pytest.mark.parametrize("name", PROGRAMS)
@given(script=st.lists(st.tuples(st.floats(0, 0.02), st.booleans()), max_size=15))
@settings(deadline=None, max_examples=25)
def test_replay_equals_memory_after_random_steps_and_moves(name, script):
    program, params = PROGRAMS[name]
    memory = np.zeros(VM_BYTES, dtype=np.uint8)
    guest = make_guest(program, params, vm_memory_bytes=VM_BYTES, seed=11)
    bind(guest, memory)
    guest.start()
    accounts = [ClientAccount(), ClientAccount()]
    sources = [RequestSource(program, params, client=client, seed=4) for client in range(2)]
    for seconds, moves in script:
        if moves:
            guest, memory = migrate(guest, program, params, memory)
        guest.step(Budget(seconds=seconds, cycles=seconds * 2000, demand_mhz=2000))
        for account, source in zip(accounts, sources, strict=True):
            if program is KeyValue:
                request = source.next()
                account.note_sent(request)
                account.note_answered(request, guest.handle(request))
    operations = int(guest.operations[0]) if isinstance(guest, KeyValue) else 0
    expected = replay(
        program,
        params,
        vm_memory_bytes=VM_BYTES,
        seed=11,
        state=capture_state(guest),
        log=merge([account.log for account in accounts], operations=operations),
    )
    assert [] == compare_pages(expected, memory).tolist()


def test_a_byte_that_changed_is_found_by_its_page():
    expected = np.zeros(VM_BYTES, dtype=np.uint8)
    actual = expected.copy()
    actual[0] = 1
    actual[5 * PAGE_BYTES - 1] = 1
    actual[-1] = 1
    assert [4, 255] == compare_pages(expected, actual).tolist()


def log_of(*numbers):
    log = OperationLog()
    for number in numbers:
        log.add(number, ("get", number), None)
    return log


def test_logs_are_merged_by_number():
    merged = merge([log_of(3, 0), log_of(1), log_of(2)], operations=4)
    assert [0, 1, 2, 3] == [request[1] for request, _ in merged]


@pytest.mark.parametrize(
    ("numbers", "operations", "words"),
    [
        ((0, 2), 3, "operation 1 was never answered"),
        ((0, 1, 1), 2, "operation 1 was answered more than once"),
        ((0, 1, 5), 2, "operation 5 is not among the 2"),
        ((), 7, "operation 0, 1, 2, 3, 4 and 2 more was never answered"),
    ],
)
def test_a_log_with_a_gap_or_a_double_is_refused(numbers, operations, words):
    with pytest.raises(ReplayError, match=words):
        merge([log_of(*numbers)], operations=operations)


def test_an_answer_that_the_guest_cannot_have_given_is_found():
    """Two copies of a VM number on by themselves; the answers betray them."""
    memory = np.zeros(VM_BYTES, dtype=np.uint8)
    params = {"slots": 8}
    guest = make_guest(KeyValue, params, vm_memory_bytes=VM_BYTES, seed=0)
    bind(guest, memory)
    first = guest.handle(("increment", 1))
    log = [(("increment", 1), first), (("increment", 1), first._replace(number=1))]
    with pytest.raises(ReplayError, match="should have been"):
        replay(
            KeyValue,
            params,
            vm_memory_bytes=VM_BYTES,
            seed=0,
            state=capture_state(guest),
            log=log,
        )


def test_a_guest_that_cannot_be_replayed_says_so():
    class Dice(Guest):
        pass

    with pytest.raises(ReplayError, match="Dice cannot be replayed"):
        replay(Dice, {}, vm_memory_bytes=VM_BYTES, seed=0, state=b"")


def test_replay_finds_a_page_that_a_migration_lost():
    program, params = PROGRAMS["uniform"]
    memory = np.zeros(VM_BYTES, dtype=np.uint8)
    guest = make_guest(program, params, vm_memory_bytes=VM_BYTES, seed=11)
    bind(guest, memory)
    for _ in range(20):
        guest.step(Budget(seconds=0.005, cycles=1.0, demand_mhz=200))
    lost = 1 + random.Random(0).randrange(guest.pages)
    memory[lost * PAGE_BYTES : (lost + 1) * PAGE_BYTES] = 0
    expected = replay(
        program, params, vm_memory_bytes=VM_BYTES, seed=11, state=capture_state(guest)
    )
    assert [lost] == compare_pages(expected, memory).tolist()
