"""SevenNet: equivariant message passing (NequIP's), trained on inorganic crystals; weights shipped with package sevenn.

The package wants another e3nn than mace-torch, so these models have a Python environment of their own.  A list of
structures goes through the network as one graph without periodic images.
"""

from __future__ import annotations

import warnings
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

# SevenNet-0's XPLOR switch (4.5 to 5 A) has a continuous slope only: two waters there see the second derivative jump by
# 0.4 eV/A^2, 1e-4 with l3i5's polynomial. Forces are continuous, which is what the minimiser needs.
_CITATION = "Park et al., J. Chem. Theory Comput. 2024, 20, 4857, doi:10.1021/acs.jctc.4c00190"
_ELEMENTS = (*range(1, 84), *range(89, 95))


def _card(name: str, citation: str, inside: str, sha256: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="sevennet",
        level_of_theory="PBE(+U), crystals of the Materials Project",
        licence="MIT",
        citation=citation,
        elements=_ELEMENTS,
        sha256=sha256,
        atom_energies=True,
        cutoff=5.0,
        layers=5,
        gpu=True,
        requires=("torch", "sevenn"),
        packages=("torch", "e3nn", "sevenn"),
        environment="sevennet",
        # features without parity (is_parity: false in the files); 3e-4 eV for a trimer of NMA distorted by 0.05 A
        mirror_invariant=False,
        options={"embedded": f"sevenn:pretrained_potentials/{inside}"},
    )


CARDS = (
    _card(
        "sevennet-0",
        f"{_CITATION} (method); weights of 11 July 2024",
        "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36",
    ),
    _card(
        "sevennet-0-22may2024",
        _CITATION,
        "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
        "5d389fafd512e6ae2830d74d0b66ffc49a55d3832653ff8e7bf7f1343013c1d1",
    ),
    _card(
        "sevennet-l3i5",
        f"{_CITATION} (method); weights SevenNet-l3i5",
        "SevenNet_l3i5/checkpoint_l3i5.pth",
        "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d",
    ),
)

# What the network would do around its energies is done here: species as one-hot vectors (its module makes them
# float32, whatever its weights are), sums per structure and forces.
_NOT_NEEDED = ("onehot_idx_to_onehot", "reduce_total_enegy", "force_output")


@dataclass(frozen=True, slots=True)
class SevenNetPotential:
    """A loaded SevenNet network; see `hbcoop_dist.models.base.Potential`."""

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

        graph = self._graph(structures)
        positions = graph["pos"].requires_grad_(forces)
        with torch.set_grad_enabled(forces):
            receiver, sender = graph["edge_index"]
            graph["edge_vec"] = positions[sender] - positions[receiver]
            energies = self.network(graph)["atomic_energy"].reshape(-1)
            slopes = to_numpy(-torch.autograd.grad(energies.sum(), positions)[0]) if forces else None
        return split([len(one) for one in structures], to_numpy(energies), slopes, with_atoms=atom_energies)

    def _graph(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Join the structures into one graph, edges within the cutoff, under the network's names."""
        import torch

        graph = join(structures, self.network.cutoff)
        types = np.array([self.network.type_map[int(number)] for number in graph.numbers])

        def tensor(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.asarray(array), dtype=dtype, device=self.device)

        species = tensor(np.eye(len(self.network.type_map))[types], self.dtype)
        return {
            "pos": tensor(graph.positions, self.dtype),
            "edge_index": tensor(graph.near, torch.long),
            "atom_type": tensor(types, torch.long),
            "x": species,
            "node_attr": species,
        }


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> SevenNetPotential:
    """Load the shipped weights, or a file of the same architecture.

    Raises
    ------
    ModelError
        When the weights are not here, not the card's, or hold anything but a SevenNet network for its elements.
    """
    import torch

    shipped = checkpoints.embedded(card)
    path = checkpoint or (shipped.path if shipped else None)
    if path is None:
        raise ModelError(f"model {card.name}: expected a checkpoint or weights shipped with its package, found neither")
    network = _read(card, path)
    parameters = {name: value.numpy() for name, value in network.state_dict().items()}
    if missing := sorted(set(card.elements) - set(network.type_map)):
        raise ModelError(
            f"model {card.name}: expected a network in {path} for all its elements, found none for {missing}"
        )
    for name in _NOT_NEEDED:
        network.delete_module_by_key(name)
    network.eval_type_map, network.key_grad = False, None
    kind = getattr(torch, dtype)
    # In float64 the energies are the package's own to its float32 noise, 6e-6 eV for a dimer. The file's Clebsch-Gordan
    # coefficients stay rounded to float32: rotation moves energies by 5e-9 eV.
    network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
    return SevenNetPotential(card, checkpoints.parameter_hash(parameters), device, network, kind)


def _read(card: ModelCard, path: Path) -> Any:
    import pickle

    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)  # e3nn's, at import
        from sevenn.checkpoint import SevenNetCheckpoint

        try:
            # The package unpickles whatever a file holds. One that passes here holds only tensors and plain arrays.
            with torch.serialization.safe_globals(_plain_arrays()):
                torch.load(path, map_location="cpu", weights_only=True)
            saved = SevenNetCheckpoint(path)
            fidelities = saved.config.get("_modal_map")
            network = None if fidelities else saved.build_model()
        except (pickle.UnpicklingError, RuntimeError, AttributeError, KeyError, ValueError) as error:
            raise ModelError(f"model {card.name}: {path} is not a readable SevenNet network: {error}") from error
    if network is None:
        found = ", ".join(fidelities)
        raise ModelError(f"model {card.name}: expected a network of one fidelity in {path}, found {found}")
    return network


def _plain_arrays() -> list[Any]:
    """What arrays are pickled with; these files name numpy's module as numpy 1 did."""
    rebuild = np.empty(0).__reduce__()[0]
    return [
        np.ndarray,
        np.dtype,
        type(np.dtype("f8")),
        type(np.dtype("f4")),
        (rebuild, "numpy.core.multiarray._reconstruct"),
    ]
