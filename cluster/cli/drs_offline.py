"""`vmotion drs recommend`, `explain` and `check`: from a snapshot file to an answer and an exit status."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drs import (
    DeadlineBudget,
    Plan,
    PlanStatus,
    Policy,
    Snapshot,
    StepBudget,
    greedy_plan,
    objective,
    recommend,
)
from drs.plan_file import load_plan, plan_document
from drs.policy_file import PolicyMistakes, load_policy
from drs.situation import situation_of, vm_situation

DONE, FAILED, BAD_INPUT = 0, 1, 2


def recommend_command(
    snapshot_path: str,
    *,
    policy_path: str | None,
    threshold: int | None,
    seed: int,
    steps: int | None,
    seconds: float | None,
    greedy: bool,
    out: str | None,
    as_json: bool,
) -> int:
    """Print a plan; return the exit status. Every error is a message, not a traceback."""
    if steps is not None and seconds is not None:
        return _bad("--steps and --seconds exclude each other")
    read = _read(snapshot_path, policy_path)
    if read is None:
        return BAD_INPUT
    snapshot, policy = read
    if threshold is not None:
        policy = replace(policy, migration_threshold=threshold)
    now = snapshot.taken_at_s
    begin_s = time.perf_counter()
    if greedy:
        plan = greedy_plan(snapshot, policy, now=now)
    else:
        budget = (
            DeadlineBudget(deadline_s=now + seconds)
            if seconds is not None
            else StepBudget(steps=StepBudget().steps if steps is None else steps)
        )
        plan = recommend(snapshot, policy, now=now, rng=np.random.default_rng(seed), budget=budget)
    document = {
        **plan_document(plan, snapshot, policy),
        "solve_s": time.perf_counter() - begin_s,
        "seed": seed,
    }
    text = json.dumps(document, indent=2) + "\n"
    if out is not None:
        try:
            Path(out).write_text(text, encoding="utf-8")
        except OSError as error:
            return _bad(f"{out}: {error.strerror}")
    if as_json:
        sys.stdout.write(text)
    else:
        from cluster.cli.drs_tables import show_plan

        show_plan(document, snapshot_path)
    match plan.status:
        case PlanStatus.INVALID:
            return BAD_INPUT
        case PlanStatus.INCOMPLETE:
            return FAILED
        case _:
            return DONE


def explain_command(
    snapshot_path: str, *, policy_path: str | None, vm: str | None, as_json: bool
) -> int:
    """Print how the cluster, or one VM, stands; 1 if something cannot hold."""
    read = _read(snapshot_path, policy_path)
    if read is None:
        return BAD_INPUT
    snapshot, policy = read
    problems = snapshot.problems()
    fatal = [p.message for p in problems if p.fatal]
    if fatal:
        return _bad(*(f"{snapshot_path}: {text}" for text in fatal))
    from cluster.cli import drs_tables

    if vm is not None:
        if vm not in snapshot.vms:
            return _bad(f"{snapshot_path}: no VM {vm}")
        said = vm_situation(snapshot, policy, vm)
        _print(said, as_json, drs_tables.show_vm)
        return DONE if said["can_go_to"] else FAILED
    told = situation_of(snapshot, policy)
    _print(told, as_json, drs_tables.show_situation)
    return FAILED if told["conflict"] is not None else DONE


def check_command(
    snapshot_path: str, plan_path: str | None, *, policy_path: str | None, as_json: bool
) -> int:
    """Print all problems of a snapshot, or all violations of a plan; 1 if there are any."""
    read = _read(snapshot_path, policy_path)
    if read is None:
        return BAD_INPUT
    snapshot, policy = read
    problems = snapshot.problems()
    said: dict[str, Any] = {
        "problems": [
            {"kind": p.kind.value, "subject": p.subject, "message": p.message, "fatal": p.fatal}
            for p in problems
        ],
        "violations": [],
        "objective": None,
    }
    if plan_path is not None:
        if any(p.fatal for p in problems):
            return _bad(*(f"{snapshot_path}: {p.message}" for p in problems if p.fatal))
        try:
            plan = load_plan(Path(plan_path), snapshot)
        except OSError as error:
            return _bad(f"{plan_path}: {error.strerror}")
        except ValueError as error:
            return _bad(str(error))
        said.update(_judged(snapshot, plan, policy))
    from cluster.cli.drs_tables import show_check

    _print(said, as_json, show_check)
    return FAILED if said["violations"] or (plan_path is None and problems) else DONE


def _judged(snapshot: Snapshot, plan: Plan, policy: Policy) -> dict[str, Any]:
    """A plan's violations and, where it makes sense at all, its objective."""
    violations = plan.check(
        snapshot,
        concurrent_per_host_max=policy.concurrent_per_host_max,
        concurrent_max=policy.concurrent_max,
    )
    senseless = any(v.rule == "action" for v in violations)
    return {
        "violations": [
            {
                "rule": v.rule,
                "vms": list(v.vms),
                "hosts": list(v.hosts),
                "message": v.message,
                "at_s": v.at_s,
                "strength": v.strength.value,
            }
            for v in violations
        ],
        "objective": None
        if senseless
        else objective(snapshot, plan, policy, now=snapshot.taken_at_s)._asdict(),
    }


def _read(snapshot_path: str, policy_path: str | None) -> tuple[Snapshot, Policy] | None:
    """The two files, or None after every mistake in them was told."""
    mistakes: list[str] = []
    snapshot, policy = None, Policy()
    try:
        snapshot = Snapshot.load(Path(snapshot_path))
    except OSError as error:
        mistakes.append(f"{snapshot_path}: {error.strerror or error}")
    except ValueError as error:
        mistakes.append(str(error))
    if policy_path is not None:
        try:
            policy = load_policy(Path(policy_path))
        except OSError as error:
            mistakes.append(f"{policy_path}: {error.strerror or error}")
        except PolicyMistakes as error:
            mistakes += [f"{policy_path}: {text}" for text in error.mistakes]
    if mistakes or snapshot is None:
        _bad(*mistakes)
        return None
    return snapshot, policy


def _bad(*messages: str) -> int:
    for message in messages:
        print(f"vmotion: {message}", file=sys.stderr)
    return BAD_INPUT


def _print(said: dict[str, Any], as_json: bool, show: Any) -> None:
    if as_json:
        print(json.dumps(said, indent=2))
    else:
        show(said)
