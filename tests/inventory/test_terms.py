"""What is sold, and how many licences a host takes."""

import pytest

from cluster.inventory.licence_terms import Feature, licences_needed


@pytest.mark.parametrize(
    ("sockets", "cores_per_socket", "licences"),
    [(1, 1, 1), (2, 1, 1), (2, 4, 1), (1, 5, 1), (2, 8, 2), (1, 12, 2), (3, 4, 2), (4, 6, 4)],
)
def test_a_licence_is_for_two_processors_of_up_to_four_cores(sockets, cores_per_socket, licences):
    assert licences == licences_needed(sockets, cores_per_socket)


def test_people_say_other_names_than_licence_files():
    assert ["ESX Server", "VirtualCenter", "VMotion", "DRS", "HA"] == [
        feature.title for feature in Feature
    ]
