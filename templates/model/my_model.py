"""my-model for hbcoop_dist: a card that describes the model, and a family that loads it.

The model works as it is: molecules of springs, Lennard-Jones and point charges between them (those of Amber's ACE-NME
and of TIP3P). Replace the parts marked REPLACE; `hbcoop models check my-model` measures what the card declares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.plugin import (
    Abilities,
    About,
    CheckpointInfo,
    Evaluation,
    ModelCard,
    ModelError,
    ModelFamily,
    Potential,
    Requirements,
    Structure,
    join,
    monomer,
    parameter_hash,
    require_plain,
    split,
)

FloatArray = NDArray[np.float64]

# REPLACE up to MyPotential: your parameters. Those of a network are in a checkpoint, which only `load` reads.
COULOMB = 14.399645  # eV A / e^2
KCAL = 0.0433641  # eV
STIFFNESS = 10.0  # eV/A^2
SHAPES = {  # A; one row per atom, NMA in the order of NMA_ATOMS, water O, H, H
    "nma": monomer().positions,
    "water": np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.2400, 0.9266, 0.0]]),
}
CHARGES = {  # e
    "nma": np.array([-0.3662, 0.5972, -0.5679, -0.4157, 0.2719, -0.1490, *3 * [0.1123], *3 * [0.0976]]),
    "water": np.array([-0.834, 0.417, 0.417]),
}
RADII = {  # A, half of the distance of lowest energy
    "nma": np.array([1.908, 1.908, 1.6612, 1.824, 0.6, 1.908, *3 * [1.487], *3 * [1.387]]),
    "water": np.array([1.7683, 0.0, 0.0]),
}
DEPTHS = {  # eV
    "nma": KCAL * np.array([0.1094, 0.086, 0.21, 0.17, 0.0157, 0.1094, *6 * [0.0157]]),
    "water": KCAL * np.array([0.152, 0.0, 0.0]),
}

# Part of the key of every result, so that another set of parameters is another model.
TABLES = {"shape": SHAPES, "charges": CHARGES, "radii": RADII, "depths": DEPTHS}
PARAMETERS = parameter_hash(
    {
        "stiffness": np.array(STIFFNESS),
        **{f"{name} {kind}": values for name, table in TABLES.items() for kind, values in table.items()},
    }
)


@dataclass(frozen=True, slots=True)
class MyPotential(Potential):
    """A loaded model; `hbcoop_dist.plugin.Potential` documents the interface."""

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
        """Compute energies, eV, and forces, eV/A, of all structures at once: one result each, in order."""
        kinds = [kind for structure in structures for kind in structure.kinds]
        if unknown := sorted(set(kinds) - set(SHAPES)):
            raise ModelError(f"model {self.card.name}: expected {', '.join(SHAPES)}, found {', '.join(unknown)}")
        # One graph of all atoms: `pairs` has all ordered pairs of one structure, `near` those within the cutoff.
        graph = join(structures, cutoff=np.inf)
        first, second = graph.pairs
        vectors = graph.positions[first] - graph.positions[second]
        distances = np.linalg.norm(vectors, axis=1)

        # REPLACE from here to `return`: your network.
        molecules = np.concatenate([structure.molecules for structure in structures])
        bonded = molecules[first] == molecules[second]
        shapes, charges, radii, depths = (
            np.concatenate([table[kind] for kind in kinds]) for table in (SHAPES, CHARGES, RADII, DEPTHS)
        )
        energies, slopes = np.zeros(len(distances)), np.zeros(len(distances))
        i, j = first[bonded], second[bonded]
        energies[bonded], slopes[bonded] = _spring(distances[bonded], np.linalg.norm(shapes[i] - shapes[j], axis=1))
        i, j = first[~bonded], second[~bonded]
        energies[~bonded], slopes[~bonded] = _between(
            distances[~bonded], charges[i] * charges[j], radii[i] + radii[j], np.sqrt(depths[i] * depths[j])
        )
        atoms = len(graph.numbers)
        # Every pair occurs twice, and its energy is shared by both atoms.
        per_atom = 0.5 * np.bincount(first, energies, atoms)
        pull = -(slopes / distances)[:, None] * vectors
        per_axis = np.stack([np.bincount(first, pull[:, axis], atoms) for axis in range(3)], axis=1)
        return split(structures, per_atom, per_axis if forces else None, with_atoms=atom_energies)


def _spring(distances: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energy, eV, and derivative, eV/A, of pairs of one molecule."""
    return 0.5 * STIFFNESS * (distances - rest) ** 2, STIFFNESS * (distances - rest)


def _between(
    distances: FloatArray, charges: FloatArray, radii: FloatArray, depths: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Energy, eV, and derivative, eV/A, of pairs of two molecules: Coulomb and Lennard-Jones."""
    coulomb, sixth = COULOMB * charges / distances, (radii / distances) ** 6
    energies = coulomb + depths * (sixth**2 - 2 * sixth)
    return energies, (12 * depths * (sixth - sixth**2) - coulomb) / distances


class MyFamily(ModelFamily):
    """All models that this module loads."""

    # REPLACE: what is true of your model. The classes in hbcoop_dist.plugin have more fields and document them.
    cards = (
        ModelCard(
            name="my-model",
            family="my_model",  # name of the entry point in pyproject.toml
            about=About(
                level_of_theory="none: an example",
                licence="yours to choose",
                citation="none",
                elements=(1, 6, 7, 8),
                long_range=True,  # a network has cutoff and layers instead
            ),
            abilities=Abilities(
                atom_energies=True,
                needs_topology=True,  # False for a network, which reads elements and positions only
            ),
            needs=Requirements(
                modules=("numpy",),  # without them the model is listed, and skipped with that reason
                packages=("my-model", "numpy"),  # their versions are recorded with every result
                gpu=False,  # True once `load` and `compute` use `device`
            ),
            checkpoint=CheckpointInfo(
                file=None,  # name of a file in the folders of HBCOOP_CHECKPOINTS, where there is one
                sha256=PARAMETERS,  # of that file
            ),
            options={"method": "my-model version 1"},  # change it when code, not parameters, changes the numbers
        ),
    )

    def load(self, card: ModelCard, checkpoint: Path | None, device: str, dtype: str) -> MyPotential:
        """Load the model; refuse a checkpoint, a GPU or another float type."""
        # REPLACE: import torch and your package here, not above, since plans are made without them. Read `checkpoint`
        # and compute the parameter_hash of its arrays.
        require_plain(card, checkpoint, device, dtype)
        return MyPotential(card, PARAMETERS, device)


FAMILY = MyFamily()
