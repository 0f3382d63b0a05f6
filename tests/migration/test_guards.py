"""What keeps a migration from going wrong: the VM's stun limit and the table."""

from dataclasses import replace

import pytest

from cluster.inventory.model import Mode
from cluster.migration import machine
from cluster.migration.convergence import predicted_flip_s
from cluster.migration.machine import ProtocolError
from cluster.migration.state import Phase
from cluster.migration.table import TABLE, Kind
from tests.migration.driving import Hand, reach, spec


def flip_s(one):
    pages = one.memory_pages
    return predicted_flip_s(pages, pages, one.rate_bytes_per_second, one.overhead_s)


@pytest.mark.parametrize(("share", "after"), [(0.99, Phase.ROLLING_BACK), (1.01, Phase.STUNNING)])
def test_a_flip_that_would_stun_too_long_goes_back_before_the_vm_is_stunned(share, after):
    """Post-copy has no round after which this could be decided later."""
    one = spec(mode=Mode.POSTCOPY)
    hand = Hand(spec(mode=Mode.POSTCOPY, stun_s_max=share * flip_s(one)))
    hand.begin()
    hand.yes()

    assert after is hand.phase
    assert (after is Phase.ROLLING_BACK) == ("stun limit" in (hand.machine.state.error or ""))


def test_a_step_that_leads_where_the_table_does_not_is_an_error_with_its_story(monkeypatch):
    edge = TABLE[Phase.PREPARING, Kind.SUCCEEDED]
    wrong = {**TABLE, (Phase.PREPARING, Kind.SUCCEEDED): replace(edge, to=frozenset({Phase.LOST}))}
    monkeypatch.setattr(machine, "TABLE", wrong)
    hand = reach(Phase.PREPARING)
    with pytest.raises(ProtocolError, match=r"leads from preparing to .*the table does not have"):
        hand.yes()
