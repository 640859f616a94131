"""Orb: graph networks of Orbital Materials, from orb-models; a checkpoint is a state dict.

Graphs (the nearest neighbours within a cutoff) and networks are those of the package, one graph batch per list of
structures. The energy head of every Orb network averages the features of all atoms before its own network, so that the
energy is not extensive. Networks that read the 20 nearest neighbours only are not smooth: energies and forces jump
where the twentieth neighbour changes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.batching import split_atoms, to_numpy
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

_UNLIMITED = 120  # neighbours of networks called unlimited; NMA has less than half as many within the cutoff
_CHARGE, _SPIN = 0, 1  # total charge; multiplicity, which OMol25 calls spin
_OLD_HEADS = {"graph_head.": "heads.energy.", "node_head.": "heads.forces."}


@dataclass(frozen=True, slots=True)
class OrbPotential(base.Potential):
    """A loaded Orb network, which has no energies per atom.

    Attributes
    ----------
    network : torch.nn.Module
    dtype : torch.dtype
    """

    network: Any
    dtype: torch.dtype

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures as one graph batch."""
        import torch

        # A conservative network differentiates in its own forward pass, whether or not forces are requested.
        conservative = self.card.abilities.forces_are_gradient
        with _default_dtype(self.dtype), torch.set_grad_enabled(conservative):
            output = self.network.predict(self._graphs(structures))
        energies = to_numpy(output["energy"]).reshape(-1)
        slopes = to_numpy(output["grad_forces" if conservative else "forces"]) if forces else None
        return [
            base.Evaluation(float(energy), forces=part)
            for energy, part in zip(energies, split_atoms(structures, slopes), strict=True)
        ]

    def _graphs(self, structures: Sequence[Structure]) -> Any:
        from orb_models.forcefield.atomic_system import ase_atoms_to_atom_graphs
        from orb_models.forcefield.base import batch_graphs

        graphs = []
        for structure in structures:
            atoms = structure.to_ase()
            atoms.info |= {"charge": _CHARGE, "spin": _SPIN}
            graphs.append(
                ase_atoms_to_atom_graphs(
                    atoms,
                    self.network.system_config,
                    device=self.device,
                    output_dtype=self.dtype,
                    graph_construction_dtype=self.dtype,
                )
            )
        return batch_graphs(graphs)


class OrbFamily(base.ModelFamily):
    """State dicts of the networks in orb-models that the card's option ``architecture`` names."""

    cards = published_cards("orb")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> OrbPotential:
        import torch

        path = base.require_checkpoint(card, checkpoint, dtype)
        kind = getattr(torch, dtype)
        with _default_dtype(kind):
            network, state = _read(card, path, device, dtype)
        _require_heads(card, path, network, state)
        precise = card.with_fields(
            cutoff=float(network.system_config.radius),
            layers=int(network.model.num_message_passing_steps),
            forces_are_gradient=hasattr(network, "grad_forces_name"),
            smooth=int(network.system_config.max_num_neighbors) >= _UNLIMITED,
        )
        parameters = {key: value.numpy() for key, value in network.cpu().state_dict().items()}
        digest = checkpoints.parameter_hash(parameters)
        return OrbPotential(precise, digest, device, network.to(device), kind)


FAMILY = OrbFamily()


def _read(card: base.ModelCard, path: Path, device: str, dtype: str) -> tuple[Any, Mapping[str, Any]]:
    import torch
    from orb_models.forcefield.pretrained import ORB_PRETRAINED_MODELS

    name = str(card.options["architecture"])
    if name not in ORB_PRETRAINED_MODELS:
        raise base.ModelError(f"model {card.name}: expected an architecture of orb-models, found {name!r}")
    build = ORB_PRETRAINED_MODELS[name]
    precision = "float64" if dtype == "float64" else "float32-highest"
    # The package reads files through its own cache of downloads, which accepts a plain path.
    try:
        network = build(weights_path=str(path), device=device, precision=precision, compile=False)
        return network, torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise base.ModelError(
            f"model {card.name}: {path} is no state dict of {name}: {type(error).__name__}: {error}"
        ) from error


def _require_heads(card: base.ModelCard, path: Path, network: Any, state: Mapping[str, Any]) -> None:
    """Refuse a state dict without energy or force head, which the package would leave at random values."""
    names = set(state)
    for old, new in _OLD_HEADS.items():
        names |= {new + name.removeprefix(old) for name in state if name.startswith(old)}
    wanted = {name for name in network.state_dict() if name.startswith(("heads.energy.", "heads.forces."))}
    if lacking := sorted(wanted - names):
        raise base.ModelError(
            f"model {card.name}: expected energy and force heads of {card.options['architecture']} in {path}, "
            f"found no {', '.join(lacking[:3])}"
        )


@contextlib.contextmanager
def _default_dtype(kind: torch.dtype) -> Iterator[None]:
    """Set torch's default float type, which the package's constants have, and undo what the package itself sets."""
    import torch

    before, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    torch.set_default_dtype(kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_float32_matmul_precision(precision)
