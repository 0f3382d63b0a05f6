"""The licence server's file: ours in place of our last ones, beside what other vendors have in it."""

import pytest

from cluster.actors.licence_server import LicenceServer
from cluster.inventory.licence_terms import Order, Product
from cluster.policy.licence_file import LicenceFile, combine, read, write
from cluster.policy.licence_vendor import activate, purchase

KEY = b"the vendor's private key".ljust(32)
OTHERS = """\
# shared with another vendor
SERVER plotter 17007ea8 27000
VENDOR other port=27010
FEATURE cad other 1.0 permanent 5 SIGN="17"
"""


def bought(count: int) -> LicenceFile:
    codes = purchase((Order(product=Product.ENTERPRISE, count=count),), KEY, first_serial=count)
    file, _ = combine(activate(code, KEY, now=0.0) for code in codes)
    return file


@pytest.fixture
def at(tmp_path):
    return tmp_path / "license.dat"


def test_a_file_of_its_own_is_what_was_installed(at):
    assert "" == LicenceServer().hold(str(at), write(bought(2)))
    assert write(bought(2)) == at.read_text()


def test_other_vendors_licences_stay_and_ours_take_the_place_of_our_last(at):
    at.write_text(OTHERS)
    server = LicenceServer()
    for count in (2, 3):
        assert "" == server.hold(str(at), write(bought(count)))
    found, problems = read(at.read_text())
    assert [] == problems
    assert (
        "VENDOR other port=27010",
        'FEATURE cad other 1.0 permanent 5 SIGN="17"',
    ) == found.others
    assert "SERVER plotter 17007ea8 27000" == found.server
    assert {3} == {one.count for one in found.increments}


def test_what_is_there_already_is_not_written_again(at):
    server = LicenceServer()
    server.hold(str(at), write(bought(2)))
    before = at.stat().st_mtime_ns
    assert "" == server.hold(str(at), write(bought(2)))
    assert before == at.stat().st_mtime_ns
    assert [at] == list(at.parent.iterdir())


@pytest.mark.parametrize("bad", ["NONSENSE\n", "INCREMENT x VMOTIONLM 9\n"])
def test_a_file_that_is_none_is_left_as_it_is_and_said(at, bad):
    at.write_text(bad)
    assert str(at) in LicenceServer().hold(str(at), write(bought(2)))
    assert bad == at.read_text()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    said = LicenceServer().hold(str(tmp_path / "none" / "license.dat"), write(bought(2)))
    assert "No such file or directory" in said
