"""What a run needs to begin, and whom it tells on the way."""

from cluster.simulation.run import simulate
from tests.simulation.scenarios import QUICK, host, scenario, vm
from tests.simulation.test_world import migrating


def test_a_run_without_room_for_all_its_vms_fails_before_it_plays():
    """Two of 768 MiB on a host of 1024."""
    vms = [vm("a", memory_mib=768), vm("b", memory_mib=768)]
    run = simulate(scenario([host("esx-1")], vms), budget=QUICK)
    assert ("not powered on: b",) == run.failures
    assert ([], 0.0) == (list(run.timeline), run.summary.duration_s)


def test_who_watches_sees_the_world_after_each_sample():
    seen = []
    simulate(
        scenario([host("esx-1")], [vm("a")], duration_s=3.0),
        watched=lambda world, recorder: seen.append((world.clock.now, len(recorder.timeline))),
    )
    assert [(1.0, 1), (2.0, 2), (3.0, 3)] == seen


def test_a_host_that_lives_is_not_repaired_and_one_that_died_is():
    made, recorder = migrating(0.05)
    told = len(recorder.events)
    made.repair_host("esx-1")
    assert told == len(recorder.events)
    made.fail_host("esx-2")
    made.repair_host("esx-2")
    assert [True, True] == made.connected().tolist()
