"""ANI-2x, ANI-1ccx and ANI-1x: ensembles of eight atomic networks, read from NeuroChem folders by torchani.

The folders of the published model zoo are read as they are; nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import Hartree

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.batching import split_atoms
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

    from hbcoop_dist.models.families.ani_kernel import Ensemble
    from hbcoop_dist.models.families.ani_terms import Constants

_MEMBERS = 8


@dataclass(frozen=True, slots=True)
class AniPotential(base.Potential):
    """A loaded ANI ensemble.

    Attributes
    ----------
    ensemble : Ensemble
        Constants of the descriptor and networks of all members.
    self_energies : (E,) float64 array
        Energy of an isolated atom of each element, hartree.
    species_of : (119,) int64 array
        Index of each atomic number among the networks; -1 for undeclared elements.
    dtype : torch.dtype
    """

    ensemble: Ensemble
    self_energies: FloatArray
    species_of: IntArray
    dtype: torch.dtype

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        """Evaluate all structures as one ragged batch."""
        species = self.species_of[np.concatenate([structure.numbers for structure in structures])]
        members, gradient = self._network(structures, species, forces)
        # Self-energies are of the order of 1e4 eV: their sum in float32 would be off by 0.04 to 0.15 kcal/mol.
        parts = zip(
            split_atoms(structures, members.mean(0)),
            split_atoms(structures, self.self_energies[species]),
            split_atoms(structures, None if gradient is None else -gradient * Hartree),
            split_atoms(structures, members.T),
            strict=True,
        )
        return [
            base.Evaluation(
                energy=float(network.sum() + isolated.sum()) * Hartree,
                forces=own_forces,
                atom_energies=(network + isolated) * Hartree if atom_energies else None,
                member_energies=(each.T.sum(1) + isolated.sum()) * Hartree,
            )
            for network, isolated, own_forces, each in parts
        ]

    def _network(
        self, structures: Sequence[Structure], species: IntArray, forces: bool
    ) -> tuple[FloatArray, FloatArray | None]:
        """The (M, N) network energies of members and atoms, hartree, and the gradient of their mean, hartree/A."""
        import torch

        from hbcoop_dist.models.families.ani_kernel import describe

        with torch.inference_mode():
            elements = torch.as_tensor(species, device=self.device)
            stacked = np.concatenate([structure.positions for structure in structures])
            positions = torch.as_tensor(stacked, dtype=self.dtype, device=self.device)
            sizes = [len(structure) for structure in structures]
            environments = describe(self.ensemble.constants, elements, positions, sizes)
            energies, slopes = self.ensemble.evaluate(environments.features, environments.blocks, forces)
            members = positions.new_empty((self.ensemble.members, len(species)))
            for element, atoms in environments.members.items():
                members[:, atoms] = energies[element]
            gradient = environments.gradient(slopes).cpu().double().numpy() if forces else None
            return members.cpu().double().numpy(), gradient


class AniFamily(base.ModelFamily):
    """Folders of NeuroChem: ``*.params``, ``sae_linfit.dat`` and ``train0`` to ``train7``."""

    cards = published_cards("ani")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> AniPotential:
        import torch

        from hbcoop_dist.models.families.ani_kernel import ElementNetwork, Ensemble

        neurochem = _import_torchani()
        folder = base.require_checkpoint(card, checkpoint, dtype)
        constants = neurochem.Constants(str(_constants_file(card, folder)))
        elements = tuple(atomic_numbers[symbol] for symbol in constants.species)
        _require_same_elements(card, elements)
        members = neurochem.load_model_ensemble(constants.species, str(folder / "train"), _MEMBERS)
        shifts = neurochem.load_sae(str(folder / "sae_linfit.dat")).self_energies.double().numpy()
        parameters = {name: value.numpy() for name, value in members.state_dict().items()} | {"self_energies": shifts}
        kind = getattr(torch, dtype)
        members = members.to(device=device, dtype=kind)
        try:
            networks = tuple(ElementNetwork.stacked([member[name] for member in members]) for name in constants.species)
        except ValueError as error:
            raise base.ModelError(f"model {card.name}: {error}") from error
        species_of = np.full(max(atomic_numbers.values()) + 1, -1, dtype=np.int64)
        species_of[list(elements)] = np.arange(len(elements))
        return AniPotential(
            card=card,
            parameter_hash=checkpoints.parameter_hash(parameters),
            device=device,
            ensemble=Ensemble(_descriptor(card, constants, device, kind), networks),
            self_energies=shifts,
            species_of=species_of,
            dtype=kind,
        )


FAMILY = AniFamily()


def _require_same_elements(card: base.ModelCard, elements: tuple[int, ...]) -> None:
    expected = sorted(card.about.elements)
    if sorted(elements) != expected:
        alike = [other.name for other in AniFamily.cards if set(other.about.elements) == set(elements)]
        hint = f"; add like: {alike[0]} to the checkpoint" if alike else ""
        raise base.ModelError(f"model {card.name}: expected elements {expected}, found {sorted(elements)}{hint}")


def _descriptor(card: base.ModelCard, read: Any, device: str, dtype: torch.dtype) -> Constants:
    """Constants of the descriptor from those that torchani read as float32."""
    from hbcoop_dist.models.families.ani_terms import Constants

    single = {name: read[name].tolist() for name in ("EtaR", "EtaA", "Zeta")}
    if several := [name for name, values in single.items() if len(values) != 1]:
        raise base.ModelError(f"model {card.name}: expected one {', one '.join(several)}, found {single}")
    return Constants(
        elements=read.num_species,
        radial_cutoff=read.Rcr,
        angular_cutoff=read.Rca,
        radial_eta=single["EtaR"][0],
        radial_shifts=read.ShfR.to(device=device, dtype=dtype),
        angular_eta=single["EtaA"][0],
        angular_shifts=read.ShfA.to(device=device, dtype=dtype),
        zeta=single["Zeta"][0],
        angles=read.ShfZ.to(device=device, dtype=dtype),
    )


def _constants_file(card: base.ModelCard, folder: Path) -> Path:
    files = sorted(folder.glob("*.params"))
    wanted = [folder / "sae_linfit.dat", *(folder / f"train{member}" / "networks" for member in range(_MEMBERS))]
    missing = [str(path.relative_to(folder)) for path in wanted if not path.exists()]
    if len(files) != 1 or missing:
        raise base.ModelError(
            f"model {card.name}: expected one *.params, sae_linfit.dat and train0..train{_MEMBERS - 1} in {folder}, "
            f"found {len(files)} *.params and no {', '.join(missing) or 'gap'}"
        )
    return files[0]


def _import_torchani() -> Any:
    """Import torchani without its four known warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cuaev not installed", UserWarning)
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "module 'sre_(parse|constants)' is deprecated", DeprecationWarning)
        from torchani import neurochem
    return neurochem
