"""Whatever the text: a scenario, or every reason why it is none. Never a crash, never a hang."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.inventory.model import Scenario
from cluster.inventory.scenario import ScenarioProblems, loads
from cluster.inventory.tables import ScenarioFile

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICKSTART = (EXAMPLES / "quickstart.toml").read_text()
LINES = QUICKSTART.splitlines()
FEW = settings(
    max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

KEYS = sorted(
    {
        name
        for table in ScenarioFile.model_json_schema()["$defs"].values()
        for name in table.get("properties", {})
    }
    | set(ScenarioFile.model_fields)
    | {"x"}
)
VALUES = st.recursive(
    st.sampled_from(
        [
            *("0", "1", "-1", "64", "0.5", "1e300", "inf", "nan", "true", "9" * 30, "9" * 5000),
            *('""', '"a"', '"*"', '"web-*"', '"esx-1"', '"{}"', '"../x"', '"each"', '"\\u0000"'),
            *('"demand"', '"migrate"', '"affinity"', '"writer"', '"traces/planetlab.csv"'),
            *('"counter_guest.py:DiceCounter"', '"x.py:"', '"."', "2011-03-03", "07:32:00"),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
            lambda table: (
                "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
            )
        )
    ),
    max_leaves=6,
)
HEADERS = st.sampled_from(
    [f"[[{name}]]" for name in ("host", "vm", "rule", "event")]
    + [f"[{name}]" for name in ("scenario", "drs", "migration", "vm.params", "vm.demand", "host")]
)
STATEMENT = HEADERS | st.tuples(st.sampled_from(KEYS), VALUES).map(" = ".join)


def _read(text: str) -> Scenario | ScenarioProblems:
    try:
        return loads(text, file="fuzz.toml", directory=EXAMPLES)
    except ScenarioProblems as error:
        found = error
    assert found.problems
    for problem in found.problems:
        assert str(problem).isprintable()
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1
    return found


@FEW
@given(st.text(max_size=200))
def test_any_text(text):
    _read(text)


@FEW
@given(st.lists(STATEMENT, max_size=40).map("\n".join))
def test_any_statements(text):
    _read(text)


@FEW
@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), STATEMENT | st.just("")), max_size=6),
    st.lists(st.tuples(st.integers(0, len(LINES)), STATEMENT), max_size=6),
)
def test_the_quickstart_with_lines_replaced_and_added(replaced, added):
    lines = list(LINES)
    for index, line in replaced:
        lines[index] = line
    for index, line in added:
        lines.insert(index, line)
    _read("\n".join(lines))


@FEW
@given(st.integers(0, len(LINES) - 1), VALUES)
def test_the_quickstart_with_one_value_replaced(index, value):
    line = LINES[index]
    if " = " in line and not line.startswith("#"):
        text = "\n".join(
            [*LINES[:index], f"{line.partition(' = ')[0]} = {value}", *LINES[index + 1 :]]
        )
        _read(text)


@FEW
@given(st.integers(0, len(QUICKSTART)), st.integers(0, 40), st.text(max_size=5))
def test_the_quickstart_with_characters_cut_out_and_put_in(position, length, text):
    _read(QUICKSTART[:position] + text + QUICKSTART[position + length :])


def test_what_the_fuzz_starts_from_is_right_and_a_list_of_numbers_is_not():
    assert isinstance(_read(QUICKSTART), Scenario)
    for table in ("host", "vm", "rule", "event"):
        assert isinstance(_read(f"{table} = [0, {{ name = 'x' }}]"), ScenarioProblems)
