"""What a training set says of a network before any training: atomic energies, an energy scale, how many neighbours.

Atomic energies are least squares, so that the network learns what a sum over atoms cannot say; the scale is the RMS of
force components, which makes forces of a network with first parameters as large as those it learns (MACE's way).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.neighbours import edges_of
from hbcoop_dist.generalization.network_spec import NetworkSpec


def fit_baseline(spec: NetworkSpec, training: Sequence[LabelledStructure]) -> NetworkSpec:
    """The spec with what the training set says of it.

    Raises
    ------
    ValueError
        When there is no structure, or one holds an element that is not the network's.
    """
    if not training:
        raise ValueError("training set: expected structures, found none")
    require_known(spec, training)
    counts = np.stack([[np.sum(one.numbers == z) for z in spec.elements] for one in training]).astype(float)
    energies = np.array([one.energy for one in training])
    # the smallest solution, where compositions do not tell elements apart
    atomic = np.linalg.lstsq(counts, energies, rcond=1e-10)[0]
    edges, _ = edges_of(training, spec.cutoff)
    forces = [one.forces for one in training if one.forces is not None]
    spread = np.concatenate(forces) if forces else (energies - counts @ atomic) / counts.sum(axis=1)
    return replace(
        spec,
        atomic_energies=tuple(float(value) for value in atomic),
        scale=float(np.sqrt(np.mean(spread**2))) or 1.0,
        average_neighbours=max(edges.shape[1] / int(counts.sum()), 1.0),
    )


def require_known(spec: NetworkSpec, structures: Sequence[LabelledStructure]) -> None:
    """Raise `ValueError`, naming them, when structures hold elements that are not the network's."""
    found = {int(z) for one in structures for z in one.numbers}
    if unknown := sorted(found - set(spec.elements)):
        raise ValueError(f"network of elements {spec.elements}: expected no others, found atomic numbers {unknown}")
