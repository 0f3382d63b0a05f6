"""The JSON Schema and the documentation of scenario files agree with what is read."""

import tomllib
from pathlib import Path

import jsonschema
import pytest

from cluster.inventory.schema import BEGIN, END, schema, with_key_tables

ROOT = Path(__file__).parents[2]


def _accepts(text: str) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(tomllib.loads(text))


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_takes_a_right_file_and_every_form_of_a_demand(right):
    assert _accepts(right)
    for demand in (
        "{ constant = 1 }",
        "{ steps = [[0, 1]] }",
        "{ sine = { mean_mhz = 1, amplitude_mhz = 1, period_s = 1 } }",
        '{ trace = "t.csv", column = "each" }',
    ):
        assert _accepts(right.replace("= 500", f"= {demand}"))


def test_the_schema_takes_every_form_of_a_stay(right, problems_of):
    for stay in ("5", "[5, 9.5]", "{ mean_s = 3600 }"):
        text = right.replace("= 500", f"= 500\nstays_s = {stay}")
        assert _accepts(text)
        assert () == problems_of(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("= 60", "= -60"),
        ("= 60", '= "60"'),
        ("= 500", "= { step = [[0, 1]] }"),
        ("= 64", "= 0"),
        ("[[host]]", "[[hosts]]"),
        ("count = 2", 'count = 2\nnic = "2GbE"'),
        ("count = 3", "count = 3\nhost = []"),
        ("count = 3", "count = 3\nunknown = 1"),
        ("count = 3", "count = 3\nstays_s = { mean_s = 0 }"),
        ("count = 3", "count = 3\nstays_s = { mean = 5 }"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(right, problems_of, before, after):
    spoiled = right.replace(before, after)
    assert problems_of(spoiled)
    assert not _accepts(spoiled)


def test_the_tables_of_keys_in_the_documentation_are_those_of_the_code():
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert text == with_key_tables(text), (
        "run: python -m cluster.inventory.schema docs/scenarios.md"
    )


def test_a_text_without_the_markers_is_not_touched():
    with pytest.raises(ValueError, match="needs"):
        with_key_tables(f"{END} {BEGIN}")
