"""Split a set and map its chemical space; splits that one worker computes share the descriptors of a small set."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from hbcoop_dist.campaigns.generalization.dataset_parts import SetOfTask, Traits, origin_of, traits_of
from hbcoop_dist.campaigns.generalization.tasks import DataSource, MapResult, SplitResult, TrainingTask
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.splits.feature_rows import Rows
from hbcoop_dist.learning.splits.side_separation import separation, umap_coordinates
from hbcoop_dist.learning.splits.soap_descriptors import soap_features
from hbcoop_dist.learning.splits.strategies import split

_latest: dict[str, FloatArray] = {}
"""Descriptors of the set that was described last, by its identity."""


def split_set(task: TrainingTask, labelled: SetOfTask) -> SplitResult:
    """Split a set, and measure how far the test side is from the training side."""
    assert task.training is not None
    structures, descriptors, _ = _described(labelled)
    sides = split(
        task.split,
        structures,
        descriptors,
        seed=task.seed,
        validation_fraction=task.training.validation,
        largest_train=task.data.entry.largest_train,
    )
    similarity = separation(descriptors, sides).similarity
    return SplitResult(sides.train, sides.validation, sides.test, similarity, (*sides.notes, *_mixed(structures)))


def map_set(labelled: SetOfTask) -> MapResult:
    """Map the chemical space of a set."""
    structures, descriptors, left_out = _described(labelled)
    return MapResult(
        umap=umap_coordinates(descriptors),
        domains=tuple(structure.domain for structure in structures),
        parents=tuple(structure.parent for structure in structures),
        atoms=np.array([len(structure) for structure in structures], dtype=np.int64),
        level_of_theory=origin_of(labelled.data)["level_of_theory"],
        dropped=left_out,
    )


def _described(labelled: SetOfTask) -> tuple[Sequence[Traits], FloatArray | Rows, tuple[str, ...]]:
    """Return traits and averaged SOAP of a set, and lines about structures that could not be used."""
    if labelled.data.described:
        traits, left_out = labelled.traits()
        return traits, labelled.descriptors(), left_out
    structures, left_out = labelled.structures()
    return [traits_of(structure) for structure in structures], _features(labelled.data, structures), left_out


def _mixed(structures: Sequence[Traits]) -> tuple[str, ...]:
    periodic = sum(structure.periodic for structure in structures)
    if periodic in (0, len(structures)):
        return ()
    return (f"{periodic} structures are periodic and {len(structures) - periodic} are not; each is described as it is",)


def _features(data: DataSource, structures: tuple[LabelledStructure, ...]) -> FloatArray:
    key = json.dumps(data.identity, sort_keys=True)
    if key not in _latest:
        _latest.clear()
        species = sorted({int(z) for structure in structures for z in structure.numbers})
        _latest[key] = soap_features(structures, species)
    return _latest[key]
