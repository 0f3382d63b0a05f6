"""Traces in three formats, and what may be wrong with each."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.inventory.trace import TraceError, read_trace

SERIES = {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}


def _write_csv(path: Path, columns: dict[str, list]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def _write_npz(path: Path, columns: dict[str, list]) -> Path:
    np.savez(path, **columns)
    return path


def _write_parquet(path: Path, columns: dict[str, list]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


WRITERS = {"csv": _write_csv, "npz": _write_npz, "parquet": _write_parquet}


@pytest.fixture(params=sorted(WRITERS))
def write(request, tmp_path):
    kind = request.param
    return lambda columns: WRITERS[kind](tmp_path / f"trace.{kind}", columns)


def test_each_format_gives_the_same_series_by_name_and_by_number(write):
    trace = read_trace(write(SERIES))
    assert ["a", "b"] == list(trace.series)
    assert [4.0, 5.0, 6.0] == trace.values("b").tolist() == trace.values(1).tolist()
    assert trace.interval_s() is None


def test_the_column_time_s_is_the_clock_and_no_series(write):
    trace = read_trace(write({"time_s": [0, 300, 600], **SERIES}))
    assert ["a", "b"] == list(trace.series)
    assert 300.0 == trace.interval_s()


@pytest.mark.parametrize("times", [[0, 300, 900], [0, 0, 300], [300, 200, 100], [0, np.nan, 2]])
def test_a_clock_with_a_gap_or_that_stands_still_is_refused(write, times):
    trace = read_trace(write({"time_s": times, **SERIES}))
    with pytest.raises(TraceError, match=r"of trace\."):
        trace.interval_s()
    # What else is wrong can be told with it.
    assert [1.0, 2.0, 3.0] == trace.values("a").tolist()


def test_a_hole_counts_only_in_the_column_that_is_used(write):
    trace = read_trace(write({"a": [1.0, np.nan, 3.0], "b": [1.0, 2.0, -3.0], "c": [1, 2, 3]}))
    assert [1.0, 2.0, 3.0] == trace.values("c").tolist()
    with pytest.raises(TraceError, match=r"of trace\..*1 gap in 3 samples, the first at sample 2"):
        trace.values("a")
    with pytest.raises(TraceError, match="-3 at sample 3"):
        trace.values("b")


def test_an_unknown_column_names_the_nearest(write):
    trace = read_trace(write({"machine-1": [1.0], "machine-2": [2.0]}))
    with pytest.raises(TraceError) as found:
        trace.values("machine_1")
    assert "machine-1" in found.value.right
    with pytest.raises(TraceError, match="no column 2"):
        trace.values(2)


def test_a_null_in_parquet_is_a_hole(tmp_path):
    path = _write_parquet(tmp_path / "t.parquet", {"a": [1, None, 3], "text": ["x", "y", "z"]})
    trace = read_trace(path)
    assert ["a"] == list(trace.series)
    with pytest.raises(TraceError, match="1 gap "):
        trace.values("a")


def test_the_rows_of_a_table_in_an_npz_are_series_with_the_names_beside_them(tmp_path):
    table = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    np.savez(tmp_path / "named.npz", cpu=table, vm=np.array(["x", "y"]))
    np.savez(tmp_path / "plain.npz", cpu=table)
    assert ["x", "y"] == list(read_trace(tmp_path / "named.npz").series)
    plain = read_trace(tmp_path / "plain.npz")
    assert ["cpu-0", "cpu-1"] == list(plain.series)
    assert [4.0, 5.0, 6.0] == plain.values(1).tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no samples"),
        ("a,b\n", "no samples"),
        ("1,2\n3,4\n", "numbers in its first row"),
        ("a,a\n3,4\n", "two columns of one name"),
        ("a,b\n1,2\n3\n", "1 value in line 3', '2, as in its first row"),
        ("a,b\n1,2,3\n3\n4,5\n\n6\n", "3 values in line 2, and another number .* in 2 more"),
        ("a,b\n\n1,2\n3\n", "1 value in line 4"),
        ("time_s\n1\n2\n", "no column with numbers"),
        ("a\nx\n", "1 gap "),
        ("a\ninf\n", "1 gap "),
    ],
)
def test_a_csv_that_is_none_says_why(tmp_path, text, says):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=says):
        read_trace(path).values(0)


@pytest.mark.parametrize("kind", sorted(WRITERS))
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00nonsense", b"PK\x03\x04", b"PAR1" * 4])
def test_garbage_in_any_format_is_a_trace_error(tmp_path, kind, content):
    path = tmp_path / f"t.{kind}"
    path.write_bytes(content)
    with pytest.raises(TraceError):
        read_trace(path).values(0)


def test_a_pickle_in_an_npz_is_not_run(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(TraceError, match="no NPZ"):
        read_trace(tmp_path / "t.npz")


def test_a_small_zip_that_unpacks_to_more_than_the_limit_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))
    with pytest.raises(TraceError, match="too large"):
        read_trace(tmp_path / "t.npz")


def test_a_missing_file_and_an_unknown_ending_are_refused(tmp_path):
    with pytest.raises(TraceError, match="not there"):
        read_trace(tmp_path / "t.csv")
    with pytest.raises(TraceError, match="no known kind"):
        read_trace(tmp_path / "t.xlsx")


def test_an_empty_column_of_an_npz_is_refused(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.array([]), b=np.array([1.0]))
    with pytest.raises(TraceError, match=r'column "a" of t\.npz is empty'):
        read_trace(tmp_path / "t.npz").values("a")


def test_an_array_of_an_npz_that_is_no_table_is_left_out(tmp_path):
    np.savez(tmp_path / "t.npz", cube=np.zeros((2, 2, 2)), scale=np.array(3.0), b=np.array([1.0]))
    assert ["b"] == list(read_trace(tmp_path / "t.npz").series)


def test_a_parquet_whose_column_has_a_name_that_is_no_text_is_no_trace(tmp_path):
    path = _write_parquet(tmp_path / "t.parquet", {"aaaaaaaa": [1.0, 2.0, 3.0]})
    path.write_bytes(path.read_bytes().replace(b"aaaaaaaa", b"\xf4aaaaaaa"))
    with pytest.raises(TraceError, match="no Parquet"):
        read_trace(path)
