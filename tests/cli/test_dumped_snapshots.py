"""A cluster's snapshot, saved and looked at later, knows the moment at which it was taken."""

import json

import pytest
from click.testing import CliRunner

from cluster.cli.main import main
from cluster.inventory.demand import Constant
from cluster.inventory.model import DrsSettings
from cluster.policy.messages import Solve, Ticked
from drs import Snapshot
from tests.policy.building import Hand, scenario, vm

COOLDOWN_S = 60.0


def taken(*, at: float) -> Snapshot:
    """What a pass at that second sees: both VMs came to host a at second 10, and b is empty."""
    drs = DrsSettings(interval_s=at, cooldown_s=COOLDOWN_S, threshold=5)
    vms = [vm(name, "b", demand=Constant(mhz=400.0)) for name in ("v", "w")]
    hand = Hand(scenario("ab", vms, drs=drs)).up()
    hand.now = 10.0
    for name in ("v", "w"):
        hand.complete(hand.begun(name, "a"))
    hand.load("a", v=400.0, w=400.0)
    (asked,) = (c for c in hand.acts(Ticked(), at=at) if isinstance(c, Solve))
    return asked.snapshot


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize(("at_s", "moves"), [(50.0, 0), (90.0, 1)])
def test_the_cool_down_of_a_saved_snapshot_counts_from_when_it_was_taken(
    tmp_path, kind, at_s, moves
):
    """At second 50 both VMs rest still; at second 90 one of them may go back."""
    path, policy = tmp_path / f"snapshot.{kind}", tmp_path / "policy.toml"
    taken(at=at_s).save(path)
    assert at_s == Snapshot.load(path).taken_at_s
    policy.write_text(f"cooldown_s = {COOLDOWN_S}\nmigration_threshold = 5\n")
    words = ["drs", "recommend", str(path), "--policy", str(policy), "--steps", "1000", "--json"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert 0 == done.exit_code
    assert moves == len(json.loads(done.stdout)["actions"])
