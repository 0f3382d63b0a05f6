"""How many migrations at once: vSphere's limits."""

import pytest

from cluster.inventory.model import MigrationSettings, Nic
from cluster.migration.spec import MigrationSpec
from cluster.policy.admission import DATASTORE_COST_MAX, Slots, concurrent_max
from tests.policy.building import host


def move(source: str, destination: str) -> MigrationSpec:
    return MigrationSpec(
        id="m", vm="v", source=source, destination=destination, epoch=2, memory_bytes=4096
    )


@pytest.mark.parametrize(
    ("rate_bytes_per_second", "most"),
    [(None, 8), (1.25e8, 4), (1.24e9, 4), (1.25e9, 8), (5e9, 8)],
)
def test_the_card_decides(rate_bytes_per_second, most):
    card = Nic(rate_bytes_per_second=rate_bytes_per_second)
    assert most == concurrent_max(host("a", nic=card), MigrationSettings())


def test_a_limit_that_the_scenario_names_holds_instead():
    assert 2 == concurrent_max(host("a"), MigrationSettings(per_host_max=2))


def slots(**settings) -> Slots:
    return Slots({name: host(name) for name in "abcd"}, MigrationSettings(**settings))


def test_both_ends_need_a_slot_and_the_full_one_is_named():
    taken = slots(per_host_max=1)
    taken.take(move("a", "b"), "shared")
    assert "b" == taken.full(move("c", "b"), "shared")
    assert "a" == taken.full(move("a", "c"), "shared")
    assert "a" == taken.full(move("d", "a"), "shared")
    assert "" == taken.full(move("c", "d"), "shared")


def test_a_datastore_has_128():
    taken = slots(per_host_max=1000)
    for _ in range(DATASTORE_COST_MAX):
        taken.take(move("a", "b"), "san-1")
    assert "san-1" == taken.full(move("c", "d"), "san-1")
    assert "" == taken.full(move("c", "d"), "san-2")
