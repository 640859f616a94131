"""From task results to what the store keeps: values by variable, and the labels of the axes they lie along. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.campaigns.generalization.schema import CELL_VARIABLES
from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.labelled_structures import PackedStructures

Axes = dict[str, list[str | int]]
Values = dict[str, object]

TRAINING, VALIDATION, TEST = 0, 1, 2
"""Parts of a set, as the variable ``part`` has them."""

_SCALARS = tuple(one.name for one in CELL_VARIABLES if one.dims == CELL_DIMS)
_PROVENANCE = ("versions", "device", "dtype", "host", "computed_at")


def dataset_values(labels: Sequence[TaskResult], mapped: TaskResult) -> tuple[Axes, Values]:
    """What is known of a labelled set, in the order of its structures; the axis ``structure`` is at least as long.

    Parameters
    ----------
    labels : sequence of TaskResult
        Its chunks; none where it was read from files, whose description the map then has.
    mapped : TaskResult
    """
    structures = [one for result in labels for one in PackedStructures.from_arrays(result.data).structures()]
    data = mapped.data
    domains = [one.domain for one in structures] or json.loads(str(data["domains"]))
    parents = [one.parent for one in structures] or json.loads(str(data["parents"]))
    sizes = [len(one) for one in structures] or _ints(data["atoms"]).tolist()
    dropped = [line for result in labels for line in json.loads(str(result.data["dropped"]))]
    dropped += json.loads(str(data.get("dropped", "[]")))
    umap = np.asarray(data["umap"], dtype=float)
    return {"structure": list(range(len(domains)))}, {
        "level_of_theory": str(data["level_of_theory"]),
        "dropped": "\n".join(dropped),
        "structure_domain": domains,
        "structure_parent": parents,
        "structure_atoms": sizes,
        "umap_1": umap[:, 0],
        "umap_2": umap[:, 1],
    }


def split_values(divided: TaskResult, n: int) -> Values:
    """Which part each of n structures belongs to, and how near the test structures are to the training ones."""
    data = divided.data
    parts = {name: _ints(data[name]) for name in ("training", "validation", "test")}
    part, similarity = np.full(n, -1, dtype=np.int64), np.full(n, np.nan)
    for number, places in zip((TRAINING, VALIDATION, TEST), parts.values(), strict=True):
        part[places] = number
    similarity[parts["test"]] = np.asarray(data["similarity"], dtype=float)
    return {"part": part, "similarity": similarity}


def cell_values(trained: TaskResult, evaluated: TaskResult) -> tuple[Axes, Values]:
    """Errors, learning curve and provenance of one network; arrays along the axes that come with them."""
    found: Mapping[str, Any] = {**trained.data, **evaluated.data}
    axes: Axes = {
        "step": _ints(found["step"]).tolist(),
        "atoms": _ints(found["atoms"]).tolist(),
        "domain": [str(name) for name in json.loads(str(found["domains"]))],
    }
    values: Values = {name: found[name] for name in _SCALARS if name in found}
    values |= {one.name: found[one.name] for one in CELL_VARIABLES if len(one.dims) > len(CELL_DIMS)}
    values |= {name: trained.provenance.get(name, "") for name in _PROVENANCE}
    values["parameter_hash"] = trained.provenance["parameter_hash"]
    values["seconds"] = trained.seconds + evaluated.seconds
    return axes, values


def _ints(value: object) -> NDArray[np.int64]:
    return np.asarray(value, dtype=np.int64)
