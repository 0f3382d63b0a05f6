"""Traces: named series of numbers from a CSV, Parquet or NPZ file.

A column called `time_s` is the clock and not a series: it must go up in equal steps.

- CSV: the first row has the names; UTF-8, comma.
- Parquet: the columns with numbers, in the schema's order.
- NPZ: a one-dimensional array is a series; each row of a two-dimensional one is a
  series too, named by an array of texts of the same length if the file has just one.
"""

import csv
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.inventory.names import suggestion

TIME = "time_s"
# On disk and unpacked: a small zip may hold any number of zeros.
TRACE_BYTES_MAX = 256 << 20

Values = npt.NDArray[np.float64]


class TraceError(Exception):
    """A trace cannot be used: what is wrong, and what would be right."""

    def __init__(self, wrong: str, right: str) -> None:
        super().__init__(wrong, right)
        self.wrong = wrong
        self.right = right


@dataclass(frozen=True, slots=True)
class Trace:
    """Series by name, in the file's order; a hole in one is a NaN.

    Attributes:
        file: Its name, for messages.
        series: float64, one-dimensional; their lengths may differ.
        times: The column `time_s`; None without one. A bad clock leaves the series usable, so
            that what is wrong with them can be told too.
    """

    file: str
    series: Mapping[str, Values]
    times: Values | None = None

    def interval_s(self) -> float | None:
        """The time between two samples, by the file's clock; None if it has none.

        Raises:
            TraceError: If the clock does not go up in equal steps.
        """
        return None if self.times is None else _interval_s(self.file, self.times)

    def name_of(self, column: str | int) -> str:
        """The name of that column, or of the one with that number from 0.

        Raises:
            TraceError: If there is none.
        """
        names = tuple(self.series)
        if isinstance(column, int):
            if column < len(names):
                return names[column]
            wrong = f"there is no column {column} in {self.file}"
            raise TraceError(wrong, f"the trace has {len(names)}, counted from 0")
        if column not in self.series:
            wrong = f'there is no column "{column}" in {self.file}'
            raise TraceError(wrong, suggestion(column, names))
        return column

    def values(self, column: str | int) -> Values:
        """The series of that name, or with that number from 0.

        Raises:
            TraceError: If there is none, or it has gaps or negative numbers.
        """
        column = self.name_of(column)
        values = self.series[column]
        place = f'column "{column}" of {self.file}'
        if values.size == 0:
            raise TraceError(f"{place} is empty", "one sample at least")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise TraceError(
                f"{place} has {_gaps(bad)} in {values.size} samples, "
                f"the first at sample {bad[0] + 1}",
                "a number in every row",
            )
        if values.min() < 0:
            first = int(np.argmax(values < 0))
            raise TraceError(f"{place} is {values[first]:g} at sample {first + 1}", "0 or more")
        return values


def read_trace(path: Path) -> Trace:
    """Read every series of a trace file, by the ending of its name.

    Raises:
        TraceError: If it is not there, is no trace, or is larger than 256 MiB.
    """
    readers: Mapping[str, Callable[[Path], dict[str, Values]]] = {
        ".csv": _csv,
        ".npz": _npz,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TraceError(f"{path.name} is no known kind of trace", "a .csv, .parquet or .npz file")
    try:
        if not path.is_file():
            raise TraceError(
                f"the file {path} is not there", "a path from the scenario's directory"
            )
        if path.stat().st_size > TRACE_BYTES_MAX:
            raise _too_large(path)
        series = reader(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TraceError(f"{path.name} cannot be read: {reason}", "a readable file") from error
    times = series.pop(TIME, None)
    if not series:
        raise TraceError(f"{path.name} has no column with numbers", "one column for each series")
    return Trace(path.name, series, times)


def _interval_s(file: str, times: Values) -> float:
    steps = np.diff(times)
    if times.size < 2 or not np.all(np.isfinite(times)) or steps[0] <= 0:
        wrong = f"the column {TIME} of {file} is no clock"
        raise TraceError(wrong, "two times at least, going up")
    # Times written with a few digits are off by rounding; a missing sample is off by a whole step.
    odd = np.flatnonzero(np.abs(steps - steps[0]) > 0.01 * steps[0])
    if odd.size:
        row = int(odd[0])
        raise TraceError(
            f"the clock of {file} has {_gaps(odd)}: {TIME} goes first from {times[row]:g} to "
            f"{times[row + 1]:g}",
            f"a sample every {steps[0]:g} s",
        )
    return float(times[-1] - times[0]) / (times.size - 1)


def _gaps(places: npt.NDArray[np.intp]) -> str:
    return "1 gap" if places.size == 1 else f"{places.size} gaps"


def _too_large(path: Path) -> TraceError:
    return TraceError(f"{path.name} is too large", f"at most {TRACE_BYTES_MAX >> 20} MiB")


def _csv(path: Path) -> dict[str, Values]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceError(f"{path.name} is no CSV: {error}", "comma-separated UTF-8") from error
    rows = [row for _, row in numbered]
    if len(rows) < 2:
        raise TraceError(f"{path.name} has no samples", "a row of names, then rows of numbers")
    names = [name.strip() for name in rows[0]]
    if all(np.isfinite(_number(name)) for name in names):
        raise TraceError(f"{path.name} has numbers in its first row", "a first row of names")
    if len(set(names)) < len(names):
        raise TraceError(f"{path.name} has two columns of one name", "a name of its own for each")
    uneven = [(line, len(row)) for line, row in numbered if len(row) != len(names)]
    if uneven:
        (line, found), more = uneven[0], len(uneven) - 1
        raise TraceError(
            f"{path.name} has {found} value{'' if found == 1 else 's'} in line {line}"
            + (f", and another number than its first row in {more} more" if more else ""),
            f"{len(names)}, as in its first row",
        )
    return {
        name: np.array([_number(row[index]) for row in rows[1:]], dtype=np.float64)
        for index, name in enumerate(names)
    }


def _number(text: str) -> float:
    """The number, or NaN for what is none: a hole that counts only if the column is used."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _npz(path: Path) -> dict[str, Values]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > TRACE_BYTES_MAX:
                raise _too_large(path)
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise TraceError(f"{path.name} is no NPZ: {error}", "a file made by numpy.savez") from error
    labels = [array for array in arrays.values() if array.ndim == 1 and array.dtype.kind == "U"]
    series: dict[str, Values] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf":
            continue
        if array.ndim == 1:
            series[name] = array.astype(np.float64)
        elif array.ndim == 2:
            series |= zip(_row_names(name, array, labels), array.astype(np.float64), strict=True)
    return series


def _row_names(
    name: str, array: npt.NDArray[np.generic], labels: Sequence[npt.NDArray[np.str_]]
) -> list[str]:
    if len(labels) == 1 and len(set(labels[0].tolist())) == len(array) == labels[0].size:
        return [str(label) for label in labels[0]]
    return [f"{name}-{row}" for row in range(len(array))]


def _parquet(path: Path) -> dict[str, Values]:
    # pyarrow takes longer to import than most scenarios take to check.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > TRACE_BYTES_MAX:
                raise _too_large(path)
            table = file.read()
    except (pa.ArrowException, UnicodeDecodeError) as error:  # of a column's name that is no text
        raise TraceError(f"{path.name} is no Parquet: {error}", "a Parquet file") from error
    return {
        name: np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    }
