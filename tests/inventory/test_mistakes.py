"""Mistakes in scenario files: each is found, with its place and its cure."""

import pytest

EMPTY_TABLES = "[[vm]]\n[[rule]]\n[[event]]\n"


def test_the_scenario_that_the_others_spoil_is_right(problems_of, right):
    assert () == problems_of(right)


SPOILED = {
    # In place of the first: the second. Then the key, and words of the message.
    "unknown key": ("duration_s", "duration = 1\nduration_s", "scenario.duration", "duration_s"),
    "unknown table": ("[[host]]", "[[hosts]]\n[[host]]", "hosts", "did you mean host"),
    "one table for many": ("[[host]]", "[host]", "host", "write [[host]]"),
    "missing key": ("duration_s = 60", "", "scenario.duration_s", "is missing"),
    "text for a number": ("= 60", '= "60"', "scenario.duration_s", "give a number"),
    "true for a number": ("= 500", "= true", "vm.web.demand", "a number of MHz"),
    "fraction of a MiB": ("= 64", "= 64.5", "vm.web.memory_mib", "give a whole number"),
    "negative size": ("= 64", "= -64", "vm.web.memory_mib", "at least 1"),
    "no CPU": ("= 4000", "= 0", "host.esx-{}.cpu_mhz", "more than 0"),
    "infinite": ("= 60", "= inf", "scenario.duration_s", "finite"),
    "not a number": ("= 60", "= nan", "scenario.duration_s", "finite"),
    "huge": ("= 60", "= 1" + "0" * 400, "scenario.duration_s", "too large"),
    "huge group": ("count = 3", "count = 9999999", "vm.web.count", "at most 100000"),
    "unknown choice": (
        "duration_s",
        'profile = "vsfere"\nduration_s',
        "scenario.profile",
        "vsphere",
    ),
    "unsafe name": ('"web"', '"../web"', "vm[0].name", "no safe name"),
    "name too long": ('"web"', '"' + "w" * 62 + '"', "vm." + "w" * 62 + ".name", "no safe name"),
    "unsafe scenario": ("duration_s", 'name = "a b"\nduration_s', "scenario.name", "no safe name"),
    "unusable label": (
        "count = 2",
        'count = 2\nnetworks = ["VM Network", "a\\nb"]',
        "host.esx-{}.networks",
        "usable",
    ),
    "larger than any host": (
        "count = 3\nmemory_mib = 64",
        "memory_mib = 2048",
        "vm.web.memory_mib",
        "at most 1024",
    ),
    "faster than any host": ("= 2000", "= 5000", "vm.web.cpu_mhz", "at most 4000"),
    "all too large together": ("= 64", "= 1000", "vm", "the hosts 2048"),
    "unknown host": ("demand", 'host = "esx-3"\ndemand', "vm.web.host", "did you mean esx"),
    "one of two hosts": ("demand", 'host = ["esx-1", "x"]\ndemand', "vm.web.host[1]", "no host"),
    "no hosts": ("demand", "host = []\ndemand", "vm.web.host", "is empty"),
    "unknown network": (
        "demand",
        'networks = "VM Netwrk"\ndemand',
        "vm.web.networks",
        "VM Network",
    ),
    "unknown datastore": ("demand", 'datastore = "shard"\ndemand', "vm.web.datastore", "shared"),
    "reserved too much": (
        "demand",
        "cpu_reservation_mhz = 2001\ndemand",
        "vm.web.cpu_reservation_mhz",
        "at most 2000",
    ),
    "limit under reservation": (
        "demand",
        "cpu_reservation_mhz = 900\ncpu_limit_mhz = 100\ndemand",
        "vm.web.cpu_limit_mhz",
        "at least 900",
    ),
    "memory reserved too much": (
        "demand",
        "memory_reservation_mib = 65\ndemand",
        "vm.web.memory_reservation_mib",
        "at most 64",
    ),
    "all CPU reserved": (
        "demand",
        'cpu_reservation_mhz = 2000\nhost = "esx-1"\ndemand',
        "host.esx-{}.cpu_mhz",
        "6000 are reserved",
    ),
    "unknown demand": ("= 500", "= { step = [[0, 1]] }", "vm.web.demand", "constant, steps"),
    "no steps": ("= 500", "= { steps = [] }", "vm.web.demand.steps", "is empty"),
    "step of three": ("= 500", "= { steps = [[0, 1, 2]] }", "vm.web.demand.steps[0]", "it needs 2"),
    "steps back": ("= 500", "= { steps = [[5, 1], [4, 1]] }", "vm.web.demand.steps[1]", "after 5"),
    "steps below 0": ("= 500", "= { steps = [[5, -1]] }", "vm.web.demand.steps[0]", "range"),
    "sine misspelt": (
        "= 500",
        "= { sine = { mean = 1, mean_mhz = 1, amplitude_mhz = 1, period_s = 1 } }",
        "vm.web.demand.sine.mean",
        "did you mean mean_mhz",
    ),
    "unknown card": ("count = 2", 'count = 2\nnic = "2GbE"', "host.esx-{}.nic", "1GbE"),
    "card of a number": ("count = 2", "count = 2\nnic = 1", "host.esx-{}.nic", "unlimited"),
    "card misspelt": (
        "count = 2",
        "count = 2\nnic = {rate = 1}",
        "host.esx-{}.nic.rate",
        "rate_mbit_s",
    ),
    "clients misspelt": ("demand", "clients = {n = 1}\ndemand", "vm.web.clients.n", "count"),
    "no clients": ("demand", "clients = {count = 0}\ndemand", "vm.web.clients.count", "at least 1"),
    "nested parameter": (
        "demand",
        "params = {x = {}}\ndemand",
        "vm.web.params.x",
        "a list of those",
    ),
    "parameter that is no number": (
        "demand",
        "params = {x = nan}\ndemand",
        "vm.web.params.x",
        "a list of those",
    ),
    "unknown guest": ("demand", 'guest = "ilde"\ndemand', "vm.web.guest", "did you mean idle"),
    "unknown parameter": ("demand", "params = {x = 1}\ndemand", "vm.web.params.x", "no parameters"),
    "samples too rare": ("duration_s", "sample_s = 90\nduration_s", "scenario.sample_s", "longer"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_one_mistake_is_one_problem_at_its_key_with_its_cure(problems_of, right, case):
    before, after, key, words = SPOILED[case]
    assert before in right
    (problem,) = problems_of(right.replace(before, after, 1))
    assert key == problem.key
    assert words in str(problem)


APPENDED = {
    "threshold": ("[drs]\nthreshold = 6", "drs.threshold", "at most 5"),
    "interval": ("[drs]\ninterval_s = 0", "drs.interval_s", "more than 0"),
    "automation": ('[drs]\nautomation = "full"', "drs.automation", "did you mean fully"),
    "mode": ('[migration]\nmode = "hybird"', "migration.mode", "did you mean hybrid"),
    "past the end": (
        '[[event]]\nat_s = 60\nkind = "migrate"\nvms = "web-1"',
        "event[0].at_s",
        "before the end",
    ),
    "before the start": (
        '[[event]]\nat_s = -1\nkind = "migrate"\nvms = "web-1"',
        "event[0].at_s",
        "at least 0",
    ),
    "event without demand": (
        '[[event]]\nat_s = 1\nkind = "demand"\nvms = "web-1"',
        "event[0].demand",
        "is missing",
    ),
    "event with too much": (
        '[[event]]\nat_s = 1\nkind = "power-off"\nvms = "web-1"\ndestination = "esx-1"',
        "event[0].destination",
        "leave it out",
    ),
    "migrate with demand": (
        '[[event]]\nat_s = 1\nkind = "migrate"\nvms = "web-1"\ndemand = 3',
        "event[0].demand",
        "leave it out",
    ),
    "unknown VM": (
        '[[event]]\nat_s = 1\nkind = "migrate"\nvms = "wep-1"',
        "event[0].vms",
        "did you mean web-1",
    ),
    "empty pattern": ('[[event]]\nat_s = 1\nkind = "migrate"\nvms = "b*"', "event[0].vms", "b*"),
    "unknown destination": (
        '[[event]]\nat_s = 1\nkind = "migrate"\nvms = "web-1"\ndestination = "esx-*"',
        "event[0].destination",
        "did you mean esx-",
    ),
    "unknown kind": (
        '[[event]]\nat_s = 1\nkind = "migrat"\nvms = "web-1"',
        "event[0].kind",
        "did you mean migrate",
    ),
    "duplicate": (
        '[[vm]]\nname = "web-2"\nmemory_mib = 64\ncpu_mhz = 1\ndemand = 1',
        "vm.web-2.name",
        "is taken by [[vm]] number 1",
    ),
    "VM on too small a host": (
        '[[host]]\nname = "tiny"\ncpu_mhz = 4000\nmemory_mib = 8\n'
        '[[vm]]\nname = "big"\nhost = "tiny"\nmemory_mib = 64\ncpu_mhz = 1\ndemand = 1',
        "vm.big.host",
        "it has 8",
    ),
    "VM on too slow a host": (
        '[[host]]\nname = "slow"\ncpu_mhz = 100\nmemory_mib = 99\n'
        '[[vm]]\nname = "v"\nhost = "slow"\nmemory_mib = 64\ncpu_mhz = 200\ndemand = 1',
        "vm.v.host",
        "slow does not have 200 MHz (it has 100)",
    ),
    "network on another host": (
        '[[host]]\nname = "dmz"\ncpu_mhz = 4000\nmemory_mib = 99\nnetworks = ["dmz"]\n'
        '[[vm]]\nname = "v"\nhost = "esx-1"\nnetworks = ["dmz"]\n'
        "memory_mib = 64\ncpu_mhz = 1\ndemand = 1",
        "vm.v.host",
        'network "dmz"',
    ),
    "all on no single host": (
        '[[host]]\nname = "dmz"\ncpu_mhz = 4000\nmemory_mib = 99\nnetworks = ["dmz"]\n'
        '[[vm]]\nname = "v"\nnetworks = ["dmz", "VM Network"]\n'
        "memory_mib = 64\ncpu_mhz = 1\ndemand = 1",
        "vm.v",
        "no single host",
    ),
    "host too full": (
        '[[vm]]\nname = "v"\ncount = 3\nhost = "esx-1"\nmemory_mib = 400\ncpu_mhz = 1\ndemand = 1',
        "host.esx-{}.memory_mib",
        "have 1200; fewer or smaller ones than v-1, v-2, v-3",
    ),
}


@pytest.mark.parametrize("case", APPENDED)
def test_one_mistake_between_tables_is_one_problem(problems_of, right, case):
    text, key, words = APPENDED[case]
    (problem,) = problems_of(f"{right}\n{text}\n")
    assert key == problem.key
    assert words in str(problem)


def test_mistakes_of_every_kind_are_reported_together_in_the_order_of_the_file(problems_of, right):
    spoiled = (
        right.replace("memory_mib = 1024", "memory_mib = -1")
        .replace("demand = 500", 'demand = -500\nhost = "nowhere"\ngest = "idle"')
        .replace("= 60", '= 60\nname = "/"')
        + '[drs]\nthreshold = "4"\n[[rule]]\nname = "r"\nkind = "affinity"\nvms = "nobody"\n'
        + '[[event]]\nat_s = 99\nkind = "migrate"\nvms = ["web-1", "nobody"]\n'
    )
    problems = problems_of(spoiled)
    assert [
        "scenario.name",
        "host.esx-{}.memory_mib",
        "vm.web.demand",
        "vm.web.host",
        "vm.web.gest",
        "drs.threshold",
        "rule.r.vms",
        "event[0].at_s",
        "event[0].vms[1]",
    ] == [problem.key for problem in problems]
    for problem in problems:
        last = problem.key.rpartition(".")[2].partition("[")[0]
        assert problem.line is not None
        assert spoiled.splitlines()[problem.line - 1].startswith(f"{last} =")


def test_what_follows_from_a_mistake_is_not_reported_as_another(problems_of, right):
    """A VM whose memory is not known is not too large; an unread network is not unknown."""
    for before, after in (
        ("memory_mib = 1024", 'memory_mib = "lots"'),
        ("cpu_mhz = 4000", "cpu_mhz = -1"),
        ("duration_s = 60", "duration_s = -60"),
        ("demand = 500", "demand = 500\nnetworks = [1]"),
        ("demand = 500", "demand = 500\nhost = 3"),
    ):
        later = '[[event]]\nat_s = 99\nkind = "demand"\nvms = "web-1"\ndemand = {}\n'
        event = later if "duration" in before else later.replace("99", "9")
        keys = [problem.key for problem in problems_of(right.replace(before, after) + event)]
        assert 2 == len(keys), keys
        assert "event[0].demand" == keys[-1]


@pytest.mark.parametrize("name", ["esx", "esx-{}"])
def test_of_a_group_with_a_wrong_count_nothing_is_missing(problems_of, right, name):
    """Names, rules and sizes that would be right with more of them are no mistakes."""
    text = right.replace("count = 2", "count = 0").replace('"esx-{}"', f'"{name}"')
    text = text.replace("count = 3", 'count = 3\nhost = "esx-*"').replace("= 64", "= 500")
    rules = (("anti-affinity", ""), ("vm-host-must", 'hosts = ["esx-1", "esx-2"]'))
    for index, (kind, hosts) in enumerate(rules):
        text += f'[[rule]]\nname = "r{index}"\nkind = "{kind}"\nvms = "web-*"\n{hosts}\n'
    text += '[[event]]\nat_s = 9\nkind = "maintenance"\nhosts = ["esx-2", "nowhere"]\n'
    assert ["host." + name + ".count", "event[0].hosts[1]"] == [
        problem.key for problem in problems_of(text)
    ]


def test_of_vms_with_a_wrong_count_nothing_is_missing(problems_of, right):
    text = right.replace("count = 3", "count = 0")
    text += '[[rule]]\nname = "r"\nkind = "affinity"\nvms = ["web-2", "web-3"]\n'
    assert ["vm.web.count"] == [problem.key for problem in problems_of(text)]


def test_empty_tables_and_an_empty_file_say_what_is_needed(problems_of):
    empty = [str(problem) for problem in problems_of("")]
    assert 3 == len(empty)
    missing = {problem.key for problem in problems_of(EMPTY_TABLES)}
    assert {"vm[0].name", "vm[0].memory_mib", "rule[0].kind", "event[0].at_s"} <= missing


def test_a_syntax_error_has_its_line(problems_of, right):
    (problem,) = problems_of(right + "key = \n")
    assert len((right + "x").splitlines()) == problem.line
    assert "no TOML" in problem.wrong


def test_a_problem_is_one_line_whatever_was_in_the_file(problems_of, right):
    nasty = right.replace('"web"', '"a\\nb\\u0000\\u001b[31m"').replace(
        "= 500", f'= "{"x" * 999}\\n"\n"k\\ney" = 1\nguest = "\\u001b\ud7fc/x.py:A"'
    )
    for problem in problems_of(nasty):
        assert str(problem).isprintable()
        assert 400 > len(str(problem))


def test_a_table_that_is_a_number_is_no_table(problems_of, right):
    (problem,) = problems_of(f"drs = 3\n{right}")
    assert ("drs", "3 is not a table", 1) == (problem.key, problem.wrong, problem.line)


def test_thousands_of_mistakes_are_cut_short(problems_of, right):
    many = "".join(f'[[event]]\nat_s = {n}\nkind = "migrate"\nvms = "v{n}"\n' for n in range(3000))
    problems = problems_of(right + many)
    assert 1001 == len(problems)
    assert any("there are more" in problem.wrong for problem in problems)
