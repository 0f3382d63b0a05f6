"""Machine reassignment: the checker on the official example, and our search judged by the checker.

The challenge's instances are not in the tree: REASSIGNMENT_DATA names a directory with them.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from drs.reassignment import read, solve

EXAMPLE = """2
1 100
0 10
4
0 0 30 400 16 80 0 1 4 5
0 0 10 240 8 160 1 0 3 4
1 1 15 100 12 80 4 3 0 2
1 2 10 100 8 80 5 4 2 0
2
2 0
1 1 0
3
0 12 10 1000
0 10 20 100
1 6 200 1
1
0 1 20
10
1 10 100
"""
INITIAL = "0 3 0"
# Published initial costs: the challenge's result tables.
PUBLISHED = {
    "a1_1": 49528750,
    "a1_2": 1061649570,
    "a1_3": 583662270,
    "a1_4": 632499600,
    "a1_5": 782189690,
    "a2_1": 391189190,
    "a2_2": 1876768120,
    "a2_3": 2272487840,
    "a2_4": 3223516130,
    "a2_5": 787355300,
    "b_1": 7644173180,
    "b_2": 5181493830,
    "b_3": 6336834660,
    "b_4": 9209576380,
}


@pytest.fixture(scope="module")
def checker():
    """The checker as a module: it belongs to the benchmarks and shares no code with the library."""
    path = Path(__file__).parents[2] / "benchmarks" / "roadef_checker.py"
    spec = importlib.util.spec_from_file_location("roadef_checker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_official_example_costs_what_the_statement_says(checker):
    """4200 at first; 2411 with process 1 moved to machine 2 and process 2 to machine 1."""
    instance = checker.Instance(EXAMPLE, INITIAL)
    assert (4200, []) == (instance.cost([0, 3, 0]), instance.violations([0, 3, 0]))
    assert (2411, []) == (instance.cost([0, 2, 1]), instance.violations([0, 2, 1]))


def test_the_checker_finds_every_kind_of_violation(checker):
    instance = checker.Instance(EXAMPLE, INITIAL)
    assert ["not an assignment of every process to a machine"] == instance.violations([0, 9, 0])
    crowded = instance.violations([0, 0, 0])
    assert any("one machine" in v for v in crowded)
    assert any("locations" in v for v in crowded)
    assert any("lacks service 0" in v for v in instance.violations([0, 1, 3]))
    transient = checker.Instance(EXAMPLE.replace("0 0 30 400", "0 0 17 400"), INITIAL)
    # Process 0 leaves machine 0 and still holds 12 of resource 0 there, beside the 6 of process 2.
    assert any("machine 0 holds 18 of 17" in v for v in transient.violations([1, 3, 0]))


@pytest.fixture
def example(tmp_path):
    (tmp_path / "model").write_text(EXAMPLE)
    (tmp_path / "assignment").write_text(INITIAL)
    return read(tmp_path / "model", tmp_path / "assignment")


def test_the_search_finds_the_best_of_all_assignments(checker, example):
    instance = checker.Instance(EXAMPLE, INITIAL)
    every = [[a, b, c] for a in range(4) for b in range(4) for c in range(4)]
    best = min(instance.cost(a) for a in every if not instance.violations(a))
    solve(
        example, seconds=0.01, seed=1, workers=1
    )  # compiles on a fresh machine, for longer than the next
    at, cost = solve(example, seconds=0.5, seed=1, workers=1)
    assert (best, []) == (instance.cost(at.tolist()), instance.violations(at.tolist()))
    assert best == cost


def test_nothing_to_assign_costs_nothing(tmp_path):
    text = EXAMPLE.replace("3\n0 12 10 1000\n0 10 20 100\n1 6 200 1\n", "0\n")
    (tmp_path / "m").write_text(text)
    (tmp_path / "a").write_text("")
    at, cost = solve(read(tmp_path / "m", tmp_path / "a"), seconds=0.01, seed=1)
    assert ([], 0.0) == (at.tolist(), cost)


def test_two_searches_side_by_side_tell_how_far_they_are(example):
    told = []
    _, cost = solve(
        example, seconds=0.05, seed=1, workers=2, progress=lambda *seen: told.append(seen)
    )
    assert told
    assert all(0.0 <= part <= 1.0 and best >= cost for part, best in told)


def test_files_that_are_cut_or_go_on_are_refused(tmp_path):
    for name, model, assignment in (
        ("ends early", EXAMPLE[:-4], INITIAL),
        ("too many", EXAMPLE + "7", INITIAL),
        ("not an assignment", EXAMPLE, "0 3"),
        ("not an assignment", EXAMPLE, "0 3 4"),
    ):
        (tmp_path / "m").write_text(model)
        (tmp_path / "a").write_text(assignment)
        with pytest.raises(ValueError, match=name):
            read(tmp_path / "m", tmp_path / "a")


def random_instance(seed):
    """A feasible instance with every feature: a transient resource, spread, dependencies, balance."""
    rng = np.random.default_rng(seed)
    machines, services = 6, 8
    sizes = rng.integers(1, 4, services)
    service = np.repeat(np.arange(services), sizes)
    use = rng.integers(1, 20, (service.size, 2))
    at = np.concatenate([rng.permutation(machines)[:n] for n in sizes])
    held = np.stack([np.bincount(at, use[:, k], machines) for k in range(2)], axis=1).astype(int)
    capacity = held + rng.integers(5, 40, held.shape)
    near, site = np.arange(machines) // 3, np.arange(machines) % 3
    lines = ["2", "1 10", "0 5", str(machines)]
    for m in range(machines):
        travel = rng.integers(1, 9, machines)
        travel[m] = 0
        lines.append(
            " ".join(map(str, [near[m], site[m], *capacity[m], *(capacity[m] // 2), *travel]))
        )
    lines.append(str(services))
    for s in range(services):
        here = at[service == s]
        needs = [
            o for o in range(services) if o != s and set(near[here]) <= set(near[at[service == o]])
        ][:1]
        lines.append(" ".join(map(str, [len(set(site[here])), len(needs), *needs])))
    lines.append(str(service.size))
    lines += [
        " ".join(map(str, [s, *u, rng.integers(1, 50)])) for s, u in zip(service, use, strict=True)
    ]
    lines += ["1", "0 1 2", "3", "1 10 4"]
    return "\n".join(lines) + "\n", " ".join(map(str, at))


@pytest.mark.parametrize("seed", range(6))
def test_what_the_search_finds_is_feasible_and_costs_what_it_believes(checker, tmp_path, seed):
    model, initial = random_instance(seed)
    (tmp_path / "m").write_text(model)
    (tmp_path / "a").write_text(initial)
    instance = checker.Instance(model, initial)
    assert [] == instance.violations(instance.initial)
    at, cost = solve(read(tmp_path / "m", tmp_path / "a"), seconds=0.15, seed=seed, workers=1)
    assert [] == instance.violations(at.tolist())
    assert cost == instance.cost(at.tolist()) <= instance.cost(instance.initial)


@pytest.mark.skipif(
    "REASSIGNMENT_DATA" not in os.environ,
    reason="REASSIGNMENT_DATA names no directory with instances",
)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_initial_costs(checker, name):
    data = Path(os.environ["REASSIGNMENT_DATA"])
    instance = checker.Instance(
        *((data / f"{kind}_{name}.txt").read_text() for kind in ("model", "assignment"))
    )
    assert [] == instance.violations(instance.initial)
    assert PUBLISHED[name] == instance.cost(instance.initial)
