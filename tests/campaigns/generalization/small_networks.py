"""Small generalization campaigns: few structures, networks of four channels, a few steps."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan, make_plan
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec, load_spec
from hbcoop_dist.campaigns.runner import Summary, run
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import journal_path

# mace is not imported here, since importing it changes how torch unpickles in this process
needs_packages = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("dscribe", "umap", "mace")), reason="needs dscribe, umap and mace"
)

NETWORK = {"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0}
TRAINING = {"steps": 4, "batch_size": 4, "validate_every": 2}
SPEC: dict[str, Any] = {
    "campaign": "small",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 16, "molecules": [1, 2, 2]},
    "architectures": NETWORK,
    "training": TRAINING,
}


def small_spec(**changes: Any) -> GeneralizationSpec:
    """Return the small campaign with other fields."""
    return GeneralizationSpec.model_validate(SPEC | changes)


def write_campaign(folder: Path, **changes: Any) -> Path:
    """Write the small campaign with other fields to a file."""
    path = folder / "small.yaml"
    path.write_text(dump_yaml(SPEC | changes))
    return path


def plan_campaign(folder: Path, **changes: Any) -> GeneralizationPlan:
    """Plan the small campaign with other fields, from a file in the folder."""
    return make_plan(load_spec(write_campaign(folder, **changes)))


def run_here(plan: GeneralizationPlan, store: Path, **options: Any) -> Summary:
    """Run a plan in this process."""
    return run(plan, store, display=QuietDisplay(), **{"serial": True, **options})


def count_results(store: Path) -> int:
    """Return the number of results in the journal of a store."""
    path = journal_path(store)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def count_kinds(plan: GeneralizationPlan) -> dict[str, int]:
    """Return the number of tasks of each kind."""
    kinds = [task.kind for task in plan.tasks.values()]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
