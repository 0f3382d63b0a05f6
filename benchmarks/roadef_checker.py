"""The official objective and constraints of the ROADEF/EURO 2012 challenge, exactly, in whole numbers.

Knows nothing of the search and shares no code with it: reads the files itself.

    python benchmarks/roadef_checker.py MODEL INITIAL ASSIGNMENT
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path


class Instance:
    """An instance and its initial assignment, as lists of Python integers."""

    def __init__(self, model: str, initial: str) -> None:
        numbers = iter(map(int, model.split()))
        self.resources = [(next(numbers), next(numbers)) for _ in range(next(numbers))]
        r = len(self.resources)
        machines = next(numbers)
        self.near, self.site, self.capacity, self.safety, self.travel = [], [], [], [], []
        for _ in range(machines):
            self.near.append(next(numbers))
            self.site.append(next(numbers))
            self.capacity.append([next(numbers) for _ in range(r)])
            self.safety.append([next(numbers) for _ in range(r)])
            self.travel.append([next(numbers) for _ in range(machines)])
        self.spread, self.needs = [], []
        for _ in range(next(numbers)):
            self.spread.append(next(numbers))
            self.needs.append([next(numbers) for _ in range(next(numbers))])
        self.service, self.use, self.move_cost = [], [], []
        for _ in range(next(numbers)):
            self.service.append(next(numbers))
            self.use.append([next(numbers) for _ in range(r)])
            self.move_cost.append(next(numbers))
        self.balance = [tuple(next(numbers) for _ in range(4)) for _ in range(next(numbers))]
        self.process_weight, self.service_weight, self.machine_weight = (
            next(numbers) for _ in range(3)
        )
        if next(numbers, None) is not None:
            raise ValueError("the model goes on after its end")
        self.initial = [int(word) for word in initial.split()]

    def usage(self, assignment: list[int]) -> list[list[int]]:
        used = [[0] * len(self.resources) for _ in self.capacity]
        for process, machine in enumerate(assignment):
            for k, amount in enumerate(self.use[process]):
                used[machine][k] += amount
        return used

    def violations(self, assignment: list[int]) -> list[str]:
        """Every constraint that the assignment breaks; empty when it is feasible."""
        if len(assignment) != len(self.service) or not all(
            0 <= m < len(self.near) for m in assignment
        ):
            return ["not an assignment of every process to a machine"]
        found = []
        held = self.usage(assignment)
        for process, (old, new) in enumerate(zip(self.initial, assignment, strict=True)):
            if old != new:
                for k, (transient, _) in enumerate(self.resources):
                    held[old][k] += self.use[process][k] * transient
        for machine, row in enumerate(held):
            for k, amount in enumerate(row):
                if amount > self.capacity[machine][k]:
                    found.append(
                        f"machine {machine} holds {amount} of {self.capacity[machine][k]} of resource {k}"
                    )
        machines, sites, nears = defaultdict(list), defaultdict(set), defaultdict(set)
        for process, machine in enumerate(assignment):
            s = self.service[process]
            machines[s].append(machine)
            sites[s].add(self.site[machine])
            nears[s].add(self.near[machine])
        for s, spread in enumerate(self.spread):
            if len(set(machines[s])) < len(machines[s]):
                found.append(f"service {s} has two processes on one machine")
            if len(sites[s]) < spread:
                found.append(f"service {s} is at {len(sites[s])} of {spread} locations")
            for other in self.needs[s]:
                found += [
                    f"service {s} lacks service {other} in neighbourhood {near}"
                    for near in nears[s] - nears[other]
                ]
        return found

    def cost(self, assignment: list[int]) -> int:
        """The official objective."""
        total = 0
        for machine, row in enumerate(self.usage(assignment)):
            for k, (_, weight) in enumerate(self.resources):
                total += weight * max(0, row[k] - self.safety[machine][k])
            left = [c - u for c, u in zip(self.capacity[machine], row, strict=True)]
            for first, second, ratio, weight in self.balance:
                total += weight * max(0, ratio * left[first] - left[second])
        moved = Counter()
        for process, (old, new) in enumerate(zip(self.initial, assignment, strict=True)):
            if old != new:
                total += self.process_weight * self.move_cost[process]
                moved[self.service[process]] += 1
            total += self.machine_weight * self.travel[old][new]
        return total + self.service_weight * max(moved.values(), default=0)


def main() -> int:
    if len(sys.argv) != 4:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    model, initial, assignment = (Path(name).read_text(encoding="ascii") for name in sys.argv[1:])
    instance = Instance(model, initial)
    wanted = [int(word) for word in assignment.split()]
    broken = instance.violations(wanted)
    for text in broken:
        sys.stderr.write(f"{text}\n")
    sys.stdout.write(f"{instance.cost(wanted)}\n" if not broken else "infeasible\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
