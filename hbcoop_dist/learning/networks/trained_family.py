"""Model family ``trained``: networks trained by a generalization campaign, as models of any other campaign.

The family has no models of its own. An entry ``{name: mace-les, family: trained, checkpoint: PATH.npz}`` of a spec is a
model, whose card is read from the file. All molecules of its structures are taken as neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hbcoop_dist.learning.networks.registry import find_architecture
from hbcoop_dist.learning.networks.trained_files import TrainedFileError, read_metadata, read_trained
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    from hbcoop_dist.learning.networks.network_module import Network

CARDS: tuple[ModelCard, ...] = ()
FAMILY = "trained"


def card_of(name: str, checkpoint: Path) -> ModelCard:
    """Return the card of a file; a placeholder when the file does not exist.

    Parameters
    ----------
    name : str
        Name of the model in the spec.
    checkpoint : Path

    Raises
    ------
    ModelError
        When the file is not a trained network, or its architecture is unknown.
    """
    unknown = "unknown: no such file"
    placeholder = ModelCard(name, FAMILY, unknown, unknown, unknown, (1, 6, 7, 8), checkpoint=checkpoint.name)
    if not checkpoint.exists():
        return placeholder
    try:
        spec, metadata = read_metadata(checkpoint)
    except TrainedFileError as error:
        raise ModelError(f"model {name}: {error}") from error
    try:
        architecture = find_architecture(spec.architecture)
    except ValueError as error:
        raise ModelError(f"model {name}: {checkpoint}: {error}") from error
    return replace(
        placeholder,
        level_of_theory=metadata.level_of_theory,
        licence=f"parameters: {metadata.licence}; code: {architecture.licence}",
        citation=f"method: {architecture.citation}; scheme {spec.scheme}; labels: {metadata.source}",
        elements=spec.elements,
        atom_energies=True,
        charges=metadata.charges,
        cutoff=spec.cutoff,
        layers=architecture.hops(spec.layers),
        long_range=metadata.long_range,
        extensive=metadata.extensive,
        gpu=True,
        requires=architecture.requires,
        packages=architecture.packages,
        environment=architecture.environment,
    )


@dataclass(frozen=True, slots=True)
class TrainedPotential:
    """A loaded network; see `hbcoop_dist.models.base.Potential`.

    Attributes
    ----------
    card : ModelCard
    parameter_hash : str
    device : str
    network : Network
    """

    card: ModelCard
    parameter_hash: str
    device: str
    network: Network

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate structures in batches; see `hbcoop_dist.models.base.Potential.evaluate`."""
        from hbcoop_dist.learning.networks.atom_batches import NeutralAtoms
        from hbcoop_dist.learning.networks.inference import predict

        require_elements(self.card, structures)
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


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> TrainedPotential:
    """Load a trained network as a model.

    Parameters
    ----------
    card : ModelCard
    checkpoint : Path or None
    device : str
    dtype : {"float64", "float32"}

    Raises
    ------
    ModelError
        When there is no checkpoint, or it is not a trained network.
    """
    from hbcoop_dist.learning.networks.inference import network_of

    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint, found none")
    try:
        trained, _ = read_trained(checkpoint)
        network = network_of(trained, device=device, dtype=dtype)
    except (TrainedFileError, ValueError) as error:
        raise ModelError(f"model {card.name}: {checkpoint}: {error}") from error
    return TrainedPotential(card, trained.parameter_hash, device, network)
