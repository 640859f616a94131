"""Answer a plan's questions: the rotamers of cells that take the lowest ones, once the candidates have results."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.rotamer_search import Chosen, lowest
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.structures import Rotamer
from hbcoop_dist.structures.chains import Conformer

Question = tuple[str, tuple[Conformer, ...]]


def choose_rotamers(plan: Plan, results: Callable[[str], TaskResult | None]) -> Chosen:
    """Rotamers for every question whose candidates all have results.

    One without a result leaves its questions open: what is chosen must not depend on what went wrong.  One that broke
    or did not converge has no minimum there, and is no choice.

    Parameters
    ----------
    plan : Plan
    results : callable
        Task key -> TaskResult, or None where there is none or it failed.
    """
    chosen: dict[Question, tuple[Rotamer, ...] | None] = {}
    for cell, keys in plan.questions.items():
        question = (cell.model, cell.system.conformers)
        if question in chosen:
            continue
        found = {key: result for key in keys if (result := results(key)) is not None}
        if len(found) == len(keys):
            energies = {
                plan.tasks[key].chain: float(cast(float, result.data["energy"]))
                for key, result in found.items()
                if result.status == "done"
            }
            chosen[question] = lowest(cell.system.conformers, energies)
    return chosen
