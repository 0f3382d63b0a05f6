"""The oracles of a run find what is wrong: one byte of memory, one request, one page too late."""

import os
import pickle

import numpy as np
import pytest

from cluster.actors.vcpu import CpuState
from cluster.actors.verifying import audit_guest, compare_memory
from cluster.guests.base import Budget, Special
from cluster.guests.clients import ClientAccount, RequestSource
from cluster.guests.memory_map import bind, capture_state, make_guest
from cluster.guests.registry import load_guest
from cluster.inventory.demand import Constant
from cluster.inventory.model import GuestSpec, VmSpec
from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory, populated_pages
from cluster.memory.hashes import hash_pages

MIB = 4
NBYTES = MIB << 20


@pytest.fixture
def memory():
    fd = create_memory("test", NBYTES)
    yield fd, map_memory(fd, NBYTES)
    os.close(fd)


def ran(program, memory, params=()):
    """A guest that has run a while over `memory`, as the VM that its host audits."""
    spec = VmSpec(
        name="v",
        memory_mib=MIB,
        cpu_mhz=1000.0,
        guest=GuestSpec(program=program, params=params),
        demand=Constant(mhz=1000.0),
        seed=3,
    )
    guest = make_guest(load_guest(program), dict(params), vm_memory_bytes=NBYTES, seed=3)
    bind(guest, memory.flat)
    guest.start()
    account = ClientAccount()
    source = RequestSource(type(guest), dict(params), client=0, seed=1)
    for _ in range(200):
        guest.step(Budget(seconds=0.01, cycles=10.0, demand_mhz=1000.0))
        if program == "keyvalue":
            request = source.next()
            account.note_sent(request)
            account.note_answered(request, guest.handle(request))
    state = CpuState(guest=capture_state(guest), answered={}, guest_s=2.0)
    return spec, pickle.dumps(state), account


def test_one_flipped_bit_on_the_way_is_one_mismatched_page(memory):
    fd, mapping = memory
    mapping.pages[5:9] = 7
    noted = np.full(len(mapping.pages), hash_pages(np.zeros((1, PAGE_BYTES), np.uint8))[0])
    arrived = mapping.pages[5:9].copy()
    noted[5:9] = hash_pages(arrived)
    populated = populated_pages(fd, NBYTES)
    assert 0 == compare_memory(Frozen(mapping, hashed=True), populated, noted)

    arrived[2, 4000] ^= 1
    noted[5:9] = hash_pages(arrived)
    assert 1 == compare_memory(Frozen(mapping, hashed=True), populated, noted)


@pytest.mark.parametrize("program", ["writer", "keyvalue"])
def test_memory_that_its_replay_does_not_explain_is_found(memory, program):
    mapping = memory[1]
    params = (("rate_mb_s", 5.0),) if program == "writer" else ()
    spec, state, account = ran(program, mapping, params)
    good = audit_guest(spec, mapping, state, [account])
    assert (True, 0, "") == (good.replayed, good.mismatched_pages, good.error)

    mapping.pages[len(mapping.pages) // 2, 123] ^= 1
    bad = audit_guest(spec, mapping, state, [account])
    assert 1 == bad.mismatched_pages


def test_a_request_without_an_answer_is_lost_and_fails_the_audit(memory):
    spec, state, account = ran("keyvalue", memory[1])
    account.note_sent(("get", 1))

    assert 1 == audit_guest(spec, memory[1], state, [account]).settlement.lost


def test_a_request_done_twice_is_found_in_the_guests_own_numbers(memory):
    """The guest did one operation more than clients have answers for."""
    mapping = memory[1]
    spec, state, account = ran("keyvalue", mapping)
    guest = make_guest(load_guest("keyvalue"), {}, vm_memory_bytes=NBYTES, seed=3)
    bind(guest, mapping.flat)
    guest.handle(("increment", 1))
    audit = audit_guest(spec, mapping, state, [account])

    assert 1 == audit.settlement.duplicated
    assert "never answered" in audit.error


def test_answers_that_two_copies_of_a_vm_gave_contradict_each_other(memory):
    """Each copy is in order by itself; together they count the same probe twice."""
    accounts = [ClientAccount(), ClientAccount()]
    for step in range(3):
        for at, account in enumerate(accounts):
            account.note_sent(Special.PROBE, now_s=10.0 * step + at)
            account.note_answered(Special.PROBE, step + 1, now_s=10.0 * step + at + 0.5)
    spec, state, _ = ran("writer", memory[1])
    audit = audit_guest(spec, memory[1], state, accounts)
    assert "the probes' counts could not come from one VM" in audit.error
