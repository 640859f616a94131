"""MACE: equivariant message passing, from mace-torch; a checkpoint is a pickled network.

A list of structures is evaluated as one graph without periodic images. The network returns energies per atom, self-
energies included, which are summed per structure in float64. Networks with latent Ewald summation (class MACELES) get
the energy of their latent charges from `latent_ewald`. Latent charges are not returned as `Evaluation.charges`: their
sign is arbitrary, and their sum is not the charge of a molecule.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
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

_WITH_CHARGES = "MACELES"
_NETWORKS = ("MACE", "ScaleShiftMACE", _WITH_CHARGES)


@dataclass(frozen=True, slots=True)
class MacePotential(base.Potential):
    """A loaded MACE network; its card has the cutoff, layers and elements of the file.

    Attributes
    ----------
    network : torch.nn.Module
    dtype : torch.dtype
    head : int
        Index of the network's head.
    """

    network: Any
    dtype: torch.dtype
    head: int

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures as one graph batch."""
        import torch

        graph = self._graph(structures)
        with torch.set_grad_enabled(forces):
            output = self.network(graph, compute_force=forces)
        slopes = to_numpy(output["forces"]) if forces else None
        energies = to_numpy(output["node_energy"]).reshape(-1)
        if self.card.about.long_range:
            # The network adds the energy of latent charges to its total only.
            with torch.no_grad():
                coulomb = self.network.les.atom_energies(output["latent_charges"], graph["positions"], graph["batch"])
            energies = energies + to_numpy(coulomb)
        return split(structures, energies, slopes, with_atoms=atom_energies)

    def _graph(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Join the structures into one graph, edges within the cutoff, under the network's names."""
        import torch

        elements, cutoff = self.card.about.elements, self.card.about.cutoff
        assert cutoff is not None
        graph, count = join(structures, cutoff), len(structures)
        shifts = np.zeros((graph.near.shape[1], 3))
        reals = {
            "positions": graph.positions,
            "node_attrs": np.eye(len(elements))[np.searchsorted(elements, graph.numbers)],
            "shifts": shifts,
            "unit_shifts": shifts,
            "cell": np.zeros((3 * count, 3)),
        }
        integers = {
            "edge_index": graph.near,
            "batch": np.repeat(np.arange(count), graph.sizes),
            "ptr": graph.starts,
            "head": np.full(count, self.head),
        }
        return {
            **{name: to_tensor(values, self.dtype, self.device) for name, values in reals.items()},
            **{name: to_tensor(values, torch.long, self.device) for name, values in integers.items()},
            "pbc": to_tensor(np.zeros((count, 3)), torch.bool, self.device),
        }


class MaceFamily(base.ModelFamily):
    """Networks saved by mace-torch, of this version or of one that it still reads.

    The option ``head`` of a card chooses one of several heads.
    """

    cards = published_cards("mace")
    settings = ("head",)

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> MacePotential:
        import torch

        from hbcoop_dist.models.families.latent_ewald import latent_ewald_of

        path = base.require_checkpoint(card, checkpoint, dtype)
        network = _read(card, path)
        elements = tuple(int(number) for number in network.atomic_numbers)
        if list(elements) != sorted(elements):
            raise base.ModelError(f"model {card.name}: expected ascending atomic numbers in {path}, found {elements}")
        parameters = {name: value.numpy() for name, value in network.state_dict().items()}
        long_range = type(network).__name__ == _WITH_CHARGES
        if long_range:
            network.les = latent_ewald_of(network.les, f"model {card.name}: {path}")
            parameters["les"] = np.array([network.les.sigma, network.les.coulomb, network.les.self_interaction])
        kind = getattr(torch, dtype)
        network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
        return MacePotential(
            card=card.with_fields(
                cutoff=float(network.r_max), layers=len(network.interactions), elements=elements, long_range=long_range
            ),
            parameter_hash=checkpoints.parameter_hash(parameters),
            device=device,
            network=network,
            dtype=kind,
            head=_head(card, path, network),
        )


FAMILY = MaceFamily()


def _head(card: base.ModelCard, path: Path, network: Any) -> int:
    # Networks of older versions have a single head without a name.
    heads = list(getattr(network, "heads", None) or ["default"])
    wanted = card.options.get("head")
    if wanted is None and len(heads) == 1:
        return 0
    if wanted not in heads:
        raise base.ModelError(
            f"model {card.name}: expected head to be one of {', '.join(heads)} in {path}, found {wanted}"
        )
    return heads.index(wanted)


def _read(card: base.ModelCard, path: Path) -> Any:
    import torch

    from hbcoop_dist.models.families import latent_ewald

    with quiet():
        # Import mace before e3nn, whose constants torch refuses to load otherwise.
        import mace  # noqa: F401

        try:  # a pickle may raise anything
            network = torch.load(path, map_location="cpu", weights_only=False, pickle_module=latent_ewald)
        except Exception as error:
            raise base.ModelError(
                f"model {card.name}: {path} is not a readable MACE network: {type(error).__name__}: {error}"
            ) from error
    if type(network).__name__ not in _NETWORKS:
        expected, found = ", ".join(_NETWORKS), type(network).__name__
        raise base.ModelError(f"model {card.name}: expected a network among {expected} in {path}, found {found}")
    return network


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what mace-torch prints while it is imported, and undo the environment variable that it sets.

    The variable would allow torch to unpickle any object in the whole process.
    """
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before, disabled = os.environ.get(name), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
