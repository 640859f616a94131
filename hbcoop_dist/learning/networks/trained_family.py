"""The model family ``trained``: networks that a generalization campaign has trained, as models of other campaigns.

It has no registered models. A spec names one by ``{name: mace-les, family: trained, checkpoint: PATH.npz}``; its card
follows from the file. Every molecule of a structure is neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.learning.networks.registry import find_architecture
from hbcoop_dist.learning.networks.trained_files import TrainedFileError, read_metadata, read_trained
from hbcoop_dist.models.base import (
    Abilities,
    About,
    CheckpointInfo,
    Evaluation,
    ModelCard,
    ModelError,
    ModelFamily,
    Potential,
    require_checkpoint,
)
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    from hbcoop_dist.learning.networks.network_module import Network


@dataclass(frozen=True, slots=True)
class TrainedPotential(Potential):
    """A trained network.

    Attributes
    ----------
    network : Network
    """

    network: Network

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
        from hbcoop_dist.learning.networks.atom_batches import NeutralAtoms
        from hbcoop_dist.learning.networks.network_module import predict

        neutral = [
            NeutralAtoms(structure.numbers, structure.positions, structure.molecules, (0,) * len(structure.kinds))
            for structure in structures
        ]
        return [
            Evaluation(
                energy=prediction.energy,
                forces=prediction.forces,
                atom_energies=prediction.atom_energies if atom_energies else None,
                charges=prediction.charges,
            )
            for prediction in predict(self.network, neutral, forces=forces)
        ]


class TrainedFamily(ModelFamily):
    """Networks of any architecture and scheme, in files that describe themselves."""

    def card_of(self, name: str, checkpoint: Path) -> ModelCard:
        """Make the card of a file; of a missing file, a card that suffices to report it.

        Raises
        ------
        ModelError
            When the file is not a trained network, or its architecture is not known.
        """
        if not checkpoint.exists():
            unknown = "unknown: no such file"
            about = About(unknown, unknown, unknown, elements=(1, 6, 7, 8))
            return ModelCard(name, "trained", about, checkpoint=CheckpointInfo(file=checkpoint.name))
        try:
            spec, labels = read_metadata(checkpoint)
        except TrainedFileError as error:
            raise ModelError(f"model {name}: {error}") from error
        try:
            architecture = find_architecture(spec.architecture)
        except ValueError as error:
            raise ModelError(f"model {name}: {checkpoint}: {error}") from error
        return ModelCard(
            name=name,
            family="trained",
            about=About(
                level_of_theory=labels.level_of_theory,
                licence=f"parameters: {labels.licence}; code: {architecture.licence}",
                citation=f"method: {architecture.citation}; scheme {spec.scheme}; labels: {labels.source}",
                elements=spec.elements,
                cutoff=spec.cutoff,
                layers=architecture.hops(spec.layers),
                long_range=labels.long_range,
            ),
            abilities=Abilities(atom_energies=True, charges=labels.charges, extensive=labels.extensive),
            needs=Requirements(architecture.requires, architecture.packages, architecture.environment, gpu=True),
            checkpoint=CheckpointInfo(file=checkpoint.name),
        )

    def load(self, card: ModelCard, checkpoint: Path | None, device: str, dtype: str) -> TrainedPotential:
        from hbcoop_dist.learning.networks.network_module import network_of

        path = require_checkpoint(card, checkpoint, dtype)
        try:
            trained, _ = read_trained(path)
            network = network_of(trained, device=device, dtype=dtype)
        except (TrainedFileError, ValueError) as error:
            raise ModelError(f"model {card.name}: {path}: {error}") from error
        return TrainedPotential(card, trained.parameter_hash, device, network)


FAMILY = TrainedFamily()
