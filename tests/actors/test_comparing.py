"""What VirtualCenter waits for when a migration has ended: a comparison that still can come."""

import asyncio
from types import SimpleNamespace

from actors.building import host, scenario, vm
from ray.exceptions import ActorDiedError, RayError

from cluster.actors.departures import Departures
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


def found_with(error):
    """What a source says of the comparison when the destination answers its question with that."""
    told = []

    async def noted(migration):
        raise error

    async def verify():
        departures = Departures(
            sending=None,
            store=None,
            line=None,
            courier=SimpleNamespace(tell=lambda kind, found: told.append(found)),
            work=None,
            now=None,
            settled=None,
            gone=None,
        )
        spec = MigrationSpec(
            id="m1", vm="kv", source="a", destination="b", epoch=2, memory_bytes=16 << 20
        )
        destination = SimpleNamespace(noted=SimpleNamespace(remote=noted))
        await departures._verify(SimpleNamespace(spec=spec), destination)

    asyncio.run(verify())
    return told[0]


def test_a_destination_that_has_died_since_is_no_defect_and_nothing_is_said_of_its_pages():
    found = found_with(ActorDiedError())
    assert ("", "b died before the memory was compared") == (found.error, found.uncompared)
    assert 0 == found.pages


def test_a_destination_that_cannot_say_what_arrived_is_a_defect():
    found = found_with(RayError("KeyError: m1"))
    assert ("b did not answer: KeyError: m1", "") == (found.error, found.uncompared)
