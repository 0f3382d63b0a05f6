"""Names: which are safe, what patterns match, what a misspelt one meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inventory.names import (
    COMPARED_MAX,
    is_label,
    is_name,
    matching,
    nearest,
    slug,
    suggestion,
)


@pytest.mark.parametrize("name", ["a", "web-3", "Esx_1.dc2", "9", "a" * 63])
def test_letters_digits_dots_dashes_and_underscores_make_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "a-", "a/b", "a b", "a\n", "é", "a" * 64, "../x", "a{}", "١"]
)
def test_what_could_leave_a_directory_or_break_a_label_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize("label", ["VM Network", "shared", "Straße 5"])
def test_labels_may_have_spaces_and_letters_of_any_language(label):
    assert is_label(label)


@pytest.mark.parametrize("label", ["", " a", "a\n", 'a"b', "a/b", "x" * 64])
def test_labels_that_break_a_line_or_a_quote_are_refused(label):
    assert not is_label(label)


@given(st.text(max_size=200))
def test_a_slug_is_a_name_whatever_the_text(text):
    assert is_name(slug(text))


def test_only_the_star_is_special_in_a_pattern():
    names = ("web-1", "web-2", "db-1")
    assert ("web-1", "web-2") == matching("web-*", names)
    assert names == matching("*", names)
    assert ("web-1", "db-1") == matching("*-1", names)
    assert () == matching("web-?", names)
    assert () == matching("[wd]*", names)


def test_a_pattern_of_many_stars_is_matched_at_once():
    # Without care such a pattern takes time exponential in its stars.
    assert () == matching("*a" * 30 + "b", ["a" * 60])


def test_the_nearest_names_come_first_whatever_their_case():
    assert ("threshold",) == nearest("Treshold", ("interval_s", "threshold", "window_s"))
    assert () == nearest("qqq", ("interval_s", "threshold"))


def test_without_a_near_name_the_known_ones_are_listed():
    assert "did you mean esx-1?" == suggestion("esx1", ("esx-1",))
    assert "known: a, b" == suggestion("zzz", ("a", "b"))
    assert "there are none" == suggestion("zzz", ())
    assert suggestion("zzz", tuple("abcdefghijklmnop")).endswith("l and 4 more")


def test_of_very_many_names_only_the_first_are_compared():
    names = [f"v{number}" for number in range(COMPARED_MAX)]
    assert () == nearest("database", [*names, "database"])
    assert ("database",) == nearest("database", [*names[1:], "database"])
