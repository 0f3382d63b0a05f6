"""A whole cluster in virtual time, driven by the same Center: what must happen, and what must not."""

import json

import pytest

from cluster.inventory.demand import Constant, Steps
from cluster.inventory.faults import Faults
from cluster.inventory.model import Mode
from cluster.migration.spec import Result, Trigger
from cluster.observe.record import Engine, EventKind
from cluster.observe.rows import to_json
from cluster.simulation.checking import check_end
from cluster.simulation.recording import Recorder
from cluster.simulation.run import sample_times, simulate
from cluster.simulation.world import Watcher, World
from drs.cost import Calibration
from tests.simulation.scenarios import (
    QUICK,
    cancel,
    drawn,
    failure,
    host,
    migrate,
    power_off,
    scenario,
    vm,
)

TWO_HOSTS = (host("esx-1"), host("esx-2"))


def lines(run):
    return "\n".join(json.dumps(to_json(event)) for event in run.events)


def test_a_migration_goes_where_the_scenario_says():
    run = simulate(
        scenario(TWO_HOSTS, [vm("a", on="esx-1")], events=[migrate(5.0, "a", "esx-2")]),
        budget=QUICK,
    )
    (row,) = run.migrations
    assert ("esx-1", "esx-2", Result.COMPLETED, Trigger.SCENARIO) == (
        row.source,
        row.destination,
        row.result,
        row.trigger,
    )
    assert 5.0 == row.started_s
    assert 1 == [sample.vms for sample in run.timeline if sample.host == "esx-2"][-1]
    assert 0 == [sample.vms for sample in run.timeline if sample.host == "esx-1"][-1]


def test_two_transfers_from_one_card_take_twice_as_long():
    """Each has 256 MiB to send, after its flip."""

    def duration_s(names):
        vms = [
            vm(name, on="esx-1", memory_mib=256, rate_mb_s=1000.0, working_set_mib=256)
            for name in ("a", "b")
        ]
        moves = [migrate(5.0, name, "esx-2", Mode.POSTCOPY) for name in names]
        rows = simulate(scenario(TWO_HOSTS, vms, events=moves)).migrations
        return max(row.duration_s for row in rows)

    assert pytest.approx(2.0, rel=0.03) == duration_s(["a", "b"]) / duration_s(["a"])


def busy():
    """It has written all of its 8 MiB by then, and nothing else."""
    return vm("a", on="esx-1", rate_mb_s=100.0)


def test_the_line_is_busy_while_a_vm_moves():
    run = simulate(scenario(TWO_HOSTS, [busy()], events=[migrate(5.0, "a", "esx-2")]))
    (row,) = run.migrations
    out = sum(s.tx_bytes_per_second for s in run.timeline if s.host == "esx-1")
    into = sum(s.rx_bytes_per_second for s in run.timeline if s.host == "esx-2")
    assert pytest.approx(row.sent_bytes, rel=1e-6) == out == into
    assert 8 << 20 <= row.sent_bytes < 32 << 20


def test_pages_that_were_never_written_are_not_sent():
    run = simulate(scenario(TWO_HOSTS, [vm("a", on="esx-1")], events=[migrate(5.0, "a", "esx-2")]))
    (row,) = run.migrations
    assert 0 == row.precopy_bytes


def test_a_cancel_stops_a_migration_and_the_source_runs_on():
    events = [migrate(5.0, "a", "esx-2"), cancel(5.04, "a")]
    run = simulate(scenario(TWO_HOSTS, [busy()], events=events))
    (row,) = run.migrations
    assert (Result.ABORTED, "cancelled") == (row.result, row.error)
    assert 1 == [sample.vms for sample in run.timeline if sample.host == "esx-1"][-1]


def test_a_vm_that_is_powered_off_in_the_middle_of_its_migration_is_gone():
    events = [migrate(5.0, "a", "esx-2"), power_off(5.05, "a")]
    run = simulate(scenario(TWO_HOSTS, [busy()], events=events))
    (row,) = run.migrations
    assert Result.ABORTED is row.result
    assert {0} == {sample.vms for sample in run.timeline if sample.time_s > 6.0}


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.AUTO, Mode.POSTCOPY])
def test_modes_that_need_fault_service_run_where_it_is(mode):
    cluster = scenario(
        TWO_HOSTS, [vm("a", on="esx-1", rate_mb_s=50.0)], events=[migrate(5.0, "a", "esx-2", mode)]
    )
    (row,) = simulate(cluster).migrations
    assert (mode, Result.COMPLETED) == (row.mode, row.result)


def test_without_fault_service_hybrid_becomes_precopy_and_postcopy_is_refused():
    def row(mode):
        events = [migrate(5.0, "a", "esx-2", mode)]
        cluster = scenario(TWO_HOSTS, [vm("a", on="esx-1")], events=events)
        (only,) = simulate(cluster, serves_faults=False).migrations
        return only

    assert (Mode.PRECOPY, Result.COMPLETED) == (row(Mode.HYBRID).mode, row(Mode.HYBRID).result)
    assert Result.REFUSED is row(Mode.POSTCOPY).result


def test_drs_evens_out_a_host_that_grows_hot():
    hot = Steps(points=((0.0, 200.0), (3.0, 1_500.0)))
    vms = [vm(f"hot-{at}", demand=hot, on="esx-1") for at in range(4)]
    vms += [vm("cold", demand=Constant(mhz=800.0), on="esx-2")]
    run = simulate(scenario(TWO_HOSTS, vms, drs=True), budget=QUICK)
    assert run.summary.imbalance.end < run.summary.imbalance.start / 2
    assert {Trigger.DRS} == {row.trigger for row in run.migrations}
    assert run.summary.unmet_demand_ratio.max > 0.2


