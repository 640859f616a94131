"""SO3LR: a message-passing network with explicit long-range Coulomb and dispersion, from so3krates-torch.

The package ships its weights, so this is the model that needs no download.  A list of structures goes through the
network as one graph batch.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.models.neighbour_graphs import join, split, to_numpy
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

CARDS = (
    ModelCard(
        name="so3lr",
        family="so3lr",
        level_of_theory="PBE0+MBD",
        licence="MIT",
        citation="Kabylda et al., J. Am. Chem. Soc. 2025, 147, 33723, doi:10.1021/jacs.5c09558",
        elements=(1, 6, 7, 8, 9, 15, 16, 17),
        sha256="b5145564911ff983ed076ccb2bca5ce63454b74c9c8291092695463f1e6732be",
        atom_energies=True,
        charges=True,
        cutoff=4.5,
        layers=3,
        long_range=True,
        gpu=True,
        requires=("torch", "so3krates_torch"),
        packages=("torch", "so3krates-torch"),
        options={"embedded": "so3krates_torch:pretrained/so3lr/so3lr.model", "long_range_cutoff": "none"},
    ),
)

# The shipped file is a pickled module. Naming the classes it holds lets weights_only refuse everything else.
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
class So3lrPotential:
    """A loaded SO3LR network; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    network: Any
    dtype: torch.dtype

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate all structures as one graph batch."""
        if not structures:
            return []
        require_elements(self.card, structures)
        import torch

        with torch.set_grad_enabled(forces):
            out = self.network(self._graph(structures), compute_force=forces)
        per_atom = to_numpy(out["node_energy"]).reshape(-1)
        charges = to_numpy(out["partial_charges"]).reshape(-1)
        slopes = to_numpy(out["forces"]) if forces else None
        return split([len(one) for one in structures], per_atom, slopes, charges, with_atoms=atom_energies)

    def _graph(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Join the structures into one graph: edges within the cutoff, long-range edges between all pairs."""
        import torch

        graph = join(structures, self.network.r_max)
        count = len(structures)

        def tensor(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.asarray(array), dtype=dtype, device=self.device)

        return {
            "positions": tensor(graph.positions, self.dtype),
            "atomic_numbers": tensor(graph.numbers, torch.long),
            "node_attrs": tensor(np.eye(self.network.num_elements)[graph.numbers - 1], self.dtype),
            "edge_index": tensor(graph.near, torch.long),
            "shifts": tensor(np.zeros((graph.near.shape[1], 3)), self.dtype),
            "edge_index_lr": tensor(graph.pairs, torch.long),
            "shifts_lr": tensor(np.zeros((graph.pairs.shape[1], 3)), self.dtype),
            "cell": tensor(np.zeros((3 * count, 3)), self.dtype),
            "batch": tensor(np.repeat(np.arange(count), graph.sizes), torch.long),
            "ptr": tensor(graph.starts, torch.long),
            "head": tensor(np.zeros(count), torch.long),
            "total_charge": tensor(np.zeros(count), self.dtype),
            "total_spin": tensor(np.zeros(count), self.dtype),
        }


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> So3lrPotential:
    """Load the shipped weights, or a file of the same architecture.

    Raises
    ------
    ModelError
        When the weights are not here, not the card's, or hold anything but an SO3LR network.
    """
    import torch

    shipped = checkpoints.embedded(card)
    path = checkpoint or (shipped.path if shipped else None)
    if path is None:
        raise ModelError(f"model {card.name}: expected a checkpoint or weights shipped with its package, found neither")
    network = _read(card, path)
    parameters = {name: value.numpy() for name, value in network.state_dict().items()}
    # r_max_lr None, as the file itself has it, is the plain pair sum without cutoff or shift. The package's
    # calculator sets 12 A by default, which shifts every pair of charges by q_i q_j / r_max_lr and so adds a term in
    # sum(q^2) that changes with polarisation. Measured, V_AB of the optimised NMA dimer in kcal/mol: -7.64 here,
    # -7.66 at 1000 A, -7.78 at 100 A, -8.59 at 12 A, where a chain of 12 units (60 A) is cut apart as well.
    network.r_max_lr = None
    network.dispersion_energy_cutoff_lr_damping = None
    kind = getattr(torch, dtype)
    network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
    return So3lrPotential(card, checkpoints.parameter_hash(parameters), device, network, kind)


def _read(card: ModelCard, path: Path) -> Any:
    import pickle

    import torch

    allowed = [getattr(importlib.import_module(m), name) for m, names in _PICKLED_CLASSES.items() for name in names]
    with torch.serialization.safe_globals(allowed):
        try:
            network = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise ModelError(f"model {card.name}: {path} is not a readable SO3LR network: {error}") from error
    if type(network).__name__ != "SO3LR":
        raise ModelError(f"model {card.name}: expected an SO3LR network in {path}, found {type(network).__name__}")
    return network
