"""Rules as drs judges them, and which a move newly breaks."""

import pytest

from cluster.inventory.model import RuleKind, RuleSpec
from cluster.policy.rules import RuleBook, rules_of
from drs.rules import (
    Affinity,
    AntiAffinity,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
)

HELD = {"v": ("a",), "w": ("b",), "x": ()}


def rule(kind: RuleKind, *vms: str, hosts: tuple[str, ...] = ()) -> RuleSpec:
    return RuleSpec(name="r", kind=kind, vms=vms, hosts=hosts)


@pytest.mark.parametrize(
    ("kind", "cls", "strength"),
    [
        (RuleKind.AFFINITY, Affinity, Strength.MUST),
        (RuleKind.ANTI_AFFINITY, AntiAffinity, Strength.MUST),
        (RuleKind.VM_HOST_MUST, VmHostAffinity, Strength.MUST),
        (RuleKind.VM_HOST_SHOULD, VmHostAffinity, Strength.SHOULD),
        (RuleKind.VM_HOST_MUST_NOT, VmHostAntiAffinity, Strength.MUST),
        (RuleKind.VM_HOST_SHOULD_NOT, VmHostAntiAffinity, Strength.SHOULD),
    ],
)
def test_every_kind_has_its_judge(kind, cls, strength):
    (made,) = rules_of([rule(kind, "v", "w", hosts=("a",))])
    assert (cls, strength, ("v", "w")) == (type(made), made.strength, made.vms)


def test_a_rule_goes_on_for_the_vms_that_are_on():
    specs = [rule(RuleKind.ANTI_AFFINITY, "v", "w", "x"), rule(RuleKind.AFFINITY, "x")]
    (made,) = rules_of(specs, among=frozenset("vw"))
    assert ("v", "w") == made.vms


def test_a_move_breaks_what_it_newly_breaks():
    book = RuleBook([rule(RuleKind.ANTI_AFFINITY, "v", "w", "x")])
    (broken,) = book.newly_broken(HELD, "x", before=(), after=("a",))
    assert "v, x are together on a; at most 1 may be" == broken.message
    assert [] == book.newly_broken(HELD, "x", before=(), after=("c",))


def test_what_is_broken_already_is_not_the_moves_fault():
    book = RuleBook([rule(RuleKind.VM_HOST_MUST, "v", hosts=("c",))])
    assert [] == book.newly_broken(HELD, "v", before=("a",), after=("a", "c"))
    assert 1 == len(book.newly_broken(HELD, "v", before=("a",), after=("a", "b")))


def test_vms_that_belong_together_may_part_on_the_way():
    book = RuleBook([rule(RuleKind.AFFINITY, "v", "y")])
    held = {**HELD, "y": ("a",)}
    there = {"before": ("a",), "after": ("a", "b")}
    assert 1 == len(book.newly_broken(held, "v", **there))
    assert [] == book.newly_broken(held, "v", **there, on_the_way=True)


def test_a_soft_rule_forbids_nothing():
    book = RuleBook([rule(RuleKind.VM_HOST_SHOULD_NOT, "v", hosts=("b",))])
    assert [] == book.newly_broken(HELD, "v", before=("a",), after=("b",))
