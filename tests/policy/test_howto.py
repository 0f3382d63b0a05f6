"""docs/licensing.md shows what happens, and docs/howto.md the checks that there are."""

import doctest
from pathlib import Path

from cluster.policy.checks_table import BEGIN, END, checks_table

DOCS = Path(__file__).parents[2] / "docs"


def test_the_sessions_of_the_page_run_as_they_are_shown():
    result = doctest.testfile(str(DOCS / "licensing.md"), module_relative=False, encoding="utf-8")
    assert result.attempted > 15
    assert 0 == result.failed


def test_the_table_of_checks_is_the_one_that_is_used():
    text = (DOCS / "howto.md").read_text(encoding="utf-8")
    assert checks_table() == text.split(BEGIN)[1].split(END)[0].strip()
