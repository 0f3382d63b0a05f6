"""Files that a scenario is in or names: too large, unreadable, or edited from outside."""

import os
import runpy
from pathlib import Path

import pytest

from cluster.inventory import licence_settings, programs, scenario, schema, trace
from cluster.inventory.scenario import ScenarioProblems, load, located

# Longer than any file system takes, so that even the question for the file fails.
TOO_LONG = "x" * 300


def sparse(path: Path, size_bytes: int) -> Path:
    """A file of that length that takes no room."""
    path.touch()
    os.truncate(path, size_bytes)
    return path


def problem_of(path: str | Path) -> str:
    with pytest.raises(ScenarioProblems) as found:
        load(path)
    (problem,) = found.value.problems
    return problem.wrong


def test_a_scenario_that_is_too_large_is_not_read(tmp_path):
    path = sparse(tmp_path / "lab.toml", scenario.FILE_BYTES_MAX + 1)
    assert "the file is too large" == problem_of(path)


def test_a_scenario_that_cannot_be_looked_for_says_why():
    assert "cannot be read: File name too long" == problem_of(TOO_LONG)


def test_a_number_of_too_many_digits_is_no_toml(tmp_path):
    (tmp_path / "lab.toml").write_text(f"a = {'1' * 5000}")
    assert problem_of(tmp_path / "lab.toml").startswith("no TOML: ")


def test_what_is_found_later_in_a_file_that_could_be_read_has_its_line(tmp_path, right):
    path = tmp_path / "lab.toml"
    path.write_text(right)
    found = [(("vm", 0, "demand"), "is odd", "another"), (("host", 0, "count"), "is even", "1")]
    assert [
        f"{path}:{right.splitlines().index('count = 2') + 1}: host.esx-{{}}.count: is even; 1",
        f"{path}:{right.splitlines().index('demand = 500') + 1}: vm.web.demand: is odd; another",
    ] == [str(problem) for problem in located(path, found)]


TRACE = '{{ trace = "{}", interval_s = 60 }}'


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent.csv", "is not there"),
        ("large.csv", "large.csv is too large"),
        (f"{TOO_LONG}.csv", "cannot be read: File name too long"),
    ],
)
def test_a_trace_that_cannot_be_had_is_one_problem(problems_of, right, tmp_path, name, says):
    sparse(tmp_path / "large.csv", trace.TRACE_BYTES_MAX + 1)
    (problem,) = problems_of(right.replace("= 500", f"= {TRACE.format(name)}"))
    assert "vm.web.demand.trace" == problem.key
    assert says in problem.wrong


def test_a_trace_that_two_groups_want_and_cannot_have_is_a_problem_of_both(problems_of, right):
    spoiled = right.replace("= 500", f"= {TRACE.format('absent.csv')}")
    second = spoiled[spoiled.index("[[vm]]") :].replace("web", "db")
    assert ["vm.web.demand.trace", "vm.db.demand.trace"] == [
        problem.key for problem in problems_of(spoiled + second)
    ]


@pytest.mark.parametrize(
    ("guest", "says"),
    [
        ("large.py:A", "large.py is too large for a guest"),
        ("deep.py:A", "deep.py is nested too deeply"),
        (f"{TOO_LONG}.py:A", "cannot be read: File name too long"),
    ],
)
def test_a_guest_that_cannot_be_read_is_one_problem(problems_of, right, tmp_path, guest, says):
    sparse(tmp_path / "large.py", programs.SOURCE_BYTES_MAX + 1)
    (tmp_path / "deep.py").write_text(f"x = a{'.b' * 20_000}")
    (problem,) = problems_of(right.replace("demand", f'guest = "{guest}"\ndemand'))
    assert "vm.web.guest" == problem.key
    assert says in problem.wrong


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("large.lic", '"large.lic" is too large'),
        ("binary.lic", '"binary.lic" cannot be read: it is no text'),
        ("~nobody-of-this-name/a.lic", "cannot be read: there is no such home directory"),
    ],
)
def test_a_licence_file_that_cannot_be_read_is_one_problem(
    problems_of, right, tmp_path, file, says
):
    sparse(tmp_path / "large.lic", licence_settings.FILE_BYTES_MAX + 1)
    (tmp_path / "binary.lic").write_bytes(b"\xff\xfe")
    (tmp_path / "vendor.pub").write_text("ab" * 32)
    (problem,) = problems_of(f'{right}[licences]\nfile = "{file}"\nvendor_key = "vendor.pub"\n')
    assert "licences.file" == problem.key
    assert says in problem.wrong


def test_a_licence_file_needs_the_key_of_its_vendor(problems_of, right, tmp_path):
    (tmp_path / "lab.lic").write_text("VENDOR x\n")
    (problem,) = problems_of(f'{right}[licences]\nfile = "lab.lic"\n')
    assert ("licences.vendor_key", "is missing") == (problem.key, problem.wrong)


def test_the_schema_run_on_a_document_writes_the_tables_of_keys_into_it(tmp_path, monkeypatch):
    document = tmp_path / "scenarios.md"
    document.write_text(f"before {schema.BEGIN} old {schema.END} after", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["schema", str(document)])
    runpy.run_path(schema.__file__, run_name="__main__")
    text = document.read_text(encoding="utf-8")
    assert schema.key_tables() in text
    assert "old" not in text.partition(schema.BEGIN)[2].partition(schema.key_tables())[0]
    assert text.startswith("before ")
    assert text.endswith(" after")
