"""my-model for hbcoop_dist: a card that says what it is, and `load`, which makes it.

What stands here runs: molecules held by springs, Lennard-Jones and point charges between them (those of Amber's
ACE-NME and of TIP3P). Replace what is marked REPLACE; `hbcoop models check my-model` says whether it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.models.base import require_plain
from hbcoop_dist.models.checkpoints import parameter_hash
from hbcoop_dist.models.neighbour_graphs import join, split
from hbcoop_dist.structures import Structure, monomer

FloatArray = NDArray[np.float64]

# REPLACE from here to CARDS: your parameters. Those of a network are in a checkpoint, which only `load` reads.
COULOMB = 14.399645  # eV A / e^2
KCAL = 0.0433641  # eV
STIFFNESS = 10.0  # eV/A^2
SHAPES = {  # A; one row per atom, in the order of hbcoop_dist.structures.NMA_ATOMS and WATER_ATOMS
    "nma": monomer().positions,
    "water": np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.2400, 0.9266, 0.0]]),
}
CHARGES = {  # e
    "nma": np.array([-0.3662, 0.5972, -0.5679, -0.4157, 0.2719, -0.1490, *3 * [0.1123], *3 * [0.0976]]),
    "water": np.array([-0.834, 0.417, 0.417]),
}
RADII = {  # A, half of the distance of least energy
    "nma": np.array([1.908, 1.908, 1.6612, 1.824, 0.6, 1.908, *3 * [1.487], *3 * [1.387]]),
    "water": np.array([1.7683, 0.0, 0.0]),
}
DEPTHS = {  # eV
    "nma": KCAL * np.array([0.1094, 0.086, 0.21, 0.17, 0.0157, 0.1094, *6 * [0.0157]]),
    "water": KCAL * np.array([0.152, 0.0, 0.0]),
}

# It goes into the key of every result: with other parameters it is another model, and is computed anew.
TABLES = {"shape": SHAPES, "charges": CHARGES, "radii": RADII, "depths": DEPTHS}
PARAMETERS = parameter_hash(
    {
        "stiffness": np.array(STIFFNESS),
        **{f"{name} {kind}": values for name, table in TABLES.items() for kind, values in table.items()},
    }
)

# REPLACE: what is true of your model; hbcoop_dist.models.base.ModelCard has more fields, and says what each means.
CARDS = (
    ModelCard(
        name="my-model",
        family="my_model",  # as the entry point in pyproject.toml
        level_of_theory="none: an example",
        licence="yours to say",
        citation="none",
        elements=(1, 6, 7, 8),
        checkpoint=None,  # file name; it is found in the folders of HBCOOP_CHECKPOINTS or at the spec's path
        sha256=PARAMETERS,  # of that file
        atom_energies=True,
        long_range=True,  # a network is not: say cutoff and layers instead
        gpu=False,  # True once `load` and `evaluate` heed `device`
        needs_topology=True,  # a network is told elements and positions only: False
        requires=("numpy",),  # modules; without them the model is listed, and skipped with that reason
        packages=("my-model", "numpy"),  # distributions; their versions are kept with every result
        options={"method": "my-model version 1"},  # raise it when code, not parameters, changes the numbers
    ),
)


@dataclass(frozen=True, slots=True)
class MyPotential:
    """A loaded model; `hbcoop_dist.models.base.Potential` says what is expected of it."""

    card: ModelCard
    parameter_hash: str
    device: str

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Energies, eV, and forces, eV/A: all structures at once, one answer each, in order."""
        require_elements(self.card, structures)
        kinds = [kind for structure in structures for kind in structure.kinds]
        if unknown := sorted(set(kinds) - set(SHAPES)):
            raise ModelError(f"model {self.card.name}: expected {', '.join(SHAPES)}, found {', '.join(unknown)}")
        # All atoms in one row; `pairs` has every ordered pair of one structure, `near` those within the cutoff.
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
        # every pair stands there twice, and its energy belongs to both atoms
        per_atom = 0.5 * np.bincount(first, energies, atoms)
        pull = -(slopes / distances)[:, None] * vectors
        per_axis = np.stack([np.bincount(first, pull[:, axis], atoms) for axis in range(3)], axis=1)
        return split(graph.sizes, per_atom, per_axis if forces else None, with_atoms=atom_energies)


def _spring(distances: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energy, eV, and its slope, eV/A, of pairs of one molecule."""
    return 0.5 * STIFFNESS * (distances - rest) ** 2, STIFFNESS * (distances - rest)


def _between(
    distances: FloatArray, charges: FloatArray, radii: FloatArray, depths: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Energy, eV, and its slope, eV/A, of pairs of two molecules: Coulomb and Lennard-Jones."""
    coulomb, sixth = COULOMB * charges / distances, (radii / distances) ** 6
    energies = coulomb + depths * (sixth**2 - 2 * sixth)
    return energies, (12 * depths * (sixth - sixth**2) - coulomb) / distances


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> MyPotential:
    """Make the model.

    Raises
    ------
    ModelError
        When asked for a checkpoint, a GPU or another float type.
    """
    # REPLACE: import torch and your package here, not above: plans are made without them. Read `checkpoint`, and give
    # the parameter_hash of its arrays.
    require_plain(card, checkpoint, device, dtype)
    return MyPotential(card, PARAMETERS, device)
