"""Licence files: what is written is read again; what was edited, expired or doubled is found."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.inventory.licence_terms import FEATURES, Feature, Product
from cluster.policy.licence_file import (
    DEFAULT_SERVER,
    Increment,
    LicenceFile,
    check,
    combine,
    read,
    sign,
    write,
)
from cluster.policy.signatures import public_key_of

KEY = b"the vendor's private key".ljust(32)
PUBLIC = public_key_of(KEY)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
OTHERS = """\
# What another vendor has sold.
SERVER plotter 17007ea8 27000
VENDOR sampled port=27010
USE_SERVER
FEATURE f1 sampled 1.000 01-jan-2027 10 \\
    SIGN=9BFAC0316462
"""


def increment(feature: Feature = Feature.VMOTION, **fields) -> Increment:
    """A signed line."""
    made = {
        "feature": feature,
        "count": 4,
        "product": Product.ENTERPRISE,
        "serial": 17,
        "issued": date(2026, 1, 1),
    }
    return sign(Increment(**{**made, **fields}), KEY)


def file(*increments: Increment, **fields) -> LicenceFile:
    return LicenceFile(increments=increments or (increment(),), **fields)


def checks(problems) -> list[str]:
    return [problem.check for problem in problems]


def test_a_file_as_text():
    text = write(file(increment(expires=date(2026, 12, 31))))
    server, vendor, line = text.splitlines()
    assert (DEFAULT_SERVER, "VENDOR VMOTIONLM") == (server, vendor)
    assert line.startswith(
        'INCREMENT VC_VMOTION VMOTIONLM 3.0 31-dec-2026 4 VENDOR_STRING="enterprise" '
        'ISSUED=1-jan-2026 SN=17 SIGN="'
    )


DAYS = st.dates(date(1000, 1, 1), date(9999, 12, 31))
SOLD = st.sampled_from([(p, f) for p, features in FEATURES.items() for f in features])


@given(
    st.lists(st.tuples(SOLD, st.integers(1, 10**6), st.integers(0, 10**6), DAYS, DAYS | st.none()))
)
def test_what_is_written_is_read_again(lines):
    made = LicenceFile(
        increments=tuple(
            increment(f, product=p, count=count, serial=serial, issued=issued, expires=expires)
            for (p, f), count, serial, issued, expires in lines
        )
    )
    assert (made, []) == read(write(made))


def test_other_vendors_lines_are_kept():
    other, problems = read(OTHERS)
    assert [] == problems
    assert "SERVER plotter 17007ea8 27000" == other.server
    ours, problems = combine([other, file()])
    assert [] == problems
    assert (
        "VENDOR sampled port=27010",
        "USE_SERVER",
        "FEATURE f1 sampled 1.000 01-jan-2027 10 SIGN=9BFAC0316462",
    ) == ours.others
    assert (ours, []) == read(write(ours))
    assert "SERVER plotter 17007ea8 27000" == ours.server


@pytest.mark.parametrize(
    "line",
    [
        "HELLO world",
        "INCREMENT VC_VMOTION VMOTIONLM",
        "INCREMENT VC_VMOTION VMOTIONLM 9.0 permanent 4 VENDOR_STRING=x ISSUED=1-jan-2026 SN=1 SIGN=y",
        "INCREMENT VC_VMOTION VMOTIONLM 3.0 permanent 4",
        "INCREMENT VC_NOTHING VMOTIONLM 3.0 permanent 4 VENDOR_STRING=vmotion ISSUED=1-jan-2026 SN=1 SIGN=y",
        "INCREMENT VC_VMOTION VMOTIONLM 3.0 31-feb-2026 4 VENDOR_STRING=vmotion ISSUED=1-jan-2026 SN=1 SIGN=y",
        "INCREMENT VC_VMOTION VMOTIONLM 3.0 permanent many VENDOR_STRING=vmotion ISSUED=1-jan-2026 SN=1 SIGN=y",
        "INCREMENT VC_VMOTION VMOTIONLM 3.0 permanent 4 VENDOR_STRING=vmotion ISSUED=permanent SN=1 SIGN=y",
        'INCREMENT VC_VMOTION VMOTIONLM 3.0 permanent 4 VENDOR_STRING="vmotion ISSUED=1-jan-2026',
    ],
)
def test_every_line_that_is_none_is_named(line):
    _, problems = read(f"{write(file())}\n{line}\n")
    assert ["form"] == checks(problems)
    assert "line 5: " in problems[0].text


def test_a_good_file_has_no_problem():
    assert [] == check(file(), PUBLIC, now=NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 400},
        {"feature": Feature.DRS},
        {"serial": 18},
        {"expires": date(2030, 1, 1)},
        {"issued": date(2025, 1, 1)},
        {"product": Product.VMOTION},
        {"signature": ""},
        {"signature": "é"},
    ],
)
def test_an_edited_line_is_refused(fields):
    edited = file(replace(increment(), **fields))
    assert "signature" in checks(check(edited, PUBLIC, now=NOW))


def test_a_file_of_another_vendors_key_is_refused():
    assert ["signature"] == checks(check(file(), b"another key".ljust(32), now=NOW))


@pytest.mark.parametrize(
    ("expires", "problems"),
    [(date(2026, 6, 14), ["expiry"]), (date(2026, 6, 15), []), (None, [])],
)
def test_a_licence_is_good_through_its_last_day(expires, problems):
    assert problems == checks(check(file(increment(expires=expires)), PUBLIC, now=NOW))


def test_a_licence_from_the_future_is_not_good_yet():
    found = check(file(increment(issued=date(2026, 6, 16))), PUBLIC, now=NOW)
    assert ["expiry"] == checks(found)


def test_a_licence_that_is_there_twice_is_refused():
    assert ["duplicate"] == checks(check(file(increment(), increment()), PUBLIC, now=NOW))
    _, problems = combine([file(), file()])
    assert ["duplicate"] == checks(problems)


def test_one_code_may_license_several_features():
    both = file(increment(Feature.DRS), increment(Feature.HA))
    assert [] == check(both, PUBLIC, now=NOW)


def test_all_problems_are_found_at_once():
    bad = file(
        replace(increment(), count=400),
        increment(serial=18, expires=date(2026, 1, 2)),
        increment(serial=18, expires=date(2026, 1, 2)),
    )
    assert ["signature", "expiry", "expiry", "duplicate"] == checks(check(bad, PUBLIC, now=NOW))


def test_files_of_two_licence_servers_do_not_combine():
    _, problems = combine(
        [file(server="SERVER a ANY 1"), file(increment(serial=18), server="SERVER b ANY 1")]
    )
    assert ["server"] == checks(problems)


@given(st.text(max_size=300))
def test_any_text_is_read_and_checked_without_an_error(text):
    found, _ = read(text)
    check(found, PUBLIC, now=NOW)


@example(at=144, character="A")
@given(at=st.integers(0, 200), character=st.characters(min_codepoint=32, max_codepoint=126))
def test_no_single_character_can_be_changed_unseen(at, character):
    text = write(file())
    at = text.index("INCREMENT") + at % len(text[text.index("INCREMENT") :].rstrip())
    changed = text[:at] + character + text[at + 1 :]
    found, problems = read(changed)
    problems += check(found, PUBLIC, now=NOW)
    # Spaces and the case of a month carry no meaning.
    same = found.increments == file().increments
    assert same or problems or not found.increments
