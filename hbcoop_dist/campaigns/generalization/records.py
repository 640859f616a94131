"""Records of generalization campaigns: rows of networks, splits and sets, from task results. Pure, without torch."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan, NetworkTasks
from hbcoop_dist.campaigns.generalization.schema import DATASET_DIMS, SPLIT_DIMS
from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS, TrainingCell
from hbcoop_dist.campaigns.generalization.tasks import (
    EvaluationResult,
    LabelResult,
    MapResult,
    SplitResult,
    TrainingResult,
)
from hbcoop_dist.campaigns.kind import RowLabels
from hbcoop_dist.core.results import Label, Lookup, Record, TaskResult, Value

TRAINING, VALIDATION, TEST = 0, 1, 2
"""Sides of a split, as values of the variable ``part``."""

_EV_TO_MEV = 1000.0
_PROVENANCE = ("versions", "device", "dtype", "host", "computed_at", "parameter_hash")
_ERRORS = (
    "energy_rmse",
    "energy_mae",
    "forces_rmse",
    "forces_mae",
    "charges_mae",
    "charges_correlation",
    "dipole_rmse",
    "interaction_near_rmse",
    "interaction_near_mae",
    "interaction_beyond_rmse",
    "interaction_beyond_mae",
    "n_test",
    "n_near",
    "n_beyond",
)


def cell_records(
    plan: GeneralizationPlan, cell: TrainingCell, results: Lookup, written: Container[RowLabels]
) -> list[Record]:
    """Return the record of a network, and those of its split and its set unless they are written already.

    Parameters
    ----------
    plan : Plan
    cell : TrainingCell
    results : callable
        From the key of a task to its result.
    written : container of (str, tuple)
        Tables and labels of the rows that are written.
    """
    tasks = plan.cell_tasks[cell]
    failed = next((results(key) for key in tasks.keys if results(key).status != "done"), None)
    labels: dict[str, Label] = {dim: getattr(cell, dim) for dim in CELL_DIMS}
    if failed is not None:
        # the first task that failed is the cause; the others only miss an input
        return [Record("cell", labels, failed.status, failed.reason, {"task_key": tasks.final_key})]
    records = [_network_record(labels, tasks, results)]
    split = {dim: labels[dim] for dim in SPLIT_DIMS}
    mapped = results(tasks.mapped).payload_as(MapResult)
    if ("dataset", (cell.dataset,)) not in written:
        records.append(_dataset_record(cell.dataset, [results(key) for key in tasks.labels], mapped))
    if ("split", tuple(split.values())) not in written:
        records.append(_split_record(split, results(tasks.divided).payload_as(SplitResult), len(mapped.domains)))
    return records


def _network_record(labels: dict[str, Label], tasks: NetworkTasks, results: Lookup) -> Record:
    trained, evaluated = results(tasks.trained), results(tasks.evaluated)
    training, errors = trained.payload_as(TrainingResult), evaluated.payload_as(EvaluationResult)
    curve = training.network.curve
    values: dict[str, Value] = {name: getattr(errors, name) for name in _ERRORS}
    values |= {name: getattr(trained.provenance, name) for name in _PROVENANCE}
    values |= {
        "task_key": tasks.final_key,
        "seconds": trained.seconds + evaluated.seconds,
        "n_training": training.n_training,
        "parameters": training.network.n_parameters,
        "best_step": curve.best_step,
        "training_loss": curve.training_loss,
        "validation_energy_mae": _EV_TO_MEV * curve.energy_mae,
        "validation_forces_rmse": _EV_TO_MEV * curve.forces_rmse,
    }
    for axis, groups in (("domain", errors.by_domain), ("atoms", errors.by_size)):
        for name in ("energy_rmse", "forces_rmse", "count"):
            values[f"{axis}_{name}"] = np.array([getattr(group, name) for group in groups])
    along: dict[str, list[Label]] = {
        "step": curve.step.tolist(),
        "domain": [group.label for group in errors.by_domain],
        "atoms": [group.label for group in errors.by_size],
    }
    return Record("cell", labels, values=values, along=along)


def _dataset_record(name: str, labels: list[TaskResult[Any]], mapped: MapResult) -> Record:
    chunks = [result.payload_as(LabelResult) for result in labels]
    dropped = [line for chunk in chunks for line in chunk.dropped]
    values: dict[str, Value] = {
        "level_of_theory": mapped.level_of_theory,
        "dropped": "\n".join([*dropped, *mapped.dropped]),
        "structure_domain": list(mapped.domains),
        "structure_parent": list(mapped.parents),
        "structure_atoms": mapped.atoms,
        "umap_1": mapped.umap[:, 0],
        "umap_2": mapped.umap[:, 1],
    }
    along = {"structure": list(range(len(mapped.domains)))}
    return Record("dataset", {DATASET_DIMS[0]: name}, values=values, along=along)


def _split_record(labels: dict[str, Label], sides: SplitResult, n_structures: int) -> Record:
    part, similarity = np.full(n_structures, -1, dtype=np.int64), np.full(n_structures, np.nan)
    for number, indices in ((TRAINING, sides.training), (VALIDATION, sides.validation), (TEST, sides.test)):
        part[indices] = number
    similarity[sides.test] = sides.similarity
    values: dict[str, Value] = {"part": part, "similarity": similarity}
    return Record("split", labels, values=values, along={"structure": list(range(n_structures))})
