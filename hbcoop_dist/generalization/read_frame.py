"""One frame of a file as a labelled structure.

What a frame does not say is found like this, in this order:

- molecules and their charges: keys of their own; a SMILES that maps every atom, whose formal charges they have; bonds
  by covalent radii where the caller says that all molecules are neutral.  Else all atoms are one molecule with the
  total charge, since a wrong charge of a molecule is worse than none;
- parent: a key of its own; SMILES and bonds, see `hbcoop_dist.generalization.parents`;
- domain: the name of its file.

Structures that repeat do so in all three directions.  They have no dipole: it would depend on which images of their
atoms stand in the file.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.connectivity import (
    bonds,
    connectivity_name,
    mapped_molecules,
    molecules_of,
    plain_smiles,
)
from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.parents import Parentage
from hbcoop_dist.generalization.reading import NOTHING, Frame, ReadError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def read_frame(frame: Frame) -> tuple[LabelledStructure, Parentage]:
    """The structure, whose parent is still to be told, and what tells it; atoms are put molecule by molecule.

    Raises
    ------
    ReadError
        When it has no energy, not all that is required, or labels of another shape, or repeats in some directions.
    """
    reading = frame.reading
    numbers = frame.atoms.numbers.astype(np.int64)
    positions = frame.atoms.positions * reading.length
    n, cell = len(numbers), _cell(frame)
    charge = _charge(frame)
    smiles, parent = frame.text("smiles"), frame.text("parent")
    energy = frame.values("energy", ())
    if energy is None:
        raise frame.error("energy", "a number", NOTHING)
    forces, charges = frame.values("forces", (n, 3)), frame.values("charges", (n,))
    dipole = frame.values("dipole", (3,)) if cell is None else None
    interaction = frame.values("interaction_energy", ())
    labels = {"forces": forces, "charges": charges, "dipole": dipole, "interaction_energy": interaction}
    for label in reading.require:
        if label in labels and labels[label] is None:
            raise frame.error(label, "numbers", NOTHING)
    # bonds cost more than all the rest, and a framework with a name of its own needs none
    graph = bonds(numbers, positions, cell) if parent is None or reading.neutral_molecules else None
    owner, molecule_charges = _molecules(frame, graph, smiles, charge)
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
        cell=cell,
    )
    plain = None if smiles is None else plain_smiles(smiles)
    return structure, Parentage(parent, plain, "" if graph is None else connectivity_name(numbers, graph))


def _cell(frame: Frame) -> FloatArray | None:
    periodic = frame.atoms.pbc
    if not periodic.any():
        return None
    if not periodic.all() or frame.atoms.cell.rank < 3:
        found = "".join("T" if one else "F" for one in periodic)
        raise ReadError(
            f"{frame.path}, {frame.place}, pbc: expected a structure that repeats in no direction or, with three "
            f"lattice vectors, in all, found {found} and {frame.atoms.cell.rank} vectors",
            "pbc: expected a structure that repeats in no direction or in all",
        )
    return np.asarray(frame.atoms.cell, dtype=np.float64) * frame.reading.length


def _charge(frame: Frame) -> int:
    found = frame.whole("charge", ())
    if found is not None:
        return int(found)
    if frame.reading.charge is None:
        raise frame.error("charge", "a whole number", f"{NOTHING}, and no charge for frames that do not say theirs")
    return frame.reading.charge


def _molecules(
    frame: Frame, graph: nx.Graph[int] | None, smiles: str | None, charge: int
) -> tuple[IntArray, tuple[int, ...]]:
    """Molecule of every atom, and charges of molecules that sum to that of the frame."""
    n = len(frame.atoms)
    owner = frame.whole("molecules", (n,))
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
    if frame.reading.neutral_molecules and charge == 0 and graph is not None:
        bonded = molecules_of(graph)
        return bonded, (0,) * (int(bonded.max()) + 1)
    return np.zeros(n, dtype=np.int64), (charge,)
