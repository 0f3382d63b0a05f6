"""The rounds of a measurement: each way of each pair once, and no node twice at a time."""

from itertools import permutations

import pytest

from cluster.actors.line_rates import rounds


@pytest.mark.parametrize("count", range(2, 9))
def test_each_ordered_pair_is_measured_once_and_no_node_twice_at_a_time(count):
    nodes = [f"n{i}" for i in range(count)]
    found = rounds(nodes)
    assert sorted(permutations(nodes, 2)) == sorted(pair for pairs in found for pair in pairs)
    for pairs in found:
        ends = [end for pair in pairs for end in pair]
        assert len(ends) == len(set(ends))
