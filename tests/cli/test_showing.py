"""What the live view is told of a cluster, view after view, with no end in sight or with one."""

from observe.test_feeding import COMPLETED, SPEC, host, moving, view

from cluster.actors.reports import HostSample
from cluster.actors.views import EndedMigration, Happening
from cluster.cli.showing import Showing
from cluster.migration.spec import not_begun
from cluster.observe.live import SPARK_WIDTH
from cluster.policy.facts import HostLoad
from cluster.policy.messages import Record, Topic


def showing(**changes):
    known = {"duration_s": 20.0, "drs_interval_s": 5.0, "sample_s": 1.0}
    return Showing("quickstart", **known | changes)


def sample(time_s, tx_bytes, rx_bytes=0):
    load = HostLoad(host="esx-1", vms=())
    return {
        "esx-1": HostSample(time_s=time_s, load=load, vms=(), tx_bytes=tx_bytes, rx_bytes=rx_bytes)
    }


def test_what_has_ended_is_counted_once():
    shown = showing()
    aborted = not_begun("the destination stalled", now=1.0)
    refused = Record(topic=Topic.MIGRATION, what="refused", text="no")
    ended = tuple(EndedMigration(spec=SPEC, outcome=one) for one in (COMPLETED, aborted))
    shown.look(view(1.0, ended=ended, happened=(Happening(time_s=1.0, record=refused),)))
    state = shown.look(view(2.0, migrations=(moving(), moving(started_s=1.5))))
    assert (1, 1, 1) == (state.completed, state.failed, state.refused)
    assert (1, 1) == (state.queued, len(state.migrations))


def test_what_drs_did_is_added_up():
    shown = showing()
    fields = (("recommendations", (("a", "b", 3, "c"),) * 2), ("applied", 1))
    passed = Record(topic=Topic.DRS, what="pass", text="", fields=fields)
    shown.look(view(5.0, happened=(Happening(time_s=5.0, record=passed),)))
    drs = shown.look(view(5.5, happened=(Happening(time_s=5.5, record=passed),))).drs
    assert (2, 4, 2) == (drs.passes, drs.recommended, drs.applied)


def test_rates_are_those_between_a_hosts_own_samples():
    shown = showing()
    shown.look(view(1.0, samples=sample(1.0, 1000)))
    assert 500.0 == rate(shown.look(view(3.1, samples=sample(3.0, 2000))))
    assert 500.0 == rate(shown.look(view(3.9, samples=sample(3.0, 2000))))
    # The host has started again: its counters, too.
    shown.look(view(4.0, samples=sample(4.0, 0)))
    assert 100.0 == rate(shown.look(view(5.0, samples=sample(5.0, 100))))


def rate(state):
    return state.hosts[0].tx_bytes_per_second


def test_the_next_pass_of_drs_is_at_the_next_whole_interval():
    shown = showing()
    assert [5.0, 10.0, 15.0] == [shown.look(view(time_s)).drs.next_s for time_s in (0.0, 5.0, 14.9)]
    assert shown.look(view(16.0)).drs.next_s is None
    assert 20.0 == showing(duration_s=None).look(view(16.0)).drs.next_s
    assert showing(drs_interval_s=None).look(view(16.0)).drs is None


def test_the_imbalance_is_sampled_and_what_is_remembered_does_not_grow():
    shown = showing()
    for tenth in range(10 * (SPARK_WIDTH + 20)):
        state = shown.look(view(1 + tenth / 10, hosts=(host(),)))
    assert (0.1,) * SPARK_WIDTH == state.imbalance
    assert 0.1 == state.imbalance_max
