"""The hash table against a dict, and its numbered operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.guests.keyvalue import Answer, KeyValue, Malformed, Status
from cluster.guests.memory_map import bind, make_guest

SLOTS = 8
VALUE_BYTES = 16
KEYS = st.one_of(st.integers(0, 12), st.integers(0, (1 << 64) - 1))
REQUESTS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=VALUE_BYTES)),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("increment"), KEYS),
)


def table(**params):
    vm = np.zeros(1 << 20, dtype=np.uint8)
    guest = make_guest(KeyValue, params, vm_memory_bytes=vm.nbytes, seed=0)
    bind(guest, vm)
    guest.start()
    return guest


class Model:
    """The same, on a dict."""

    def __init__(self):
        self.stored = {}
        self.number = -1

    def handle(self, request):
        self.number += 1
        key = request[1]
        if request[0] == "get":
            if key not in self.stored:
                return Answer(self.number, Status.ABSENT)
            return Answer(self.number, Status.DONE, self.stored[key])
        if key not in self.stored and len(self.stored) == SLOTS:
            return Answer(self.number, Status.FULL)
        if request[0] == "put":
            self.stored[key] = request[2].ljust(VALUE_BYTES, b"\0")
            return Answer(self.number, Status.DONE)
        old = self.stored.get(key, bytes(VALUE_BYTES))
        count = (int.from_bytes(old[:8], "little") + 1) % (1 << 64)
        self.stored[key] = count.to_bytes(8, "little") + old[8:]
        return Answer(self.number, Status.DONE, count)


@given(st.lists(REQUESTS, max_size=60))
@settings(deadline=None, max_examples=150)
def test_it_answers_as_a_dict_would_also_when_it_is_full(requests):
    guest, model = table(slots=SLOTS, value_bytes=VALUE_BYTES), Model()
    for request in requests:
        assert model.handle(request) == guest.handle(request)
    assert len(requests) == guest.operations[0]


def test_a_counter_wraps():
    guest = table(slots=SLOTS, value_bytes=VALUE_BYTES)
    guest.handle(("put", 1, b"\xff" * 8))
    assert 0 == guest.handle(("increment", 1)).value


@pytest.mark.parametrize(
    "request_",
    [
        None,
        ("get",),
        ("get", -1),
        ("get", 1 << 64),
        ("get", "key"),
        ("put", 1, b"x" * (VALUE_BYTES + 1)),
        ("put", 1, "text"),
        ("delete", 1),
    ],
)
def test_a_bad_request_is_answered_and_not_numbered(request_):
    guest = table(slots=SLOTS, value_bytes=VALUE_BYTES)
    assert isinstance(guest.handle(request_), Malformed)
    assert 0 == guest.operations[0]


def test_without_slots_it_fills_the_memory():
    guest = table(value_bytes=100)
    used = sum(array.nbytes for array in guest.layout().values())
    assert used > (1 << 20) * 0.97


@pytest.mark.parametrize("params", [{"slots": 0}, {"value_bytes": 4}, {"slots": 1 << 20}])
def test_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValueError, match=r"slots must|value_bytes must|arrays need"):
        table(**params)
