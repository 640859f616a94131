"""Read labelled sets from extended XYZ files.

What a frame does not say is found like this, in this order:

- molecules and their charges: keys of their own; a SMILES that maps every atom, whose formal charges they have; bonds
  by covalent radii where the caller says that all molecules are neutral.  Else all atoms are one molecule with the
  total charge, since a wrong charge of a molecule is worse than none;
- parent: a key of its own; SMILES and bonds, see `hbcoop_dist.generalization.parents`;
- domain: the name of its file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.connectivity import (
    bonds,
    connectivity_name,
    mapped_molecules,
    molecules_of,
    plain_smiles,
)
from hbcoop_dist.generalization.labelled import LabelledSet, LabelledStructure
from hbcoop_dist.generalization.parents import Parentage, parents
from hbcoop_dist.generalization.reading import Frame, ReadError, Reading

IntArray = NDArray[np.int64]


def read_set(
    name: str,
    files: Sequence[Path | str],
    *,
    level_of_theory: str,
    source: str,
    licence: str,
    reading: Reading | None = None,
) -> LabelledSet:
    """Read several files as one set.

    Atoms are put molecule by molecule where a file mixes them.

    Raises
    ------
    ReadError
        When a file cannot be read, holds no frames or periodic ones, or a frame has no energy or labels of another
        shape.
    """
    frames = [frame for path in files for frame in _frames(Path(path), reading or Reading())]
    if not frames:
        raise ReadError(f"set {name}: expected at least one file, found none")
    found = [_structure(frame) for frame in frames]
    named = parents([parentage for _, parentage in found])
    structures = tuple(replace(one, parent=parent) for (one, _), parent in zip(found, named, strict=True))
    return LabelledSet(name, structures, level_of_theory, source, licence)


def _frames(path: Path, reading: Reading) -> list[Frame]:
    from ase.io import read

    try:
        atoms = read(path, index=":", format="extxyz")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ReadError(f"{path}: expected an extended XYZ file, found: {error}") from error
    frames = [Frame(one, path, number, reading) for number, one in enumerate(atoms)]
    if not frames:
        raise ReadError(f"{path}: expected frames, found none")
    if periodic := [frame.number for frame in frames if frame.atoms.pbc.any()]:
        raise ReadError(f"{path}, frame {periodic[0]}, pbc: expected molecules that are not periodic, found periodic")
    return frames


def _structure(frame: Frame) -> tuple[LabelledStructure, Parentage]:
    numbers = frame.atoms.numbers.astype(np.int64)
    n, reading = len(numbers), frame.reading
    positions = frame.atoms.positions * reading.length
    graph = bonds(numbers, positions)
    smiles = frame.text("smiles")
    charge = _charge(frame)
    owner, molecule_charges = _molecules(frame, molecules_of(graph), smiles, charge)
    energy, forces = frame.values("energy", ()), frame.values("forces", (n, 3))
    if energy is None:
        raise frame.error("energy", "a number", "no such key")
    charges, dipole = frame.values("charges", (n,)), frame.values("dipole", (3,))
    interaction = frame.values("interaction_energy", ())
    order = np.argsort(owner, kind="stable")
    structure = LabelledStructure(
        numbers=numbers[order],
        positions=positions[order],
        energy=float(energy) * reading.energy,
        forces=None if forces is None else forces[order] * (reading.energy / reading.length),
        parent="",
        domain=frame.text("domain") or frame.path.stem,
        charge=charge,
        charges=None if charges is None else charges[order],
        dipole=None if dipole is None else dipole * reading.dipole,
        molecules=owner[order],
        molecule_charges=molecule_charges,
        interaction_energy=None if interaction is None else float(interaction) * reading.energy,
    )
    plain = None if smiles is None else plain_smiles(smiles)
    return structure, Parentage(frame.text("parent"), plain, connectivity_name(numbers, graph))


def _charge(frame: Frame) -> int:
    found = frame.whole("charge", ())
    if found is not None:
        return int(found)
    if frame.reading.charge is None:
        raise frame.error("charge", "a whole number", "no such key, and no charge for frames that do not say theirs")
    return frame.reading.charge


def _molecules(frame: Frame, bonded: IntArray, smiles: str | None, charge: int) -> tuple[IntArray, tuple[int, ...]]:
    """Molecule of every atom, and charges of molecules that sum to that of the frame."""
    owner = frame.whole("molecules", (len(bonded),))
    if owner is not None:
        count = len(np.unique(owner))
        given = frame.whole("molecule_charges", (count,))
        if sorted(set(owner.tolist())) != list(range(count)):
            raise frame.error("molecules", "indices 0, 1, ... without gaps", str(np.unique(owner))[:80])
        if given is not None and given.sum() != charge:
            raise frame.error("molecule_charges", f"charges that sum to {charge}", str(given.tolist()))
        if given is not None:
            return owner, tuple(int(one) for one in given)
    mapped = None if smiles is None else mapped_molecules(smiles, frame.atoms.numbers)
    if mapped is not None and sum(mapped[1]) == charge:
        return mapped
    if frame.reading.neutral_molecules and charge == 0:
        return bonded, (0,) * (int(bonded.max()) + 1)
    return np.zeros(len(bonded), dtype=np.int64), (charge,)
