"""How large batches are: few, but not all of the object store, and small ones first."""

from itertools import islice

import pytest

from cluster.actors.pulling import TURNS, _growing, round_batch_bytes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("store_mib", "batch_mib"), [(4096, 128), (1024, 128), (512, 64), (256, 32), (64, 16), (0, 16)]
)
def test_a_rounds_batches_fit_the_hosts_part_of_the_object_store(store_mib, batch_mib):
    assert batch_mib * MIB == round_batch_bytes(store_mib * MIB)
    if store_mib >= 128:
        assert TURNS * batch_mib <= store_mib / 2


def test_a_round_begins_with_small_batches():
    assert [32, 64, 128, 128] == [n // MIB for n in islice(_growing(128 * MIB), 4)]
    assert [16, 16] == [n // MIB for n in islice(_growing(16 * MIB), 2)]
