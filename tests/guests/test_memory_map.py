"""Arrays in VM memory, and the state that travels outside it."""

import pickle

import numpy as np
import pytest

from cluster.guests.base import STATE_BYTES_MAX, Array, Guest
from cluster.guests.memory_map import (
    GuestStateError,
    bind,
    capture_state,
    header,
    make_guest,
    place,
    restore_state,
)
from cluster.page import PAGE_BYTES

PAGES = 16
VM_BYTES = PAGES * PAGE_BYTES


class Ledger(Guest):
    """A guest with two arrays and a few attributes."""

    def __init__(self, *, memory_bytes: int, seed: int = 0, entries: int = 3) -> None:
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        self.entries = entries
        self.booked = 0
        self.extra: object = None

    def layout(self):
        return {
            "sums": Array(shape=(self.entries, 2), dtype=np.int64),
            "flags": Array(shape=(PAGE_BYTES + 1,)),
        }

    def book(self, entry: int, amount: int) -> None:
        self.sums[entry, 0] += amount
        self.booked += 1


def bound(memory, **params):
    guest = make_guest(Ledger, params, vm_memory_bytes=memory.nbytes, seed=7)
    bind(guest, memory)
    return guest


def memory():
    return np.zeros(VM_BYTES, dtype=np.uint8)


def test_each_array_starts_on_a_page_of_its_own_behind_the_header():
    placements = place(Ledger(memory_bytes=VM_BYTES).layout(), vm_memory_bytes=VM_BYTES)
    assert [1 * PAGE_BYTES, 2 * PAGE_BYTES] == [at.offset for at in placements.values()]
    assert [48, PAGE_BYTES + 1] == [at.nbytes for at in placements.values()]


def test_writing_an_attribute_writes_vm_memory_and_leaves_the_header_alone():
    vm = memory()
    guest = bound(vm)
    guest.book(0, 5)
    guest.flags[:] = 9
    assert 5 == vm[PAGE_BYTES : PAGE_BYTES + 8].view(np.int64)[0]
    assert 9 == vm[3 * PAGE_BYTES]
    assert 0 == vm[3 * PAGE_BYTES + 1]
    assert not header(vm).any()


def test_the_guest_is_told_the_memory_that_is_left_for_arrays():
    assert VM_BYTES - PAGE_BYTES == bound(memory()).memory_bytes


def test_an_array_fills_memory_to_the_last_byte_but_not_beyond():
    place({"all": Array(shape=(VM_BYTES - PAGE_BYTES,))}, vm_memory_bytes=VM_BYTES)
    with pytest.raises(ValueError, match="need 69,632 bytes"):
        place({"all": Array(shape=(VM_BYTES - PAGE_BYTES + 1,))}, vm_memory_bytes=VM_BYTES)


def test_all_problems_of_a_layout_are_told_at_once():
    layout = {
        "step": Array(shape=(1,)),
        "objects": Array(shape=(1,), dtype=object),
        "negative": Array(shape=(-1,)),
        "no name": Array(shape=(1,)),
        "strange": Array(shape=(1,), dtype="no such type"),
        "large": Array(shape=(VM_BYTES,)),
    }
    with pytest.raises(ValueError, match="step") as caught:
        place(layout, vm_memory_bytes=VM_BYTES)
    for word in ("objects", "negative", "no name", "strange", "the arrays need"):
        assert word in str(caught.value)


def test_replacing_an_array_is_refused_with_the_cure():
    guest = bound(memory())
    with pytest.raises(AttributeError, match=r"self\.sums\[\.\.\.\] = value"):
        guest.sums = guest.sums + 1
    guest.sums += 1
    assert 1 == guest.sums[0, 0]


def test_an_unknown_parameter_is_told_with_the_class():
    with pytest.raises(ValueError, match=r"Ledger does not take .*colour"):
        make_guest(Ledger, {"colour": 1}, vm_memory_bytes=VM_BYTES, seed=0)


def test_state_moves_to_an_instance_bound_to_other_memory():
    here = memory()
    guest = bound(here)
    guest.book(2, 40)
    guest.extra = {"name": np.arange(3)}
    there = here.copy()
    moved = bound(there)
    moved.left_over = True
    restore_state(moved, capture_state(guest))
    moved.book(2, 2)
    assert 2 == moved.booked
    assert 42 == moved.sums[2, 0]
    assert 40 == guest.sums[2, 0]
    assert [0, 1, 2] == moved.extra["name"].tolist()
    assert not hasattr(moved, "left_over")


def test_arrays_are_not_in_the_state():
    guest = bound(memory())
    assert {"memory_bytes", "seed", "entries", "booked", "extra"} == set(
        pickle.loads(capture_state(guest))
    )


@pytest.mark.parametrize("wrap", [lambda view: view, lambda view: [{"deep": view[1:]}]])
def test_a_view_of_vm_memory_in_an_attribute_is_refused_by_name(wrap):
    guest = bound(memory())
    guest.extra = wrap(guest.flags)
    with pytest.raises(GuestStateError, match=r"Ledger\.extra .*view of VM memory"):
        capture_state(guest)


def test_an_attribute_that_does_not_pickle_is_named():
    guest = bound(memory())
    guest.extra = lambda: None
    with pytest.raises(GuestStateError, match=r"Ledger\.extra cannot travel"):
        capture_state(guest)


def test_too_large_a_state_names_the_largest_attribute():
    guest = bound(memory())
    guest.extra = bytes(STATE_BYTES_MAX + 1)
    with pytest.raises(GuestStateError, match="largest is 'extra'"):
        capture_state(guest)


def test_memory_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="contiguous"):
        bind(Ledger(memory_bytes=VM_BYTES), np.zeros((2, PAGE_BYTES), dtype=np.uint8))
