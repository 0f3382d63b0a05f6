"""Each broken rule is caught, and nothing is caught where no rule is broken."""

from pathlib import Path

import pytest

from tests.mutation import hunts
from tests.mutation.mutants import MUTANTS, with_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.rule}: {mutant.broken}")
def test_it_is_caught(mutant, monkeypatch):
    mutant.patch(monkeypatch)
    assert mutant.hunt()


@pytest.mark.parametrize(
    "hunt",
    [
        hunts.orders(),
        hunts.orders(fail=1),
        hunts.claims,
        hunts.ownership,
        hunts.tests_of("tests.policy.test_moving"),
    ],
    ids=["orders", "a failure", "claims", "ownership", "moving"],
)
def test_nothing_is_caught_where_nothing_is_broken(hunt):
    assert not hunt()


def test_the_document_has_the_table():
    text = DOCUMENT.read_text()
    assert text == with_table(text)
