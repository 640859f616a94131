"""ANI in openmm-ml from a NeuroChem folder: torchani's ensemble in single precision, as a PythonForce.

openmm-ml's own ANI reads, or downloads, only the networks inside torchani's package. In version 1.8 it also returns
forces per A where OpenMM expects them per nm, which makes them a tenth of the gradient. This implementation is
registered with openmm-ml under a name of its own and makes the same torchani calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import openmm
from openmm import unit
from openmmml.mlpotential import MLPotential, MLPotentialImpl, MLPotentialImplFactory

from hbcoop_dist.core.arrays import FloatArray

NAME = "hbcoop-ani"
"""Name for `MLPotential`, which takes the argument ``folder``."""


class _Factory(MLPotentialImplFactory):  # type: ignore[misc]  # openmm-ml has no types
    """Factory of the implementation for `MLPotential`."""

    def createImpl(self, name: str, **args: Any) -> _AniFolder:
        """Create the implementation for the folder in `args`."""
        return _AniFolder(args["folder"])


class _AniFolder(MLPotentialImpl):  # type: ignore[misc]
    """ANI networks of one folder as a force of an OpenMM system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def addForces(self, topology: Any, system: Any, atoms: Iterable[int] | None, forceGroup: int, **args: Any) -> None:
        """Add one force on all atoms; subsets of atoms are not supported."""
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


def _compute(model: Any, numbers: list[int], device: Any) -> Callable[[Any], tuple[float, FloatArray]]:
    import torch
    from torchani.units import hartree2kjoulemol

    species = torch.tensor([numbers], device=device)

    def compute(state: Any) -> tuple[float, FloatArray]:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        x = torch.tensor(positions, dtype=torch.float32, device=device).unsqueeze(0).requires_grad_(True)
        # converted to A inside the graph, so that the gradient is per nm
        energy = hartree2kjoulemol(model((species, 10.0 * x)).energies).sum()
        (gradient,) = torch.autograd.grad(energy, x)
        return float(energy.detach()), -gradient[0].cpu().double().numpy()

    return compute
