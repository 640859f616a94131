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
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.neighbour_graphs import split_atoms
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

    from hbcoop_dist.models.families.ani_kernel import Ensemble
    from hbcoop_dist.models.families.ani_terms import Constants

_MEMBERS = 8
_ZOO = "https://github.com/aiqm/ani-model-zoo/archive/ani-2x.zip"


def _card(
    name: str, theory: str, citation: str, elements: tuple[int, ...], cutoff: float, sha256: str
) -> base.ModelCard:
    return base.ModelCard(
        name=name,
        family="ani",
        about=base.About(theory, "MIT", citation, elements, cutoff),
        abilities=base.Abilities(atom_energies=True),
        needs=Requirements(modules=("torch", "torchani", "pkg_resources"), packages=("torch", "torchani"), gpu=True),
        checkpoint=base.CheckpointInfo(file=f"{name}_8x", sha256=sha256, url=_ZOO),
        # The members' folders contain copies of the constants and training logs, which are never read.
        options={
            "files": ("*.params", "sae_linfit.dat", "train?/networks/ANN-*"),
            "archive": f"ani-model-zoo-ani-2x/resources/{name}_8x",
        },
    )


CARDS = (
    _card(
        "ani-2x",
        "wB97X/6-31G(d)",
        "Devereux et al., J. Chem. Theory Comput. 2020, 16, 4192, doi:10.1021/acs.jctc.0c00121",
        (1, 6, 7, 8, 9, 16, 17),
        5.1,
        "7510ac9a513adb0251c0a920b14a0f5d35f713a8ebbf4d7507ad3e6b4d3b4dc8",
    ),
    _card(
        "ani-1ccx",
        "CCSD(T)*/CBS, transfer from wB97X/6-31G(d)",
        "Smith et al., Nat. Commun. 2019, 10, 2903, doi:10.1038/s41467-019-10827-4",
        (1, 6, 7, 8),
        5.2,
        "1001bc43ea05abb9316878658b4bc2c09f99187c6bf6c3febf558c594a8cc906",
    ),
    _card(
        "ani-1x",
        "wB97X/6-31G(d)",
        "Smith et al., J. Chem. Phys. 2018, 148, 241733, doi:10.1063/1.5023802",
        (1, 6, 7, 8),
        5.2,
        "ad3dc090548a9a6356dac6fdd354a111566139d5889e177391e751fac17275f5",
    ),
)


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

    cards = CARDS

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
        alike = [other.name for other in CARDS if set(other.about.elements) == set(elements)]
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
