"""SevenNet: equivariant message passing (NequIP's), trained on inorganic crystals; parameters shipped with sevenn.

The package needs another e3nn than mace-torch, so that these models have a Python environment of their own. A list of
structures is evaluated as one graph without periodic images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.batching import join, split, to_numpy, to_tensor
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

# Modules of the network that are replaced here: one-hot vectors of the elements (always float32 in the package), sums
# per structure and forces.
_REPLACED = ("onehot_idx_to_onehot", "reduce_total_enegy", "force_output")


@dataclass(frozen=True, slots=True)
class SevenNetPotential(base.Potential):
    """A loaded SevenNet network.

    Attributes
    ----------
    network : sevenn.nn.sequential.AtomGraphSequential
    dtype : torch.dtype
    """

    network: Any
    dtype: torch.dtype

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures as one graph batch."""
        import torch

        graph = self._graph(structures)
        positions = graph["pos"].requires_grad_(forces)
        with torch.set_grad_enabled(forces):
            receiver, sender = graph["edge_index"]
            graph["edge_vec"] = positions[sender] - positions[receiver]
            energies = self.network(graph)["atomic_energy"].reshape(-1)
            slopes = to_numpy(-torch.autograd.grad(energies.sum(), positions)[0]) if forces else None
        return split(structures, to_numpy(energies), slopes, with_atoms=atom_energies)

    def _graph(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Join the structures into one graph, edges within the cutoff, under the network's names."""
        import torch

        graph = join(structures, self.network.cutoff)
        types = np.array([self.network.type_map[int(number)] for number in graph.numbers])
        species = to_tensor(np.eye(len(self.network.type_map))[types], self.dtype, self.device)
        return {
            "pos": to_tensor(graph.positions, self.dtype, self.device),
            "edge_index": to_tensor(graph.near, torch.long, self.device),
            "atom_type": to_tensor(types, torch.long, self.device),
            "x": species,
            "node_attr": species,
        }


class SevenNetFamily(base.ModelFamily):
    """Networks shipped with sevenn, and files of the same architecture."""

    cards = published_cards("sevennet")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> SevenNetPotential:
        import torch

        path = checkpoints.given_or_embedded(card, checkpoint)
        network = _read(card, path)
        parameters = {name: value.numpy() for name, value in network.state_dict().items()}
        if missing := sorted(set(card.about.elements) - set(network.type_map)):
            raise base.ModelError(
                f"model {card.name}: expected a network in {path} for all its elements, found none for {missing}"
            )
        for name in _REPLACED:
            network.delete_module_by_key(name)
        network.eval_type_map, network.key_grad = False, None
        kind = getattr(torch, dtype)
        # In float64 energies agree with the package's to its float32 round-off, 6e-6 eV for a dimer. Clebsch-Gordan
        # coefficients of the file remain rounded to float32: rotation changes energies by 5e-9 eV.
        network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
        return SevenNetPotential(card, checkpoints.parameter_hash(parameters), device, network, kind)


FAMILY = SevenNetFamily()


def _read(card: base.ModelCard, path: Path) -> Any:
    import pickle

    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)  # e3nn's, at import
        from sevenn.checkpoint import SevenNetCheckpoint

        try:
            # The package unpickles any object. A file that passes here contains only tensors and plain arrays.
            with torch.serialization.safe_globals(_plain_arrays()):
                torch.load(path, map_location="cpu", weights_only=True)
            saved = SevenNetCheckpoint(path)
            fidelities = saved.config.get("_modal_map")
            network = None if fidelities else saved.build_model()
        except (pickle.UnpicklingError, RuntimeError, AttributeError, KeyError, ValueError) as error:
            raise base.ModelError(f"model {card.name}: {path} is not a readable SevenNet network: {error}") from error
    if network is None:
        found = ", ".join(fidelities)
        raise base.ModelError(f"model {card.name}: expected a network of one fidelity in {path}, found {found}")
    return network


def _plain_arrays() -> list[Any]:
    """Classes and functions in pickles of arrays; the files name NumPy's module as NumPy 1 did."""
    rebuild = np.empty(0).__reduce__()[0]
    return [
        np.ndarray,
        np.dtype,
        type(np.dtype("f8")),
        type(np.dtype("f4")),
        (rebuild, "numpy.core.multiarray._reconstruct"),
    ]
