"""Shared by all tests: where checkpoints are looked for, and campaigns run in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.hbond.plan import HBondPlan
    from hbcoop_dist.core.results import Record, TaskResult

    Computed = tuple[HBondPlan, dict[str, TaskResult[Any]], list[Record]]

# Before any numerical library is imported, so nothing of the package is imported above: more threads make small calls
# slower, and change the last bits of what worker processes with one thread give.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def checkpoints() -> None:
    """Weights beside the checkout are used when the user names none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "weights"
    if "HBCOOP_CHECKPOINTS" not in os.environ and beside.is_dir():
        os.environ["HBCOOP_CHECKPOINTS"] = str(beside)


@pytest.fixture(scope="session")
def compute() -> Callable[..., Computed]:
    """Plan, task results and cell records of a campaign given by its fields, computed here, each spec once."""
    computed: dict[str, Computed] = {}

    def run(**fields: Any) -> Computed:
        name = json.dumps(fields, sort_keys=True)
        if name not in computed:
            computed[name] = _compute(fields)
        return computed[name]

    return run


def _compute(fields: dict[str, Any]) -> Computed:
    from hbcoop_dist.campaigns.hbond.plan import make_plan
    from hbcoop_dist.campaigns.hbond.records import cell_record
    from hbcoop_dist.campaigns.hbond.spec import HBondSpec
    from hbcoop_dist.campaigns.hbond.worker import ChainWork
    from hbcoop_dist.execution.scheduler import SerialBackend, iter_results

    plan = make_plan(HBondSpec.model_validate({"campaign": "test", **fields}))
    computed = iter_results(plan.batches, ChainWork.factory(plan.sources, plan.spec.minimize), {}, SerialBackend())
    results = {result.key: result for result in computed}
    return plan, results, [cell_record(plan, cell, results.__getitem__) for cell in plan.cell_tasks]
