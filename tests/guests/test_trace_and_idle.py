"""Work in proportion to cycles, and the guest without work."""

import numpy as np
import pytest

from cluster.guests.base import Budget
from cluster.guests.idle import Idle
from cluster.guests.memory_map import bind, make_guest
from cluster.guests.trace import CELLS_PER_MEGACYCLE, CELLS_PER_STEP_MAX, Trace


def started(program, **params):
    vm = np.zeros(1 << 20, dtype=np.uint8)
    guest = make_guest(program, params, vm_memory_bytes=vm.nbytes, seed=5)
    bind(guest, vm)
    guest.start()
    return guest


def test_work_follows_the_cycles_granted():
    guest = started(Trace, working_set_mib=0.5)
    for _ in range(40):
        guest.step(Budget(seconds=0.005, cycles=0.33, demand_mhz=500))
    assert 40 * 0.33 * CELLS_PER_MEGACYCLE == pytest.approx(guest.cells_done, abs=1)


def test_no_cycles_no_work():
    guest = started(Trace, working_set_mib=0.5)
    before = guest.cells.copy()
    guest.step(Budget(seconds=0.005, cycles=0.0, demand_mhz=500))
    assert np.array_equal(before, guest.cells)


def test_every_cell_is_a_generator_that_has_been_stepped_as_often_as_its_turn_came():
    guest = started(Trace, working_set_mib=1 / 64)
    cells = guest.ring_cells
    guest.step(Budget(seconds=1.0, cycles=2.5 * cells / CELLS_PER_MEGACYCLE, demand_mhz=1))
    assert guest.cells_done == cells * 5 // 2
    for cell, turns in ((0, 3), (cells // 2 - 1, 3), (cells // 2, 2), (cells - 1, 2)):
        expected = 5 + cell
        for _ in range(turns):
            expected = (expected * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        assert expected == guest.cells[cell]


def test_a_step_does_not_do_more_than_fits_a_quantum():
    guest = started(Trace, working_set_mib=0.5)
    guest.step(Budget(seconds=60.0, cycles=1e6, demand_mhz=1e4))
    assert CELLS_PER_STEP_MAX == guest.cells_done


@pytest.mark.parametrize("mib", [0, -1, 1])
def test_a_working_set_that_does_not_fit_is_refused(mib):
    with pytest.raises(ValueError, match="working_set_mib"):
        started(Trace, working_set_mib=mib)


def test_idle_answers_with_the_request_and_writes_nothing():
    guest = started(Idle)
    guest.step(Budget(seconds=1.0, cycles=1000.0, demand_mhz=1000))
    assert ("any", 1) == guest.handle(("any", 1))
