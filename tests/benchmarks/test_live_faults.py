"""Live faults strike where they are put, and nothing is lost by them: one of each kind."""

import json
import subprocess
import sys
from pathlib import Path

import live_faults
import pytest


@pytest.mark.long
@pytest.mark.ray
def test_one_of_each_kind_strikes_and_breaks_no_law():
    script = Path(live_faults.__file__).with_name("faults.py")
    told = subprocess.run(
        [sys.executable, script, "--live", "100", "--quick", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == told.returncode, told.stdout + told.stderr
    live = [one for one in json.loads(told.stdout) if one["claim"].endswith("live")]
    assert [(0, len(live_faults.ONE_OF_EACH))] == [(one["value"], one["n"]) for one in live]
