"""VirtualCenter that cannot begin is down with the reason, and begins when that is cured."""

import asyncio
import os
import sys

import pytest
from actors.building import host, scenario, vm

from cluster.actors.awakening import Awakening
from cluster.actors.replies import CenterDown
from cluster.actors.virtualcenter import VirtualCenter
from cluster.journal.replay import begun_at, go_on

SILENCE_S_MAX = 60.0


@pytest.fixture
def same_pace():
    """VirtualCenter has threads of its process take turns more often."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def lab():
    return scenario([host("a")], [vm("kv", on="a")])


def test_whatever_keeps_it_from_beginning_is_told_with_a_cure(capsys):
    def begin():
        raise KeyError("a field of another version")

    awakening = Awakening(begin)
    for _ in range(3):
        assert not awakening.tried()

    assert "KeyError: 'a field of another version'. The hosts" in awakening.why_down
    assert "copy" in awakening.why_down
    assert 1 == capsys.readouterr().err.count("Traceback")


def test_it_begins_when_a_copy_is_put_back_and_never_in_an_empty_file(tmp_path, lab):
    path, copy = tmp_path / "vmotion.db", tmp_path / "copy.db"
    begun_at(path, lab, seed=1)
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    begun = []
    awakening = Awakening(lambda: begun.append(go_on(path, name=lab.name)))
    assert not awakening.tried()
    assert "damaged or no database: it is empty" in awakening.why_down

    async def cured():
        trying = asyncio.create_task(awakening.done())
        await asyncio.sleep(0)
        copy.replace(path)
        await asyncio.wait_for(trying, SILENCE_S_MAX)

    asyncio.run(cured())
    [(journal, known)] = begun
    assert ("", ["kv"]) == (awakening.why_down, list(known.center.state.vms))
    journal.close()


def test_virtualcenter_outlives_a_failure_of_its_beginning_that_nobody_foresaw(tmp_path, same_pace):
    async def asked():
        center = VirtualCenter(None, seed=1, database=str(tmp_path / "vmotion.db"))
        for call in (center.view(), center.names(), center.start({})):
            with pytest.raises(
                CenterDown, match=r"AttributeError.*VirtualCenter tries again by itself"
            ):
                await call

    asyncio.run(asked())
