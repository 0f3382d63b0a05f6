"""How large batches are: few, but not all of the object store, and small ones first."""

from itertools import islice

import pytest

from cluster.actors.pulling import TURNS, _growing, round_batch_bytes, shaped_batch_bytes

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


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_those_who_share_a_card_make_no_more_batches_a_second_than_one_alone(at_once):
    card = 125e6
    batch_bytes = shaped_batch_bytes(card / at_once, card, 32 * MIB)

    assert card / batch_bytes <= 50.0
    assert batch_bytes / card <= 0.02


def test_a_batch_of_a_small_share_takes_a_fifth_of_a_second_at_most():
    assert 2.5e6 == shaped_batch_bytes(12.5e6, 1.25e9, 32 * MIB)
    assert 128 * 1024 == shaped_batch_bytes(1e3, 1.25e9, 32 * MIB)
    assert 32 * MIB == shaped_batch_bytes(12.5e9, 12.5e9, 32 * MIB)
