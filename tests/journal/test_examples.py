"""Every example's cluster can live in a journal: each life, the first one too, is read from it."""

from pathlib import Path

import pytest

from cluster.inventory.scenario import load
from cluster.journal.replay import begun_at, go_on

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_gone_on_with(path, tmp_path):
    scenario = load(path)
    begun_at(tmp_path / "vmotion.db", scenario, seed=1)
    journal, known = go_on(tmp_path / "vmotion.db", name=scenario.name)
    assert scenario == known.center.state.scenario
    journal.close()
