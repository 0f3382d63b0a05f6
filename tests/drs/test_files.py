"""A saved snapshot reproduces the decision."""

from dataclasses import fields

import numpy as np
import pytest

from drs import (
    Affinity,
    AntiAffinity,
    Automation,
    DomainSpread,
    HostState,
    Policy,
    ResourcePool,
    Snapshot,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
    recommend,
)
from drs.files import load, save


def everything():
    return Snapshot.build(
        ["h0", "h1", "h2"],
        ["a", "b", "c"],
        [[10, 1 / 3], [10, 20], [10, 20]],
        [[1, 0.1], [2, 0.2], [3, 0.3]],
        ["h0", 0, None],
        reservation=[0.5, 0.0],
        limit=[4, float("inf")],
        allowed=[[True, True, False], [True] * 3, [True] * 3],
        host_states=[HostState.CONNECTED, HostState.CONNECTED, HostState.STANDBY],
        moved_at_s=[1.5, -np.inf, -np.inf],
        automation=[Automation.MANUAL, None, Automation.DISABLED],
        in_flight=[("b", "h1")],
        pools=[
            ResourcePool(name="p", shares={"cpu_mhz": 8000}, limit={"cpu_mhz": 9}),
            ResourcePool(name="q", parent="p", reservation={"memory_mib": 1}, expandable=False),
        ],
        pool=["p", None, "q"],
        taken_at_s=12.5,
        rules=[
            Affinity(name="t", vms=("a", "b")),
            AntiAffinity(name="x", vms=("a", "c"), strength=Strength.SHOULD),
            DomainSpread(name="d", vms=("b", "c"), domains={"h0": "east"}, vms_per_domain_max=2),
            VmHostAffinity(name="on", vms=("a",), hosts=("h0", "h1")),
            VmHostAntiAffinity(name="off", vms=("c",), hosts=("h2",)),
        ],
    )


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_everything_survives(tmp_path, suffix):
    snapshot, path = everything(), tmp_path / f"dump{suffix}"
    snapshot.save(path)
    again = Snapshot.load(path)
    for field in fields(Snapshot):
        before, after = getattr(snapshot, field.name), getattr(again, field.name)
        assert (
            np.array_equal(before, after) if isinstance(before, np.ndarray) else before == after
        ), field.name
    plans = [
        recommend(s, Policy(), now=0.0, rng=np.random.default_rng(1)) for s in (snapshot, again)
    ]
    assert plans[0] == plans[1]


def test_an_empty_snapshot_survives(tmp_path):
    path = tmp_path / "empty.json"
    save(Snapshot.build([], [], [10, 10], [], []), path)
    assert ((), ()) == (load(path).hosts, load(path).vms)


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"format": "drs-snapshot-1"}'])
def test_what_is_no_snapshot_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json"):
        load(path)
    with pytest.raises(ValueError, match=r"\.json or \.parquet"):
        save(everything(), tmp_path / "dump.txt")
