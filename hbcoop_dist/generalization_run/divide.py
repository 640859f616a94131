"""Divide a set and draw its map: descriptors are computed once for all splits that one worker does."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.separation import flat_map, separation
from hbcoop_dist.generalization.soap import features
from hbcoop_dist.generalization.splits import split
from hbcoop_dist.generalization_run.make_data import origin_of, set_of, structures_of
from hbcoop_dist.generalization_run.tasks import DataSource
from hbcoop_dist.results import TaskResult

_kept: dict[object, NDArray[np.float64]] = {}


def divided(
    data: DataSource, known: Mapping[str, TaskResult], kind: str, seed: int, validation: float
) -> dict[str, object]:
    """Places of the structures of every side, and the similarity of tested ones to the nearest trained one."""
    structures = structures_of(data, known)
    described = _features(data, structures)
    found = split(
        kind,
        structures,
        described,
        seed=seed,
        validation_fraction=validation,
        largest_train=data.entry.largest_train,
    )
    apart = separation(described, found)
    return {
        "training": found.train,
        "validation": found.validation,
        "test": found.test,
        "similarity": apart.similarity,
        "notes": json.dumps(found.notes),
    }


def mapped(data: DataSource, known: Mapping[str, TaskResult]) -> dict[str, object]:
    """Coordinates of the map of chemical space, and what the store says of a set."""
    structures, left_out = set_of(data, known)
    return {
        **({"dropped": json.dumps(left_out)} if left_out else {}),
        "umap": flat_map(_features(data, structures)),
        "domains": json.dumps([one.domain for one in structures]),
        "parents": json.dumps([one.parent for one in structures]),
        "atoms": np.array([len(one) for one in structures], dtype=np.int64),
        "level_of_theory": origin_of(data)["level_of_theory"],
    }


def _features(data: DataSource, structures: tuple[LabelledStructure, ...]) -> NDArray[np.float64]:
    """Averaged SOAP of a set; only the last set's is kept."""
    key = json.dumps(data.identity, sort_keys=True)
    if key not in _kept:
        _kept.clear()
        species = sorted({int(z) for one in structures for z in one.numbers})
        _kept[key] = features(structures, species)
    return _kept[key]
