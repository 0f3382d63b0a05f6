"""Traces that do not do for a scenario: all that is wrong with them, with file and numbers."""

import pytest

TRACES = {
    "too short": ("a\n1\n2\n", "interval_s = 20", "trace", "3 samples, or an interval_s of 30"),
    "no such column": ("a\n1\n", "interval_s = 60, column = 'b'", "column", "known: a"),
    "no such number": ("a\n1\n", "interval_s = 60, column = 1", "column", "the trace has 1"),
    "negative number": ("a\n1\n", "interval_s = 60, column = -1", "column", "at least 0"),
    "column of a wrong type": (
        "a\n1\n",
        "interval_s = 60, column = []",
        "column",
        "a column's name",
    ),
    "too few columns": (
        "a,b\n1,2\n",
        "interval_s = 60, column = 'each'",
        "column",
        "3 VMs and 2 columns in t.csv",
    ),
    "gap": ("a\n1\n \n3\n", "interval_s = 60", "column", "1 gap in 3 samples"),
    "no interval": ("a\n1\n", "column = 0", "interval_s", "no column time_s"),
    "clock with a gap": ("time_s,a\n0,1\n60,2\n180,2\n", "column = 0", "trace", "from 60 to 180"),
    "unknown unit": ("a\n1\n", "interval_s = 60, unit = 'ghz'", "unit", "one of mhz, percent"),
}


@pytest.mark.parametrize("case", TRACES)
def test_a_trace_that_does_not_do_is_one_problem(problems_of, right, tmp_path, case):
    content, keys, key, words = TRACES[case]
    (tmp_path / "t.csv").write_text(content)
    (problem,) = problems_of(right.replace("= 500", f'= {{ trace = "t.csv", {keys} }}'))
    assert f"vm.web.demand.{key}" == problem.key
    assert words in str(problem)


def test_everything_wrong_with_traces_is_told_at_once(problems_of, right, tmp_path):
    """Too few columns, gaps, a clock that jumps, too short a file, and what else the scenario has."""
    (tmp_path / "t.csv").write_text("time_s,a,b\n0,1,\n20,-2,\n30,3,3\n")
    (tmp_path / "u.csv").write_text('c\n1\n""\n')
    each = """{ trace = "t.csv", column = "each", interval_s = 10 }"""
    second = right[right.index("[[vm]]") :].replace("web", "db").replace("count = 3\n", "")
    text = right.replace("= 500", f"= {each}").replace("count = 2", "count = 0")
    text += second.replace("= 500", '= { trace = "u.csv", column = "d" }')
    text += '[[event]]\nat_s = 99\nkind = "demand"\nvms = "db"\n'
    text += 'demand = { trace = "u.csv", interval_s = 60 }\n'
    web, db, event = "vm.web.demand.", "vm.db.demand.", "event[0]."
    assert [
        ("host.esx-{}.count", "0 is out of range"),
        (f"{web}column", "3 VMs and 2 columns in t.csv"),
        (f"{web}column", 'column "a" of t.csv is -2 at sample 2'),
        (f"{web}column", 'column "b" of t.csv has 2 gaps in 3 samples, the first at sample 1'),
        (f"{web}trace", "the clock of t.csv has 1 gap: time_s goes first from 20 to 30"),
        (f"{web}trace", "t.csv is too short: 3 samples of 10 s for 60 s"),
        (f"{db}column", 'there is no column "d" in u.csv'),
        (f"{db}interval_s", "is missing, and u.csv has no column time_s"),
        (f"{event}at_s", "99 s is not before the end of the run at 60 s"),
        (
            f"{event}demand.column",
            'column "c" of u.csv has 1 gap in 2 samples, the first at sample 2',
        ),
    ] == [(problem.key, problem.wrong) for problem in problems_of(text)]


def test_of_many_bad_columns_the_first_are_named_and_the_rest_counted(problems_of, right, tmp_path):
    names = ",".join(f"n{index}" for index in range(12))
    (tmp_path / "t.csv").write_text(f"{names}\n1{',' * 11}\n{',' * 11}\n")
    each = '{ trace = "t.csv", column = "each", interval_s = 60 }'
    text = right.replace("= 500", f"= {each}").replace("count = 3", "count = 10")
    wrong = [problem.wrong for problem in problems_of(text)]
    assert 6 == len(wrong)
    assert 'column "n4" of t.csv has 2 gaps in 2 samples, the first at sample 1' == wrong[4]
    assert "5 more of the 10 columns wanted of t.csv cannot be used" == wrong[5]
