"""Groups made into single things, and defaults written once."""

import pytest

from cluster.inventory.fields import default_of
from cluster.inventory.groups import THINGS_MAX, Registry
from cluster.inventory.model import ClientsSpec, VmSpec
from cluster.inventory.problems import Findings


def test_more_things_than_can_be_handled_are_not_made():
    vms: Registry[object] = Registry("VM")
    findings = Findings()
    assert ["db"] == vms.declare("db", None, ("vm", 0), findings)
    assert [] == vms.declare("web", THINGS_MAX, ("vm", 1), findings)
    assert {
        (("vm", 1, "count"), "more VMs than can be handled"): f"{THINGS_MAX} in all at most"
    } == findings.found
    assert ["db"] == list(vms.origins)


def test_the_default_of_a_key_is_that_of_the_fact():
    assert ClientsSpec().count == default_of(ClientsSpec, "count")
    with pytest.raises(LookupError, match=r"VmSpec\.memory_mib has no default"):
        default_of(VmSpec, "memory_mib")
