"""Divide a set and draw its map; descriptors of a small set are computed once for all splits that one worker does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.campaigns.generalization.dataset_parts import Outline, blocks_of, origin_of, outlines, set_of
from hbcoop_dist.campaigns.generalization.tasks import DataSource
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.splits.feature_rows import Rows
from hbcoop_dist.learning.splits.side_separation import separation, umap_coordinates
from hbcoop_dist.learning.splits.soap import soap_features
from hbcoop_dist.learning.splits.strategies import split

FloatArray = NDArray[np.float64]

_kept: dict[object, FloatArray] = {}


def divided(
    data: DataSource, known: Mapping[str, TaskResult], kind: str, seed: int, validation: float
) -> dict[str, object]:
    """Places of the structures of every side, and the similarity of tested ones to the nearest trained one."""
    structures, rows, _ = _described(data, known)
    found = split(
        kind,
        structures,
        rows,
        seed=seed,
        validation_fraction=validation,
        largest_train=data.entry.largest_train,
    )
    apart = separation(rows, found)
    return {
        "training": found.train,
        "validation": found.validation,
        "test": found.test,
        "similarity": apart.similarity,
        "notes": json.dumps((*found.notes, *_mixed(structures))),
    }


def mapped(data: DataSource, known: Mapping[str, TaskResult]) -> dict[str, object]:
    """Coordinates of the map of chemical space, and what the store says of a set."""
    structures, rows, left_out = _described(data, known)
    return {
        **({"dropped": json.dumps(left_out)} if left_out else {}),
        "umap": umap_coordinates(rows),
        "domains": json.dumps([one.domain for one in structures]),
        "parents": json.dumps([one.parent for one in structures]),
        "atoms": np.array([len(one) for one in structures], dtype=np.int64),
        "level_of_theory": origin_of(data)["level_of_theory"],
    }


def _described(
    data: DataSource, known: Mapping[str, TaskResult]
) -> tuple[Sequence[Outline], FloatArray | Rows, tuple[str, ...]]:
    """Outlines of a set, its averaged SOAP, which a large one has already, and lines about what could not be used."""
    if data.described:
        found, left_out = outlines(data, known)
        return found, blocks_of(data, known), left_out
    structures, left_out = set_of(data, known)
    found = [Outline(one.parent, one.domain, len(one), one.cell is not None) for one in structures]
    return found, _features(data, structures), left_out


def _mixed(structures: Sequence[Outline]) -> tuple[str, ...]:
    periodic = sum(one.periodic for one in structures)
    if periodic in (0, len(structures)):
        return ()
    return (f"{periodic} structures repeat and {len(structures) - periodic} do not; both are described as they are",)


def _features(data: DataSource, structures: tuple[LabelledStructure, ...]) -> FloatArray:
    """Averaged SOAP of a small set; only the last set's is kept."""
    key = json.dumps(data.identity, sort_keys=True)
    if key not in _kept:
        _kept.clear()
        species = sorted({int(z) for one in structures for z in one.numbers})
        _kept[key] = soap_features(structures, species)
    return _kept[key]
