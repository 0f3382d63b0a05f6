"""docs/howto.md: its commands, run again on a real cluster, print what the page shows."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("howto_page", DOCS / "howto.py")
howto = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(howto)


def test_only_what_is_another_every_time_is_masked():
    one = "web-1 → esx-2: completed, downtime 12.3 ms  AIAAE-AAAAA-AQAAA-RXAVV-WOJ36-5ZA t0001\n"
    other = "web-1 → esx-2: completed, downtime 9 ms AMAAC-AAAAA-BAAAB-2YSDD-FBZIY-KTQ t0007\n"
    assert "" == howto.difference(one, other)
    assert "" != howto.difference(one, other.replace("esx-2", "esx-3"))
    assert "" != howto.difference(one, other.replace("completed", "aborted"))


def test_a_code_of_the_page_stands_for_the_one_that_was_bought_now(tmp_path):
    old, new = "AAAAA-AAAAA-AAAAA-AAAAA", "BBBBB-BBBBB-BBBBB-BBBBB"
    (tmp_path / "codes").write_text(f"{new}\n")
    shown = howto._block(f"$ cat codes\n$ echo {old} {old}\n", tmp_path, {}, {})
    assert f"```console\n$ cat codes\n{new}\n$ echo {new} {new}\n{new} {new}\n```" == shown


def test_a_page_that_has_not_been_run_shows_nothing():
    assert not howto.shows_output("```console\n$ date\n$ date\n```")
    assert howto.shows_output("```console\n$ date\nMonday\n```")


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_page_shows_what_happens():
    """If it does not: python docs/howto.py"""
    page = (DOCS / "howto.md").read_text(encoding="utf-8")
    if not howto.shows_output(page):
        pytest.skip("the page has not been run yet: python docs/howto.py")
    assert "" == howto.difference(page, howto.ran(page))
