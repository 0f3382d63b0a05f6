"""What VirtualCenter waits for when a migration has ended: a comparison that still can come."""

import asyncio
from types import SimpleNamespace

from actors.building import host, scenario, vm

from cluster.actors.reports import Verification
from cluster.actors.virtualcenter import VirtualCenter
from cluster.migration.spec import MigrationSpec
from cluster.policy.messages import HostConnected, HostFailed


def test_a_source_that_has_died_is_not_waited_for_and_the_run_says_so():
    told = []

    async def discard(migration):
        told.append(migration)

    async def life():
        center = VirtualCenter(scenario([host("a"), host("b")], [vm("kv", on="a")]), seed=1)
        for name in "ab":
            center._life.feed(HostConnected(host=name, serves_faults=True))
        there = SimpleNamespace(discard=SimpleNamespace(remote=discard))
        center._life.carrier.hosts = {"b": there}
        spec = MigrationSpec(
            id="m1", vm="kv", source="a", destination="b", epoch=2, memory_bytes=16 << 20
        )
        center._verifying["m1"] = spec
        before = await center.view()
        center._life.feed(HostFailed(host="a", reason="killed"))
        after = await center.view(before.number)
        await asyncio.sleep(0)
        center._life.work.cancel()
        return before, after

    before, after = asyncio.run(life())
    said = [one for one in after.verified if isinstance(one, Verification)]

    assert ["m1"] == told
    assert (1, 0) == (before.verifying, after.verifying)
    assert ["a died before the memory was compared"] == [one.uncompared for one in said]
    assert [""] == [one.error for one in said]
