"""A life of VirtualCenter, and the next one: what was heard is known, and time goes on."""

import asyncio
from dataclasses import replace

from actors.building import host, scenario, vm

from cluster.actors.chronicle import Kind
from cluster.actors.life import Life
from cluster.journal.replay import begun_at, go_on
from cluster.policy.messages import Asked, LinksMeasured, PassRequested, Started

RATES = LinksMeasured(nodes=(("a", "n"),), rates=())


def test_the_next_life_knows_what_this_one_heard_and_looks_for_its_hosts_itself(tmp_path):
    path, lab = tmp_path / "vmotion.db", scenario([host("a")], [vm("kv", on="a")])
    begun_at(path, lab, seed=1)

    async def lives():
        journal, known = go_on(path, name=lab.name)
        life = Life(replace(known, restarted=False), journal)
        for event in (RATES, Started(), Asked(key="k", by="me", wish=PassRequested())):
            life.feed(event)
        life.problem("something odd")
        died_s = life.now()
        journal.abandon()  # killed: nothing more is written
        again = Life(*reversed(go_on(path, name=lab.name)))

        assert (False, True) == (life.resumes, again.resumes)
        assert life.center.tasks.all() == again.center.tasks.all() != ()
        assert {"a": "n"} == again.center.state.links.nodes
        assert again.center.state.began_s == life.center.state.began_s is not None
        assert died_s <= again.now()
        found = again.chronicle.since(0, kind=Kind.PROBLEM)
        assert ["something odd"] == [entry.text for entry in found]

    asyncio.run(lives())


def test_hosts_are_connected_once():
    async def life():
        alone = Life.of(scenario([host("a")], []), seed=1)
        alone.carrier.hosts = {"a": "known"}
        alone.start({"a": "another"})
        assert {"a": "known"} == alone.carrier.hosts

    asyncio.run(life())
