"""Where the keys of a TOML text are."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from cluster.inventory.lines import line_of, lines_of

TEXT = '''\
# a comment with [brackets]
top = 1
[drs]
threshold = 4 # = 5
[[vm]]
name = "a"
[vm.params]
text = """
key = "not a key"
[[vm]]
"""
list = [
  [1, 2], # ]
  "]",
]
after = { x = 1,
}
[[vm]]
"quo ted".inner = 'it''s'
literal = \'\'\'
[no]
\'\'\'
last = 1
'''.replace("'it''s'", "'its'").replace("1,\n}", "1 }\n")


def test_every_key_of_a_text_with_all_that_may_mislead_has_its_line():
    tomllib.loads(TEXT)
    lines = lines_of(TEXT)
    wanted = {
        ("top",): 2,
        ("drs",): 3,
        ("drs", "threshold"): 4,
        ("vm",): 5,
        ("vm", 0): 5,
        ("vm", 0, "name"): 6,
        ("vm", 0, "params"): 7,
        ("vm", 0, "params", "text"): 8,
        ("vm", 0, "params", "list"): 12,
        ("vm", 0, "params", "after"): 16,
        ("vm", 1): 18,
        ("vm", 1, "quo ted"): 19,
        ("vm", 1, "quo ted", "inner"): 19,
        ("vm", 1, "literal"): 20,
        ("vm", 1, "last"): 23,
    }
    assert wanted == dict(lines)


def test_what_has_no_line_has_that_of_what_is_around_it():
    lines = lines_of("[a]\nb = { c = [1, 2] }\n")
    assert 2 == line_of(("a", "b", "c", 1), lines)
    assert 1 == line_of(("a", "missing"), lines)
    assert line_of(("elsewhere",), lines) is None


@given(st.text(alphabet="ab=[]{}\"'#\\\n .,1", max_size=60))
def test_any_text_is_scanned_to_its_end(text):
    for line in lines_of(text).values():
        assert 1 <= line <= text.count("\n") + 1
