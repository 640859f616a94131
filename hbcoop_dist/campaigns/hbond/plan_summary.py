"""A plan in words: what would run, what is shared, what is skipped and why."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from hbcoop_dist.structures.complexes import distinct_fragments
from hbcoop_dist.structures.construction import build

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.hbond.plan import Plan


def single_points(plan: Plan) -> dict[str, int]:
    """Distinct single points of every model: fragments of each distinct geometry, monomers of Hessians left out."""
    counts: Counter[str] = Counter()
    # thousands of models share a system, and its fragments do not depend on where its atoms are
    whole = cache(lambda system: len(distinct_fragments(build(system))))
    for task in plan.tasks.values():
        if task.kind == "energies":
            counts[task.model] += whole(task.system) if task.fragments is None else len(task.fragments)
    return dict(counts)


def asked_points(plan: Plan) -> dict[str, int]:
    """Single points a loop over H-bonds would do: ten for each (Eq. 1 and its electronic part)."""
    counts: Counter[str] = Counter()
    for cell in plan.cell_tasks:
        counts[cell.model] += 10 * (cell.length - 1)
    return dict(counts)


def describe(plan: Plan) -> str:
    """Plain text, one line per model."""
    # a model that shares every task with another has none of its own
    points, asked = Counter(single_points(plan)), asked_points(plan)
    minimisations = Counter(task.model for task in plan.tasks.values() if task.kind == "minimise")
    candidates = Counter(task.model for task in plan.tasks.values() if task.kind == "candidate")
    waiting = Counter(cell.model for cell in plan.questions)
    batches = Counter(batch.model for batch in plan.batches)
    running = Counter(c.model for c in plan.cell_tasks)
    skipped: dict[str, Counter[str]] = {}
    for cell, reason in plan.skipped.items():
        skipped.setdefault(cell.model, Counter())[reason] += 1
    systems = Counter(cell.model for cell in plan.systems)
    for system, reason in plan.skipped_systems.items():
        skipped.setdefault(system.model, Counter())[reason] += 1
    lines = [
        f"campaign {plan.spec.campaign}: {len(plan.cells) + len(plan.systems) + len(plan.skipped_systems)} cells, "
        f"{len(plan.tasks)} tasks in {len(plan.batches)} batches"
    ]
    width = max(len(entry.name) for entry in plan.spec.models)
    for entry in plan.spec.models:
        name = entry.name
        if running[name]:
            line = (
                f"{running[name]:4d} cells, {minimisations[name]:4d} minimisations, {points[name]:5d} single points "
                f"(a loop over H-bonds: {asked[name]}), {batches[name]:3d} batches"
            )
            lines.append(f"  {name:<{width}}  {line}")
        if waiting[name]:
            line = f"{waiting[name]:4d} cells wait for their rotamers, {candidates[name]} short chains decide"
            lines.append(f"  {name:<{width}}  {line}")
        if systems[name]:
            lines.append(f"  {name:<{width}}  {systems[name]:4d} marked systems")
        for reason, count in skipped.get(name, {}).items():
            lines.append(f"  {name:<{width}}  {count:4d} cells skipped: {reason}")
    return "\n".join(lines)
