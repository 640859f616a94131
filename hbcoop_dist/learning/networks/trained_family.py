"""The model family ``trained``: networks that a generalization campaign has trained, in any other campaign.

It has no models of its own.  ``{name: mace-les, family: trained, checkpoint: PATH.npz}`` in a spec is one; its card is
what the file says.  Structures of a campaign are neutral, molecule by molecule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.architectures.registry import ARCHITECTURES
from hbcoop_dist.learning.networks.trained_files import TrainedFileError, describe, read
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    from hbcoop_dist.learning.networks.network import Network

CARDS: tuple[ModelCard, ...] = ()
FAMILY = "trained"


def card_of(name: str, checkpoint: Path) -> ModelCard:
    """The card of a file; of one that is not there, what does for saying so.

    Raises
    ------
    ModelError
        When the file is there and is no trained network, or one of an architecture that is not known.
    """
    unknown = "unknown: no such file"
    bare = ModelCard(name, FAMILY, unknown, unknown, unknown, (1, 6, 7, 8), checkpoint=checkpoint.name)
    if not checkpoint.exists():
        return bare
    try:
        spec, about = describe(checkpoint)
    except TrainedFileError as error:
        raise ModelError(f"model {name}: {error}") from error
    if spec.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"model {name}: {checkpoint}: expected architecture {known}, found {spec.architecture}")
    architecture = ARCHITECTURES[spec.architecture]
    return replace(
        bare,
        level_of_theory=about.level_of_theory,
        licence=f"parameters: {about.licence}; code: {architecture.licence}",
        citation=f"method: {architecture.citation}; scheme {spec.scheme}; labels: {about.source}",
        elements=spec.elements,
        atom_energies=True,
        charges=about.charges,
        cutoff=spec.cutoff,
        layers=architecture.hops[0] * spec.layers + architecture.hops[1],
        long_range=about.long_range,
        extensive=about.extensive,
        gpu=True,
        requires=architecture.requires,
        packages=architecture.packages,
        environment=architecture.environment,
    )


@dataclass(frozen=True, slots=True)
class _Neutral:
    """A structure as a network sees it."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    molecules: NDArray[np.int64]
    molecule_charges: tuple[int, ...]
    cell: None = None

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class TrainedPotential:
    """A trained network; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    network: Network

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate structures, many at a time."""
        from hbcoop_dist.learning.networks.prediction import predict

        require_elements(self.card, structures)
        seen = [_Neutral(one.numbers, one.positions, one.molecules, (0,) * len(one.kinds)) for one in structures]
        return [
            Evaluation(
                energy=found.energy,
                forces=found.forces,
                atom_energies=found.atom_energies if atom_energies else None,
                charges=found.charges,
            )
            for found in predict(self.network, seen, forces=forces)
        ]


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> TrainedPotential:
    """Load a file.

    Raises
    ------
    ModelError
        When there is no checkpoint, or it is no trained network.
    """
    from hbcoop_dist.learning.networks.network_builder import network_of

    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint, found none")
    try:
        trained, _ = read(checkpoint)
        network = network_of(trained, device=device, dtype=dtype)
    except (TrainedFileError, ValueError) as error:
        raise ModelError(f"model {card.name}: {checkpoint}: {error}") from error
    return TrainedPotential(card, trained.parameter_hash, device, network)
