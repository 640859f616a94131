"""SO3LR: a message-passing network with explicit long-range Coulomb and dispersion, from so3krates-torch.

The parameters are part of the package, so that nothing needs to be downloaded. A list of structures is evaluated as
one graph batch.
"""

from __future__ import annotations

import importlib
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

# The shipped file is a pickled module. With the list of its classes, weights_only refuses all others.
_PICKLED_CLASSES = {
    "so3krates_torch.modules.models": ("SO3LR",),
    "so3krates_torch.modules.cutoff": ("PhysNetCutoff",),
    "so3krates_torch.modules.spherical_harmonics": ("RealSphericalHarmonics",),
    "so3krates_torch.blocks.embedding": ("ChargeSpinEmbedding", "EuclideanEmbedding", "InvariantEmbedding"),
    "so3krates_torch.blocks.euclidean_transformer": (
        "EuclideanAttentionBlock",
        "EuclideanTransformer",
        "FilterNet",
        "InteractionBlock",
    ),
    "so3krates_torch.blocks.output_block": (
        "AtomicEnergyOutputHead",
        "DipoleVecOutputHead",
        "HirshfeldOutputHead",
        "PartialChargesOutputHead",
    ),
    "so3krates_torch.blocks.physical_potentials": (
        "DispersionInteraction",
        "ElectrostaticInteraction",
        "ZBLRepulsion",
    ),
    "so3krates_torch.blocks.radial_basis": ("BernsteinBasis", "ComputeRBF"),
    "so3krates_torch.blocks.so3_conv_invariants": ("L0Contraction",),
    "torch.nn": ("SiLU", "ModuleList", "Sequential", "Identity", "Linear", "LayerNorm", "Embedding"),
    "builtins": ("set",),
}


@dataclass(frozen=True, slots=True)
class So3lrPotential(base.Potential):
    """A loaded SO3LR network.

    Attributes
    ----------
    network : so3krates_torch.modules.models.SO3LR
    dtype : torch.dtype
    """

    network: Any
    dtype: torch.dtype

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures as one graph batch."""
        import torch

        with torch.set_grad_enabled(forces):
            output = self.network(self._graph(structures), compute_force=forces)
        energies = to_numpy(output["node_energy"]).reshape(-1)
        charges = to_numpy(output["partial_charges"]).reshape(-1)
        slopes = to_numpy(output["forces"]) if forces else None
        return split(structures, energies, slopes, charges, with_atoms=atom_energies)

    def _graph(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Join the structures into one graph: edges within the cutoff, long-range edges between all pairs."""
        import torch

        graph, count = join(structures, self.network.r_max), len(structures)
        reals = {
            "positions": graph.positions,
            "node_attrs": np.eye(self.network.num_elements)[graph.numbers - 1],
            "shifts": np.zeros((graph.near.shape[1], 3)),
            "shifts_lr": np.zeros((graph.pairs.shape[1], 3)),
            "cell": np.zeros((3 * count, 3)),
            "total_charge": np.zeros(count),
            "total_spin": np.zeros(count),
        }
        integers = {
            "atomic_numbers": graph.numbers,
            "edge_index": graph.near,
            "edge_index_lr": graph.pairs,
            "batch": np.repeat(np.arange(count), graph.sizes),
            "ptr": graph.starts,
            "head": np.zeros(count),
        }
        return {name: to_tensor(values, self.dtype, self.device) for name, values in reals.items()} | {
            name: to_tensor(values, torch.long, self.device) for name, values in integers.items()
        }


class So3lrFamily(base.ModelFamily):
    """The network shipped with so3krates-torch, and files of the same architecture."""

    cards = published_cards("so3lr")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> So3lrPotential:
        import torch

        network = _read(card, checkpoints.given_or_embedded(card, checkpoint))
        parameters = {name: value.numpy() for name, value in network.state_dict().items()}
        # r_max_lr None, as in the file itself, is the plain pair sum without cutoff or shift. The package's calculator
        # sets 12 A by default, which shifts every pair of charges by q_i q_j / r_max_lr and so adds a term in
        # sum(q^2) that changes with polarisation. Measured, V_AB of the optimised NMA dimer in kcal/mol: -7.64 here,
        # -7.66 at 1000 A, -7.78 at 100 A, -8.59 at 12 A, where interactions in a chain of 12 units (60 A) are cut off.
        network.r_max_lr = None
        network.dispersion_energy_cutoff_lr_damping = None
        kind = getattr(torch, dtype)
        network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
        return So3lrPotential(card, checkpoints.parameter_hash(parameters), device, network, kind)


FAMILY = So3lrFamily()


def _read(card: base.ModelCard, path: Path) -> Any:
    import pickle

    import torch

    allowed = [getattr(importlib.import_module(m), name) for m, names in _PICKLED_CLASSES.items() for name in names]
    with torch.serialization.safe_globals(allowed):
        try:
            network = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise base.ModelError(f"model {card.name}: {path} is not a readable SO3LR network: {error}") from error
    if type(network).__name__ != "SO3LR":
        raise base.ModelError(f"model {card.name}: expected an SO3LR network in {path}, found {type(network).__name__}")
    return network
