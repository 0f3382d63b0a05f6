"""Rules that contradict each other, or that nothing can keep."""

import pytest


def _rule(kind: str, vms: str, hosts: str = "", name: str = "") -> str:
    hosts = f"hosts = {hosts}\n" if hosts else ""
    return f'[[rule]]\nname = "{name or kind}"\nkind = "{kind}"\nvms = {vms}\n{hosts}'


BOTH = '["web-1", "web-2"]'


@pytest.mark.parametrize(
    "rules",
    [
        (_rule("affinity", BOTH),),
        (_rule("anti-affinity", BOTH),),
        (_rule("affinity", BOTH), _rule("anti-affinity", '["web-2", "web-3"]')),
        (_rule("vm-host-must", '"web-*"', '"esx-1"'),),
        (_rule("vm-host-must", BOTH, '"esx-1"'), _rule("vm-host-must-not", '"web-3"', '"esx-1"')),
        (_rule("vm-host-should", BOTH, '"esx-1"'), _rule("vm-host-should-not", BOTH, '"esx-1"')),
    ],
)
def test_rules_that_can_be_kept_together_are_no_problem(problems_of, right, rules):
    assert () == problems_of(right + "".join(rules))


@pytest.mark.parametrize(
    ("rules", "key", "says"),
    [
        ((_rule("affinity", '"web-1"'),), "rule.affinity.vms", "two VMs at least"),
        ((_rule("affinity", BOTH, '"esx-1"'),), "rule.affinity.hosts", "leave it out"),
        ((_rule("vm-host-must", BOTH),), "rule.vm-host-must.hosts", "is missing"),
        (
            (_rule("affinity", BOTH), _rule("anti-affinity", BOTH)),
            "rule.anti-affinity.vms",
            "kept together",
        ),
        (
            (
                _rule("affinity", BOTH, name="a"),
                _rule("affinity", '["web-2", "web-3"]', name="b"),
                _rule("anti-affinity", '["web-1", "web-3"]', name="c"),
            ),
            "rule.c.vms",
            "web-1 and web-3 are kept together",
        ),
        ((_rule("anti-affinity", '"web-*"'),), "rule.anti-affinity.vms", "apart on 2 hosts"),
        (
            (_rule("vm-host-must", BOTH, '"esx-1"'), _rule("anti-affinity", BOTH)),
            "rule.anti-affinity.vms",
            "apart on esx-1",
        ),
        (
            (
                _rule("vm-host-must", '"web-1"', '"esx-1"', name="a"),
                _rule("vm-host-must", '"web-1"', '"esx-2"', name="b"),
            ),
            "rule",
            "no host is left for web-1",
        ),
        ((_rule("vm-host-must-not", '"web-1"', '"esx-*"'),), "rule", "no host is left for web-1"),
        (
            (
                _rule("affinity", BOTH),
                _rule("vm-host-must", '"web-1"', '"esx-1"'),
                _rule("vm-host-must-not", '"web-2"', '"esx-1"'),
            ),
            "rule",
            "no host is left for web-1, web-2",
        ),
        (
            (_rule("affinity", BOTH, name="r"), _rule("affinity", BOTH, name="r")),
            "rule.r.name",
            "is taken by",
        ),
        ((_rule("affinity", '["web-1", "wob-2"]'),), "rule.affinity.vms[1]", "did you mean web-2"),
        ((_rule("vm-host-must", BOTH, '"esx"'),), "rule.vm-host-must.hosts", "did you mean esx-"),
    ],
)
def test_one_contradiction_is_one_problem(problems_of, right, rules, key, says):
    (problem,) = problems_of(right + "".join(rules))
    assert key == problem.key
    assert says in str(problem)


def test_vms_kept_together_must_fit_into_one_host(problems_of, right):
    larger = right.replace("memory_mib = 64", "memory_mib = 600")
    (problem,) = problems_of(larger + _rule("affinity", BOTH))
    assert "web-1, web-2 need 1200 MiB on one host" in problem.wrong
