"""`vmotion license` without a cluster: bought, activated, combined; every bad file is refused."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.cli.groups.license import license as group
from cluster.cli.vendor import Vendor
from cluster.inventory.licence_terms import Order, Product
from cluster.policy.licence_file import read

OTHERS = 'SERVER licences ANY 27000\nVENDOR other\nFEATURE cad other 1.0 permanent 5 SIGN="17"\n'


@pytest.fixture
def say(tmp_path, monkeypatch):
    """Run a command in an empty directory with a vendor of its own; return what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMOTION_VENDOR_DIR", str(tmp_path / "vendor"))

    def run(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(group, list(words))
        assert status == result.exit_code, result.output
        return result.output

    return run


def bought(say, *orders: str) -> list[str]:
    """The files of what was bought."""
    sold = json.loads(say("purchase", *orders, "--json"))["sold"]
    return [
        row["file"] for row in json.loads(say("activate", *(s["code"] for s in sold), "--json"))
    ]


def test_the_vendors_key_is_made_once_and_only_its_user_may_read_it(say, tmp_path):
    assert "a new one with a new key" in say("purchase", "enterprise=2")
    key = tmp_path / "vendor" / "vendor.key"
    assert 0o600 == stat.S_IMODE(key.stat().st_mode)
    before = key.read_text()
    assert "new" not in say("purchase", "enterprise=2").splitlines()[0]
    assert before == key.read_text()


def test_every_purchase_has_serial_numbers_of_its_own(tmp_path):
    shop = Vendor(tmp_path)
    assert [True, False] == [shop.open(), Vendor(tmp_path).open()]
    order = Order(product=Product.STARTER, count=1)
    serials = [one.serial for _ in range(3) for one in Vendor(tmp_path).sell((order, order))]
    assert [1, 2, 3, 4, 5, 6] == serials


def test_from_a_purchase_to_one_file(say, tmp_path):
    files = bought(say, "enterprise=2", "virtualcenter")
    assert ["enterprise-1.lic", "virtualcenter-2.lic"] == files
    (tmp_path / "other.lic").write_text(OTHERS)
    said = say("combine", *files, "other.lic", "--out", "all.lic")
    assert "all.lic: 3 files in one" in said
    assert "2 enterprise (ESX Server, VMotion, DRS, HA), for ever" in said
    assert "and 2 lines of other vendors" in said
    whole, problems = read((tmp_path / "all.lic").read_text())
    assert ([], 5) == (problems, len(whole.increments))
    assert ("VENDOR other", 'FEATURE cad other 1.0 permanent 5 SIGN="17"') == whole.others
    assert "enterprise" in say("show", "all.lic")


def test_the_same_code_gives_the_same_file_and_cannot_be_used_twice(say):
    sold = json.loads(say("purchase", "vmotion=4", "--json"))["sold"]
    say("activate", sold[0]["code"], "--out", "one")
    say("activate", sold[0]["code"], "--out", "two")
    one, two = Path("one/vmotion-1.lic"), Path("two/vmotion-1.lic")
    assert one.read_text() == two.read_text()
    said = say("combine", str(one), str(two), "--out", "all.lic", status=1)
    assert "VMotion licence 1 is in more than one file" in said
    assert not Path("all.lic").exists()


def test_every_bad_file_is_refused_with_its_name(say):
    good, other = bought(say, "enterprise=2", "standard=1")
    Path(good).write_text(Path(good).read_text().replace(" 2 VENDOR", " 99 VENDOR"))
    Path("form.lic").write_text("NONSENSE\n")
    Path("bytes.lic").write_bytes(b"\xff\xfe")
    said = say("combine", good, other, "form.lic", "bytes.lic", "no.lic", "--out", "x", status=1)
    assert 4 == said.count("enterprise-1.lic: ")
    assert "standard-2.lic: " not in said
    for words in ("NONSENSE is no word", "bytes.lic: it is no text", "no.lic: it cannot be read"):
        assert words in said


def test_a_file_of_another_vendor_is_refused(say, tmp_path):
    (file,) = bought(say, "enterprise=2")
    Vendor(tmp_path / "elsewhere").open()
    key = str(tmp_path / "elsewhere" / "vendor.pub")
    assert "or is another vendor's" in say("show", file, "--vendor-key", key, status=1)


def test_what_cannot_be_bought_is_said_at_once(say):
    said = say("purchase", "enterprse=2", "vmotion=x", "drs", status=2)
    assert "did you mean enterprise" in said
    assert "vmotion=x: x is not a whole number" in said
    assert "there is no product drs" in said
    assert "starter: 0 licences cannot be bought" in say("purchase", "starter=0", status=2)
    assert not Path("vendor").exists()


def test_without_a_vendor_there_is_nothing_to_activate(say):
    assert "Purchase something first" in say("activate", "AAAAA", status=1)
    say("purchase", "starter")
    assert "AAAAA is not an activation code" in say("activate", "AAAAA", status=1)


def test_a_damaged_key_is_named(say, tmp_path):
    say("purchase", "starter")
    (tmp_path / "vendor" / "vendor.key").write_text("zz")
    assert "vendor.key is no key" in say("purchase", "starter", status=1)


def test_licences_for_a_time_say_until_when(say):
    sold = json.loads(say("purchase", "standard=2", "--days", "30", "--json"))["sold"]
    (row,) = json.loads(say("activate", sold[0]["code"], "--json"))
    assert row["issued"] < row["expires"]


@pytest.mark.parametrize("command", ["purchase", "activate", "combine", "show"])
def test_help_has_an_example(say, command):
    assert "Example" in say(command, "--help")