def test_the_summary_says_what_was_simulated():
    summary = simulate(scenario(TWO_HOSTS, [vm("a", on="esx-1")])).summary
    assert (Engine.SIMULATED, 2, 1, 30.0) == (
        summary.engine,
        summary.hosts,
        summary.vms,
        summary.duration_s,
    )
    assert summary.integrity is None
    assert summary.client_blackout_s is None


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_the_timelines_imbalance_is_the_centers(seed):
    """Also while VMs move, and when a host has died."""
    made, recorder = world(drawn(seed))
    for time_s in sample_times(30.0, 1.0):
        made.clock.run_until(time_s)
        if time_s == 20.0:
            made.fail_host("esx-0")
        recorder.sampled(made, *made.sample())
        assert pytest.approx(made.center.balance().imbalance, abs=1e-9) == (
            recorder.timeline[-1].imbalance
        )


# Hosts die.


def world(cluster, **fields):
    recorder = Recorder(cluster)
    watcher = Watcher(recorded=recorder.recorded, planned=lambda *_: None, ended=recorder.ended)
    made = World(cluster, watcher, seed=0, calibration=Calibration(), budget=QUICK, **fields)
    made.start()
    return made, recorder


def migrating(until_s, mode=Mode.HYBRID):
    """A migration of one VM that began at 5 s, `until_s` into it."""
    cluster = scenario(
        TWO_HOSTS,
        [vm("a", on="esx-1", rate_mb_s=300.0)],
        events=[migrate(5.0, "a", "esx-2")],
        mode=mode,
    )
    made, recorder = world(cluster)
    made.clock.run_until(5.0 + until_s)
    return made, recorder


def test_a_destination_that_dies_before_the_commit_leaves_the_source_running():
    made, recorder = migrating(0.05)
    made.fail_host("esx-2")
    made.drain()
    check_end(made)
    assert [Result.ABORTED] == [row.result for row in recorder.migrations]
    assert [0] == made.fleet.host.tolist()


def test_a_source_that_dies_before_the_commit_takes_the_vm_with_it():
    made, _ = migrating(0.05)
    made.fail_host("esx-1")
    made.drain()
    check_end(made)
    assert [-1] == made.fleet.host.tolist()


def committed(mode):
    made, recorder = migrating(0.0, mode)
    while made.center.state.vms["a"].host != "esx-2":
        made.clock.step()
    return made, recorder


def test_a_source_that_dies_after_the_commit_is_not_needed_when_all_pages_are_there():
    """Nobody has told the destination to resume yet; VirtualCenter does."""
    made, recorder = committed(Mode.PRECOPY)
    made.fail_host("esx-1")
    made.drain()
    check_end(made)
    assert [Result.COMPLETED] == [row.result for row in recorder.migrations]
    assert [1] == made.fleet.host.tolist()


def test_a_source_that_dies_with_pages_that_are_missing_takes_the_vm_with_it():
    made, _ = committed(Mode.HYBRID)
    made.fail_host("esx-1")
    made.drain()
    check_end(made)
    assert [-1] == made.fleet.host.tolist()
    assert "pages are lost" in made.center.state.vms["a"].ended_reason


def test_a_host_dies_once():
    made, recorder = migrating(0.05)
    made.fail_host("esx-2")
    told = len(recorder.events)
    made.fail_host("esx-2")
    assert told == len(recorder.events)


# Determinism and faults.


def test_the_same_seed_tells_the_same_story_to_the_byte():
    faults = Faults(lose=0.05, delay=0.1, fail=0.05, link_slow=0.5, until_s=30.0)

    def told(seed):
        return lines(simulate(drawn(3), seed=seed, faults=faults, budget=QUICK))

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_no_wall_time_is_in_the_story():
    passes = [
        event
        for event in simulate(drawn(3), budget=QUICK).events
        if event.kind is EventKind.DRS_PASSED
    ]
    assert {0.0} == {event.details["solve_s"] for event in passes}


@pytest.mark.timeout(600)  # CP-SAT on a busy machine takes ten times its CPU
@pytest.mark.parametrize("first", range(0, 20, 4))
def test_faulty_clusters_keep_their_promises(first):
    """`simulate` checks at every sample and at the end; a broken promise raises."""
    seeds = range(first, first + 4)
    assert [] == [text for seed in seeds if (text := failure(seed)) is not None]


@pytest.mark.long
def test_many_faulty_clusters_keep_their_promises():
    assert [] == [text for seed in range(20, 320) if (text := failure(seed)) is not None]


def test_ctrl_c_leaves_what_there_is():
    def looked(time_s):
        if time_s >= 10.0:
            raise KeyboardInterrupt

    run = simulate(scenario(TWO_HOSTS, [vm("a", on="esx-1")]), looked=looked)
    assert run.interrupted
    assert 10.0 == run.summary.duration_s
    assert 10 * 2 == len(run.timeline)


def test_samples_end_with_the_run():
    assert [1.0, 2.0, 2.5] == sample_times(2.5, 1.0)
    assert [1.0, 2.0] == sample_times(2.0, 1.0)
    assert [0.5] == sample_times(0.5, 1.0)
