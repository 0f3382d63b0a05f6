"""What is asked for twice, too late, or of nobody."""

import runpy

from cluster.inventory.licence_terms import Product
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.model import DrsSettings
from cluster.policy import checks_table, licence_file
from cluster.policy.ha import hosts_on_min
from cluster.policy.maintenance import Blocked, blocked
from cluster.policy.messages import (
    HostFailed,
    MaintenanceRequested,
    MigrationEnded,
    PowerOnRequested,
    Restarted,
    Solve,
    Ticked,
)
from cluster.policy.state import HostState
from cluster.policy.usage import Usage
from tests.policy.building import Hand, host, outcome, scenario, vm


def test_a_vm_or_a_host_that_is_not_there_is_said():
    hand = Hand(scenario("a", [vm("v", "a", arrives_s=9.0)])).up()
    assert ["w is not powered on: there is no such VM"] == hand.notes(
        PowerOnRequested(vm="w", host=None)
    )
    assert ["v is not powered on: there is no host z"] == hand.notes(
        PowerOnRequested(vm="v", host="z")
    )


def test_that_a_vm_finds_no_room_is_said_once_and_again_to_whoever_asks():
    hosts = [host("a"), host("b", memory_mib=64)]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", memory_mib=1024)])).up()
    text = "w is not powered on: no host can take it"
    assert ["b failed: it is dark"] == hand.notes(HostFailed(host="b", reason="it is dark"))
    assert [text] == hand.notes(PowerOnRequested(vm="w", host=None))


def test_a_migration_that_has_ended_ends_once():
    hand = Hand(scenario("ab", [vm("v", "a")])).up()
    spec = hand.begun("v", "b")
    hand.complete(spec)
    assert () == hand.send(MigrationEnded(migration=spec.id, outcome=outcome()))
    assert {"v": "b"} == hand.where()


def test_a_host_that_is_entering_maintenance_mode_is_not_told_so_again():
    hand = Hand(scenario("ab", [vm("v", "a")])).up()
    wanted = MaintenanceRequested(host="a", wait=True)
    assert "a is entering maintenance mode" in hand.notes(wanted)
    assert "a is entering maintenance mode" not in hand.notes(wanted)
    assert HostState.ENTERING_MAINTENANCE is hand.state.hosts["a"].state


def test_a_host_that_is_free_says_why_nobody_goes_there():
    cluster = scenario("ab", [vm("v", "a")])
    assert (Blocked(vm="v", hosts=(("b", "b is free, and DRS has not planned it"),)),) == blocked(
        Hand(cluster).up().state, "a"
    )
    products = ((Product.STANDARD, 9), (Product.VMOTION, 9), (Product.VIRTUALCENTER, 1))
    licences = LicenceSettings(products=products)
    by_hand = Hand(scenario("ab", [vm("v", "a")], licences=licences)).up()
    ((_, why),) = blocked(by_hand.state, "a")[0].hosts
    assert "b is free, but a is not licensed for DRS" == why


def test_the_clock_of_the_scenario_stands_until_everything_is_up():
    hand = Hand(scenario("a", [vm("v", "a")]))
    assert 0.0 == hand.center.scenario_s(7.0)
    hand.up()
    assert 7.0 == hand.center.scenario_s(7.0)


def test_what_drs_would_decide_on_can_be_looked_at():
    hand = Hand(scenario("ab", [vm("v", "a"), vm("w", "b")])).up()
    snapshot, _ = hand.center.drs_input(now=1.0)
    assert (("a", "b"), ("v", "w")) == (tuple(snapshot.hosts), tuple(snapshot.vms))


def test_every_vm_is_in_the_tally_of_what_is_held():
    hand = Hand(scenario("ab", [vm("v", "a"), vm("w", arrives_s=9.0)])).up()
    held = Usage(hand.state).held
    assert 2 == len(held)
    assert {"v": ("a",), "w": ()} == dict(held)


def test_a_plan_that_was_asked_for_before_a_restart_is_asked_for_again():
    drs = DrsSettings(interval_s=10.0)
    hand = Hand(scenario("ab", [vm("v", "a"), vm("w", "b")], drs=drs)).up()
    assert [Solve] == [type(command) for command in hand.acts(Ticked(), at=10.0)]
    assert [
        "VirtualCenter was restarted",
        "DRS has no plan: VirtualCenter was restarted",
    ] == hand.notes(Restarted(), at=11.0)
    assert [Solve] == [type(command) for command in hand.acts(Ticked(), at=hand.center.wake_at)]
    assert hand.now < 20.0


def test_without_vms_no_host_has_to_be_on():
    assert 0 == hosts_on_min([host("a"), host("b")], [], failures_tolerated=1)


def test_a_licence_file_that_is_too_long_or_has_two_servers_says_so():
    (problem,) = licence_file.read("#\nSERVER this\n" * (licence_file.LINES_MAX + 1))[1]
    assert f"more than {licence_file.LINES_MAX} lines" == problem.text
    (problem,) = licence_file.read("SERVER this\nSERVER that\n")[1]
    assert "more than one SERVER line" == problem.text


def test_a_licence_file_may_end_in_the_middle_of_a_line():
    file, problems = licence_file.read("SERVER this \\\n  any 27000 \\")
    assert ("SERVER this any 27000", []) == (file.server, problems)


def test_the_table_of_checks_is_printed(capsys):
    runpy.run_path(checks_table.__file__, run_name="__main__")
    assert checks_table.checks_table() + "\n" == capsys.readouterr().out
