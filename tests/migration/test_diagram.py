"""The diagram in the docs is the one that the table makes."""

from pathlib import Path

import pytest

from cluster.migration.diagram import block, diagram, main, replaced
from cluster.migration.state import Phase

DOCUMENT = Path(__file__).parents[2] / "docs" / "migration.md"


def test_the_document_shows_the_table_of_today():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert replaced(text) == text, "run python -m cluster.migration.diagram docs/migration.md"


def test_each_phase_is_drawn():
    drawn = diagram()
    assert [] == [phase for phase in Phase if f"--> {phase.value}" not in drawn]


def test_the_way_to_a_refusal_is_drawn():
    assert "    preparing --> refused: Refused" in diagram().splitlines()


def test_a_document_is_renewed_in_place(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("above\n" + block().replace("aborted", "old") + "\nbelow\n")
    main([str(path)])
    assert f"above\n{block()}\nbelow\n" == path.read_text()


def test_a_document_without_a_block_is_refused():
    with pytest.raises(ValueError, match="no <!-- begin"):
        replaced("nothing here")


def test_without_a_file_the_block_is_printed(capsys):
    main([])
    assert block() + "\n" == capsys.readouterr().out
