"""ANI as openmm-ml runs it, from a NeuroChem folder: torchani's ensemble in single precision, in a PythonForce.

openmm-ml's own ANI cannot be pointed at a folder (torchani reads, or downloads, the one inside its package), and in 1.8
it hands its forces per angstrom where OpenMM takes them per nanometre, so that they are a tenth of the gradient.  Hence
an implementation beside it, registered the way openmm-ml offers to others, with the same torchani calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit
from openmmml.mlpotential import MLPotential, MLPotentialImpl, MLPotentialImplFactory

NAME = "hbcoop-ani"
"""What `MLPotential` calls it; ``folder`` and ``members`` go with it."""


class _Factory(MLPotentialImplFactory):  # type: ignore[misc]  # openmm-ml has no types
    """Makes the implementation that `MLPotential` asks for."""

    def createImpl(self, name: str, **args: Any) -> _AniFolder:
        """One for the folder in `args`."""
        return _AniFolder(args["folder"])


class _AniFolder(MLPotentialImpl):  # type: ignore[misc]
    """ANI networks of one folder, as forces of an OpenMM system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def addForces(self, topology: Any, system: Any, atoms: Iterable[int] | None, forceGroup: int, **args: Any) -> None:
        """Add one force on all atoms; nothing else is asked for here."""
        device = self._getTorchDevice(args)
        numbers = [atom.element.atomic_number for atom in topology.atoms()]
        force = openmm.PythonForce(_compute(_ensemble(self.folder, str(device)), numbers, device))
        force.setForceGroup(forceGroup)
        system.addForce(force)


MLPotential.registerImplFactory(NAME, _Factory())


@lru_cache(maxsize=1)
def _ensemble(folder: Path, device: str) -> Any:
    from torchani import neurochem
    from torchani.aev import AEVComputer
    from torchani.models import BuiltinEnsemble
    from torchani.nn import SpeciesConverter

    constants = neurochem.Constants(str(next(folder.glob("*.params"))))
    shifter, lone = neurochem.load_sae(str(folder / "sae_linfit.dat"), return_dict=True)
    count = len(list(folder.glob("train*/networks")))
    return (
        BuiltinEnsemble(
            SpeciesConverter(constants.species),
            AEVComputer(**constants),
            neurochem.load_model_ensemble(constants.species, str(folder / "train"), count),
            shifter,
            constants.species_to_tensor,
            constants,
            lone,
            periodic_table_index=True,
        )
        .to(device)
        .requires_grad_(False)
    )


def _compute(model: Any, numbers: list[int], device: Any) -> Callable[[Any], tuple[float, NDArray[np.float64]]]:
    import torch
    from torchani.units import hartree2kjoulemol

    species = torch.tensor([numbers], device=device)

    def compute(state: Any) -> tuple[float, NDArray[np.float64]]:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        x = torch.tensor(positions, dtype=torch.float32, device=device).unsqueeze(0).requires_grad_(True)
        # angstroms are made inside, so that the gradient is per nanometre
        energy = hartree2kjoulemol(model((species, 10.0 * x)).energies).sum()
        (slope,) = torch.autograd.grad(energy, x)
        return float(energy.detach()), -slope[0].cpu().double().numpy()

    return compute
