"""What fuzzing found in readers of files, as tests of their own."""

import json

import pytest

from drs import files
from drs.cost import Calibration
from tests.drs.test_files import everything


@pytest.mark.parametrize("content", ["null", "[]", "3", '"x"'])
def test_a_calibration_that_is_no_table(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="not a table of numbers"):
        Calibration.load(path)


@pytest.mark.parametrize("value", ["1e999", "-1", "NaN", "9" * 400])
def test_a_calibration_with_a_number_that_none_can_be(tmp_path, value):
    path = tmp_path / "c.json"
    path.write_text(f'{{"commit_s": {value}}}')
    with pytest.raises(ValueError, match="negative or not finite: commit_s"):
        Calibration.load(path)


def test_a_snapshot_in_a_broken_parquet_file(tmp_path):
    path = tmp_path / "s.parquet"
    files.save(everything(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[1:])
    with pytest.raises(ValueError, match="no Parquet"):
        files.load(path)


def test_a_snapshot_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.load(tmp_path / "none.parquet")


def test_a_snapshot_nested_too_deeply(tmp_path):
    path = tmp_path / "s.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"s\.json"):
        files.load(path)


def test_the_defaults_load_as_they_were_saved(tmp_path):
    path = tmp_path / "c.json"
    Calibration().save(path)
    assert Calibration() == Calibration.load(path)
    assert 0.5 == Calibration.of(json.loads('{"commit_s": 0.5}')).commit_s
