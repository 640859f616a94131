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

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, FloatArray, ModelCard, ModelError, require_elements
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

_MEMBERS = 8


def _card(name: str, theory: str, citation: str, elements: tuple[int, ...], cutoff: float, sha256: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="ani",
        level_of_theory=theory,
        licence="MIT",
        citation=citation,
        elements=elements,
        checkpoint=f"{name}_8x",
        sha256=sha256,
        atom_energies=True,
        cutoff=cutoff,
        requires=("torch", "torchani", "pkg_resources"),
        packages=("torch", "torchani"),
        # The members' folders hold copies of the constants and training logs, which are never read.
        options={"files": ("*.params", "sae_linfit.dat", "train?/networks/ANN-*")},
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
class AniPotential:
    """A loaded ANI ensemble; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    descriptor: Any
    members: Any
    self_energies: FloatArray
    species_of: dict[int, int]
    dtype: torch.dtype

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate all structures as one batch, padded to the largest."""
        if not structures:
            return []
        require_elements(self.card, structures)
        import torch

        species, positions = self._padded(structures)
        with torch.set_grad_enabled(forces):
            coordinates = torch.as_tensor(positions, dtype=self.dtype, device=self.device).requires_grad_(forces)
            kinds = torch.as_tensor(species, device=self.device)
            features = self.descriptor((kinds, coordinates))
            network = torch.stack([member._atomic_energies(features) for member in self.members]).mean(0)
            slopes = torch.autograd.grad(network.sum(), coordinates)[0] if forces else None
        # Self-energies are some 1e4 eV: summing them in float32 would cost 0.04 to 0.15 kcal/mol.
        per_atom = network.detach().cpu().double().numpy() + self.self_energies[species]
        gradients = None if slopes is None else slopes.cpu().double().numpy()
        results = []
        for row, structure in enumerate(structures):
            mine = per_atom[row, : len(structure)] * Hartree
            results.append(
                Evaluation(
                    energy=float(mine.sum()),
                    forces=None if gradients is None else -gradients[row, : len(structure)] * Hartree,
                    atom_energies=mine if atom_energies else None,
                )
            )
        return results

    def _padded(self, structures: Sequence[Structure]) -> tuple[np.ndarray[Any, Any], FloatArray]:
        longest = max(len(structure) for structure in structures)
        species = np.full((len(structures), longest), -1, dtype=np.int64)
        positions = np.zeros((len(structures), longest, 3))
        for row, structure in enumerate(structures):
            species[row, : len(structure)] = [self.species_of[int(z)] for z in structure.numbers]
            positions[row, : len(structure)] = structure.positions
        return species, positions


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> AniPotential:
    """Read a NeuroChem folder: ``*.params``, ``sae_linfit.dat`` and ``train0`` to ``train7``.

    Raises
    ------
    ModelError
        When the folder lacks a file or holds other elements than the card declares.
    """
    import torch

    neurochem, descriptor_class = _import_torchani()
    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a NeuroChem folder, found no checkpoint")
    constants_file = _constants_file(card, checkpoint)
    constants = neurochem.Constants(str(constants_file))
    found = tuple(atomic_numbers[symbol] for symbol in constants.species)
    if sorted(found) != sorted(card.elements):
        raise ModelError(f"model {card.name}: expected elements {sorted(card.elements)}, found {sorted(found)}")
    members = neurochem.load_model_ensemble(constants.species, str(checkpoint / "train"), _MEMBERS)
    shifts = neurochem.load_sae(str(checkpoint / "sae_linfit.dat")).self_energies.double().numpy()
    parameters = {name: value.numpy() for name, value in members.state_dict().items()} | {"self_energies": shifts}
    kind = getattr(torch, dtype)
    return AniPotential(
        card=card,
        parameter_hash=checkpoints.parameter_hash(parameters),
        device=device,
        descriptor=descriptor_class(**constants).to(device=device, dtype=kind),
        members=members.to(device=device, dtype=kind).eval().requires_grad_(False),
        self_energies=np.append(shifts, 0.0),  # the last one is that of the padding, index -1
        species_of={z: index for index, z in enumerate(found)},
        dtype=kind,
    )


def _constants_file(card: ModelCard, folder: Path) -> Path:
    files = sorted(folder.glob("*.params"))
    wanted = [folder / "sae_linfit.dat", *(folder / f"train{member}" / "networks" for member in range(_MEMBERS))]
    missing = [str(path.relative_to(folder)) for path in wanted if not path.exists()]
    if len(files) != 1 or missing:
        raise ModelError(
            f"model {card.name}: expected one *.params, sae_linfit.dat and train0..train{_MEMBERS - 1} in {folder}, "
            f"found {len(files)} *.params and no {', '.join(missing) or 'gap'}"
        )
    return files[0]


def _import_torchani() -> tuple[Any, Any]:
    """Import torchani without its four known warnings; any other one still shows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cuaev not installed", UserWarning)
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "module 'sre_(parse|constants)' is deprecated", DeprecationWarning)
        from torchani import neurochem
        from torchani.aev import AEVComputer
    return neurochem, AEVComputer
