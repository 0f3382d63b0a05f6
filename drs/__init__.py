"""DRS as a library: give it a snapshot of a cluster, get back what to move, why, in which order.

Importing it is light: OR-Tools is loaded when the first model is solved.
"""

from drs.model import Automation, HostState, Problem, ProblemKind, Snapshot
from drs.objective import Objective, objective
from drs.plan import Action, Move, Plan, PlanStatus, Reason, Recommendation
from drs.policy import Budget, DeadlineBudget, Policy, Preference, StepBudget
from drs.recommend import greedy_plan, recommend
from drs.resource_pool import ResourcePool
from drs.rules import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    Rule,
    Strength,
    Violation,
    VmHostAffinity,
    VmHostAntiAffinity,
)

__all__ = [
    "Action",
    "Affinity",
    "AntiAffinity",
    "Automation",
    "Budget",
    "DeadlineBudget",
    "DomainSpread",
    "HostState",
    "Move",
    "Objective",
    "Plan",
    "PlanStatus",
    "Policy",
    "Preference",
    "Problem",
    "ProblemKind",
    "Reason",
    "Recommendation",
    "ResourcePool",
    "Rule",
    "Snapshot",
    "StepBudget",
    "Strength",
    "Violation",
    "VmHostAffinity",
    "VmHostAntiAffinity",
    "greedy_plan",
    "objective",
    "recommend",
]
