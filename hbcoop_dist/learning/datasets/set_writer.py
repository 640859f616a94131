"""Write labelled structures as an extended XYZ file, which `read_set` reads back, to 1e-8 of each column's unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure

if TYPE_CHECKING:
    from ase import Atoms


def write_set(path: Path | str, structures: Sequence[LabelledStructure]) -> None:
    """Write one file: eV, eV/A, e, e A; molecules, their charges, parent and domain under keys of their own."""
    from ase.io import write

    write(path, [atoms_of(one) for one in structures], format="extxyz")


def atoms_of(one: LabelledStructure) -> Atoms:
    """A labelled structure as ASE has it: labels in a calculator, in arrays and in ``info``."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms(one.numbers, one.positions, cell=one.cell, pbc=one.cell is not None)
    atoms.set_array("molecules", one.molecules)
    info: dict[str, Any] = {
        "total_charge": one.charge,
        "molecule_charges": list(one.molecule_charges),
        "parent": one.parent,
        "config_type": one.domain,
        "interaction_energy": one.interaction_energy,
    }
    atoms.info.update({key: value for key, value in info.items() if value is not None})
    labels = {"energy": one.energy, "forces": one.forces, "charges": one.charges, "dipole": one.dipole}
    atoms.calc = SinglePointCalculator(atoms, **{key: value for key, value in labels.items() if value is not None})
    return atoms
