"""Licences, limits, maintenance and failures of a scenario hold in virtual time as they do live."""

from dataclasses import replace

import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.licence_terms import Feature, Product
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.model import DrsSettings, HaSettings, Nic, TimedEvent, TimedKind
from cluster.migration.spec import Result
from cluster.simulation.run import simulate
from tests.simulation.scenarios import QUICK, host, migrate, scenario, vm

ENOUGH = LicenceSettings(products=((Product.ENTERPRISE, 9), (Product.VIRTUALCENTER, 1)))
ESX, VMOTION = Feature.ESX, Feature.VMOTION


def hosts(*names, **fields):
    return [replace(host(name), **fields) for name in names]


def texts(run):
    return [event.text for event in run.events]


def test_a_host_without_a_licence_for_vmotion_sends_nothing():
    licensed, other = host("esx-1"), replace(host("esx-2"), features=(ESX,))
    run = simulate(
        scenario(
            [licensed, other],
            [vm("a", on="esx-1")],
            events=[migrate(5.0, "a", "esx-2")],
            licences=ENOUGH,
        ),
        budget=QUICK,
    )
    (row,) = run.migrations
    assert Result.REFUSED is row.result
    assert "a → esx-2: refused, esx-2 is not licensed for VMotion" in texts(run)


def test_when_the_grace_period_ends_nothing_moves_any_more():
    day_s = 86_400.0
    events = [
        TimedEvent(at_s=day_s, kind=TimedKind.LICENCE_SERVER_LOST),
        migrate(14.9 * day_s, "a", "esx-2"),
        migrate(15.1 * day_s, "a", "esx-1"),
    ]
    made = scenario(
        hosts("esx-1", "esx-2"),
        [vm("a", on="esx-1")],
        events=events,
        licences=ENOUGH,
        duration_s=16 * day_s,
        sample_s=day_s,
    )
    run = simulate(made, budget=QUICK)
    assert [Result.COMPLETED, Result.REFUSED] == [row.result for row in run.migrations]
    told = [text for text in texts(run) if text.startswith("licences: ")]
    assert [
        "licences: licensed",
        "licences: grace period, 14 days left",
        "licences: expired",
    ] == told


def test_without_licences_it_is_an_evaluation_that_ends():
    licences = LicenceSettings(evaluation_days_left=1)
    made = scenario(
        hosts("esx-1", "esx-2"),
        [vm("a", on="esx-1")],
        events=[migrate(80_000.0, "a", "esx-2"), migrate(90_000.0, "a", "esx-1")],
        licences=licences,
        duration_s=100_000.0,
        sample_s=10_000.0,
    )
    run = simulate(made, budget=QUICK)
    assert [Result.COMPLETED, Result.REFUSED] == [row.result for row in run.migrations]


def most_at_once(rows, name=None):
    """The largest number of migrations that were under way together."""
    spans = [(r.started_s, r.started_s + r.duration_s) for r in rows if name in (None, r.source)]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


@pytest.mark.parametrize(("rate", "most"), [(1.25e8, 4), (1.25e9, 8), (None, 8)])
def test_so_many_migrations_at_once_as_the_card_admits_and_the_rest_waits(rate, most):
    card = Nic(rate_bytes_per_second=rate)
    made = scenario(
        [replace(one, nic=card, memory_mib=4096) for one in hosts("esx-1", "esx-2", "esx-3")],
        [vm(f"v{at}", on="esx-1", memory_mib=128, demand=Constant(mhz=10)) for at in range(12)],
        events=[migrate(5.0, f"v{at}", f"esx-{2 + at % 2}") for at in range(12)],
        duration_s=60.0,
    )
    run = simulate(made, budget=QUICK)
    assert [Result.COMPLETED] * 12 == [row.result for row in run.migrations]
    assert most == most_at_once(run.migrations)


def test_a_host_is_evacuated_for_maintenance_at_its_time_and_comes_back():
    made = replace(
        scenario(
            hosts("esx-1", "esx-2"),
            [vm("a", on="esx-1"), vm("b", on="esx-1")],
            events=[
                TimedEvent(at_s=5.0, kind=TimedKind.MAINTENANCE, hosts=("esx-1",)),
                TimedEvent(at_s=20.0, kind=TimedKind.END_MAINTENANCE, hosts=("esx-1",)),
            ],
        ),
        drs=DrsSettings(enabled=False),
    )
    run = simulate(made, budget=QUICK)
    assert {("a", "esx-2"), ("b", "esx-2")} == {(r.vm, r.destination) for r in run.migrations}
    said = texts(run)
    assert said.index("esx-1 is in maintenance mode") < said.index(
        "esx-1 has exited maintenance mode"
    )


def test_a_host_fails_at_its_time_and_ha_restarts_what_ran_there():
    made = scenario(
        hosts("esx-1", "esx-2"),
        [vm("a", on="esx-1"), vm("b", on="esx-2")],
        events=[TimedEvent(at_s=5.0, kind=TimedKind.HOST_FAILURE, hosts=("esx-1",))],
        ha=HaSettings(enabled=True, failures_tolerated=0),
    )
    run = simulate(made, budget=QUICK)
    last = {row.host: row.vms for row in run.timeline}
    assert 2 == last["esx-2"]
    assert 0 == last["esx-1"]


def test_what_admission_control_keeps_free_is_not_filled_at_power_on():
    """Each host holds two of the VMs; one host's loss must leave room for all that are on."""
    made = scenario(
        hosts("esx-1", "esx-2", memory_mib=128),
        [vm(f"v{at}") for at in range(4)],
        ha=HaSettings(enabled=True, failures_tolerated=1),
    )
    run = simulate(made, budget=QUICK)
    assert 2 == sum("powered on, " in text for text in texts(run))
