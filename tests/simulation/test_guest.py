"""Dirty pages in counts: guest time, harvests, throttle and stun."""

import math

import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import MIB, PAGE_BYTES, ClientsSpec, GuestSpec, VmSpec
from cluster.simulation.guest import GuestMemory, demand_faults, dirty_model, populated_pages
from drs.cost import DirtyModel, DirtyPattern

PAGES = 10_000
SWEEP = DirtyModel(
    pattern=DirtyPattern.SWEEP,
    write_rate_bytes_per_second=1_000 * PAGE_BYTES,
    working_set_bytes=5_000 * PAGE_BYTES,
)


def guest(model=SWEEP):
    return GuestMemory(PAGES, model, now=0.0)


def test_a_sweep_dirties_its_rate_until_its_working_set_is_dirty():
    memory = guest()
    assert 2_000 == memory.dirty_pages(now=2.0)
    assert 5_000 == memory.dirty_pages(now=60.0)


def test_a_harvest_takes_the_dirty_pages_and_counting_begins_anew():
    memory = guest()
    assert 2_000 == memory.harvest(now=2.0)
    assert 0 == memory.dirty_pages(now=2.0)
    assert 1_000 == memory.dirty_pages(now=3.0)


def test_a_throttled_guest_writes_less_and_a_stunned_one_nothing():
    memory = guest()
    memory.throttle(0.75, now=1.0)
    assert 1_500 == memory.dirty_pages(now=3.0)
    memory.stun(now=3.0)
    assert 1_500 == memory.dirty_pages(now=9.0)
    memory.resume(now=9.0)
    assert 2_500 == memory.dirty_pages(now=10.0)


def test_a_guest_on_an_overcommitted_host_runs_slower():
    memory = guest()
    memory.set_speed(0.5, now=0.0)
    assert 1_000 == memory.dirty_pages(now=2.0)


def test_what_an_interrupted_send_left_is_dirty_still():
    memory = guest()
    taken = memory.harvest(now=2.0)
    memory.put_back(taken - 500)
    assert 1_500 == memory.dirty_pages(now=2.0)


def test_nothing_is_dirty_again_in_a_guest_that_does_not_write():
    memory = guest(DirtyModel(working_set_bytes=5_000 * PAGE_BYTES))
    memory.put_back(500)
    assert 0 == memory.dirty_pages(now=1.0)


def test_the_working_set_is_never_more_than_the_memory():
    model = DirtyModel(write_rate_bytes_per_second=1e12, working_set_bytes=1e12)
    assert PAGES == guest(model).dirty_pages(now=60.0)


def test_no_page_faults_that_is_not_missing_or_not_touched():
    assert 0 == demand_faults(0, SWEEP, 1.0)
    assert 0 == demand_faults(100, DirtyModel(), 1.0)
    assert 0 == demand_faults(100, SWEEP, 0.0)
    assert 0 == demand_faults(100, DirtyModel(working_set_bytes=5_000 * PAGE_BYTES), 1.0)


def test_faults_are_at_most_a_fifth_of_the_working_set():
    """λT = 1,000/5,000 · 10 = 2: 1 - (1 - e⁻²)/2 = 0.568 of 5,000 pages, of which 21 % fault."""
    assert round(0.21 * (1 - (1 - math.exp(-2)) / 2) * 5_000) == demand_faults(9_000, SWEEP, 10.0)
    assert demand_faults(9_000, SWEEP, 1e9) <= 0.21 * 5_000


def vm(program, clients=None, **params):
    return VmSpec(
        name="vm",
        memory_mib=64,
        cpu_mhz=1000.0,
        guest=GuestSpec(program=program, params=tuple(sorted(params.items()))),
        demand=Constant(mhz=100.0),
        clients=clients,
    )


def test_an_idle_guest_has_no_page_to_send():
    assert DirtyModel() == dirty_model(vm("idle"))
    assert 0 == populated_pages(vm("idle"), 1e6)


def test_a_writer_writes_as_its_parameters_say():
    sweeper = vm("writer", rate_mb_s=4.096, working_set_mib=16, pattern="sweep")
    model = dirty_model(sweeper)
    assert DirtyPattern.SWEEP is model.pattern
    assert (4.096e6, 16 * MIB) == (model.write_rate_bytes_per_second, model.working_set_bytes)
    assert [1_000, 4_096] == [populated_pages(sweeper, age_s) for age_s in (1.0, 60.0)]


def test_a_key_value_store_writes_a_page_a_request():
    model = dirty_model(vm("keyvalue", ClientsSpec(count=3, rate_hz=10.0)))
    assert pytest.approx(30 * PAGE_BYTES) == model.write_rate_bytes_per_second
    assert 0.0 == dirty_model(vm("keyvalue")).write_rate_bytes_per_second


def test_a_trace_goes_through_its_ring_once_a_second():
    assert 2 * 256 == populated_pages(vm("trace"), 1.0)


def test_a_program_of_the_users_own_is_taken_as_idle_with_all_memory_in_use():
    mine = vm("guest.py:Mine")
    assert DirtyModel() == dirty_model(mine)
    assert 64 * 256 == populated_pages(mine, 0.0)


def test_a_guest_that_is_filled_is_full_from_the_start():
    filled = vm("writer", rate_mb_s=1, working_set_mib=1, filled=True)
    assert 64 * 256 == populated_pages(filled, 0.0)
