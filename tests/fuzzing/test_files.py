"""Whatever stands in a file: it is read, or its problem is said. No crash, no hang, no flood.

Each reader may raise the one error that its callers turn into a message, and nothing else.
"""

import io
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.actors.wire import Decoder, encode
from cluster.inventory.licence_terms import Product
from cluster.inventory.trace import TraceError, read_trace
from cluster.policy.licence_file import read, write
from drs import Snapshot, files
from drs.cost import Calibration
from tests.drs.test_files import everything
from tests.fuzzing.damage import bent, damaged
from tests.policy.test_licensing import bought, order

# More of them, and others, in the long run.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 20,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
MEMORY_BYTES_MAX = 256 << 20


@pytest.fixture(autouse=True)
def no_flood():
    """None of these small files may make a reader hold much."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib * 1024 < MEMORY_BYTES_MAX


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


# Snapshots.


def snapshot_tree(place):
    path = place / "whole.json"
    files.save(everything(), path)
    return json.loads(path.read_text())


def read_snapshot(path, content):
    path.write_bytes(content)
    try:
        found = files.load(path)
    except ValueError as error:
        found = error
    assert isinstance(found, Snapshot) or str(path) in str(found)


@FEW
@given(st.data())
def test_a_bent_snapshot(place, data):
    tree = data.draw(bent(snapshot_tree(place)))
    read_snapshot(place / "bent.json", json.dumps(tree).encode())


@FEW
@given(st.data())
def test_a_damaged_snapshot(place, data):
    whole = json.dumps(snapshot_tree(place)).encode()
    read_snapshot(place / "damaged.json", data.draw(damaged(whole)))


@FEW
@given(st.data())
def test_a_damaged_snapshot_in_parquet(place, data):
    path = place / "whole.parquet"
    files.save(everything(), path)
    read_snapshot(place / "damaged.parquet", data.draw(damaged(path.read_bytes())))


@FEW
@given(st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_another_json_than_a_snapshot(place, tree):
    read_snapshot(place / "other.json", json.dumps(tree).encode())


# Calibrations.


@FEW
@given(st.data())
def test_a_bent_or_damaged_calibration(place, data):
    path = place / "calibration.json"
    tree = asdict(Calibration())
    if data.draw(st.booleans()):
        content = json.dumps(data.draw(bent(tree))).encode()
    else:
        content = data.draw(damaged(json.dumps(tree).encode()))
    path.write_bytes(content)
    try:
        found = Calibration.load(path)
    except ValueError as error:
        found = error
    if isinstance(found, ValueError):
        assert str(path) in str(found)
    else:
        assert all(isinstance(value, float) for value in asdict(found).values())


# Traces.


def whole_trace(kind):
    buffer = io.BytesIO()
    match kind:
        case "csv":
            return b"time_s,a,b\n0,1,2\n1,3,4\n2,5,6\n"
        case "npz":
            np.savez(buffer, a=np.arange(4.0), b=np.ones((2, 3)), names=np.array(["x", "y"]))
        case _:
            pq.write_table(pa.table({"time_s": [0.0, 1.0], "a": [1.0, 2.0]}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
@FEW
@given(data=st.data())
def test_a_damaged_trace(place, kind, data):
    path = place / f"trace.{kind}"
    path.write_bytes(data.draw(damaged(whole_trace(kind)) | st.binary(max_size=64)))
    problem, trace = tried(lambda: read_trace(path))
    if trace is None:
        assert problem.wrong
        assert problem.right
        return
    problem, interval_s = tried(trace.interval_s)
    assert problem.wrong if problem else interval_s is None or interval_s > 0
    for name in trace.series:
        problem, values = tried(lambda name=name: trace.values(name))
        assert problem.wrong if values is None else np.isfinite(values).all()


def tried(read):
    """The error that a trace may raise, or what was read."""
    try:
        return None, read()
    except TraceError as error:
        return error, None


# Licence files.


LICENCE = write(bought(order(Product.ENTERPRISE)))


@FEW
@given(st.data())
def test_a_damaged_licence_file(data):
    text = data.draw(damaged(LICENCE.encode())).decode(errors="replace")
    file, problems = read(text)
    again, _ = read(write(file))
    assert again.increments == file.increments
    for problem in problems:
        assert problem.text


@FEW
@given(st.text(st.sampled_from('INCREMENTSERVDO "=\\\n#VMOTIONLM-0123456789'), max_size=400))
def test_any_licence_file(text):
    read(text)


# Frames between a host and its VMs.


@FEW
@given(st.data())
def test_a_damaged_frame(data):
    whole = encode({"id": 1, "kind": "stun"}, b"payload") * 2
    decoder = Decoder()
    content = data.draw(damaged(whole))
    cut = data.draw(st.integers(0, len(content)))
    try:
        frames = decoder.feed(content[:cut]) + decoder.feed(content[cut:])
    except ValueError:
        return
    for header, payload in frames:
        assert isinstance(header, dict)
        assert isinstance(payload, bytes)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_more_of_each():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not long and not ray", "tests/fuzzing"],
        env={**os.environ, "FUZZ_EXAMPLES": "250"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-5000:]
