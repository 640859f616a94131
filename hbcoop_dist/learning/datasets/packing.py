"""Labelled structures as plain arrays and back, bit for bit: how they travel in results and lie in journals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.labelled_structures import FloatArray, LabelledStructure

_OPTIONAL = ("forces", "charges", "dipole")


def pack(structures: Sequence[LabelledStructure]) -> dict[str, object]:
    """One dict of float64, int64 and bool arrays and strings.

    Parameters
    ----------
    structures : sequence of S LabelledStructure
        N atoms and M molecules all together.

    Returns
    -------
    dict
        ``offsets`` (S + 1,) and ``molecule_offsets`` (S + 1,), where each structure begins; ``numbers``, ``molecules``
        (N,); ``positions``, ``forces`` (N, 3); ``charges`` (N,); ``dipole`` (S, 3); ``molecule_charges`` (M,);
        ``energy``, ``interaction_energy``, ``charge`` (S,); ``has_NAME`` (S,) for labels that may be missing, which are
        zero where they are; ``parents`` and ``domains``, JSON lists. Only where some structure repeats, ``cell``
        (S, 3, 3) and ``has_cell``: what molecules are packed to has not changed since there were no cells.
    """
    kept = list(structures)
    packed: dict[str, object] = {
        "offsets": _offsets([len(one) for one in kept]),
        "molecule_offsets": _offsets([len(one.molecule_charges) for one in kept]),
        "numbers": _join([one.numbers for one in kept], (0,), np.int64),
        "molecules": _join([one.molecules for one in kept], (0,), np.int64),
        "positions": _join([one.positions for one in kept], (0, 3), np.float64),
        "molecule_charges": _join([np.array(one.molecule_charges) for one in kept], (0,), np.int64),
        "energy": np.array([one.energy for one in kept], dtype=np.float64),
        "charge": np.array([one.charge for one in kept], dtype=np.int64),
        "parents": json.dumps([one.parent for one in kept]),
        "domains": json.dumps([one.domain for one in kept]),
    }
    empty: dict[str, Callable[[LabelledStructure], FloatArray]] = {
        "forces": lambda one: np.zeros((len(one), 3)),
        "charges": lambda one: np.zeros(len(one)),
        "dipole": lambda one: np.zeros(3),
    }
    for name in _OPTIONAL:
        values = [getattr(one, name) for one in kept]
        packed[f"has_{name}"] = np.array([value is not None for value in values], dtype=bool)
        filled = [empty[name](one) if value is None else value for one, value in zip(kept, values, strict=True)]
        joined = _join(filled, (0,), np.float64)
        packed[name] = joined if name == "charges" else joined.reshape(-1, 3)
    interactions = [one.interaction_energy for one in kept]
    packed["has_interaction_energy"] = np.array([value is not None for value in interactions], dtype=bool)
    packed["interaction_energy"] = np.array([value or 0.0 for value in interactions], dtype=np.float64)
    if any(one.cell is not None for one in kept):
        packed["has_cell"] = np.array([one.cell is not None for one in kept], dtype=bool)
        cells = [np.zeros((3, 3)) if one.cell is None else one.cell for one in kept]
        packed["cell"] = np.stack(cells).astype(np.float64)
    return packed


def unpack(packed: Mapping[str, Any]) -> tuple[LabelledStructure, ...]:
    """The structures that `pack` was given.

    Raises
    ------
    ValueError
        When fields are missing or do not fit each other.
    """
    wanted = {
        "offsets",
        "molecule_offsets",
        "numbers",
        "molecules",
        "positions",
        "molecule_charges",
        "energy",
        "charge",
    }
    wanted |= {"parents", "domains", "interaction_energy", *_OPTIONAL}
    wanted |= {f"has_{name}" for name in (*_OPTIONAL, "interaction_energy")}
    wanted |= {"cell", "has_cell"} if {"cell", "has_cell"} & set(packed) else set()
    if missing := sorted(wanted - set(packed)):
        raise ValueError(f"packed structures: expected the fields of pack(), found none named {', '.join(missing)}")
    parents, domains = json.loads(packed["parents"]), json.loads(packed["domains"])
    offsets = np.asarray(packed["offsets"])
    found = (len(parents), len(domains), len(packed["energy"]), len(offsets) - 1)
    if len(set(found)) > 1 or offsets[-1] != len(packed["numbers"]):
        raise ValueError(
            f"packed structures: expected as many parents, domains, energies and offsets (one more), and atoms up "
            f"to the last, found {found}, {offsets[-1]} and {len(packed['numbers'])}"
        )
    return tuple(_one(packed, place, parents[place], domains[place]) for place in range(len(parents)))


def _one(packed: Mapping[str, Any], place: int, parent: str, domain: str) -> LabelledStructure:
    atoms = slice(*packed["offsets"][place : place + 2])
    molecules = slice(*packed["molecule_offsets"][place : place + 2])

    def labels(name: str, where: slice | int) -> Any:
        return np.array(packed[name][where]) if f"has_{name}" in packed and packed[f"has_{name}"][place] else None

    return LabelledStructure(
        numbers=np.array(packed["numbers"][atoms]),
        positions=np.array(packed["positions"][atoms]),
        energy=float(packed["energy"][place]),
        forces=labels("forces", atoms),
        parent=parent,
        domain=domain,
        charge=int(packed["charge"][place]),
        charges=labels("charges", atoms),
        dipole=labels("dipole", place),
        molecules=np.array(packed["molecules"][atoms]),
        molecule_charges=tuple(int(charge) for charge in packed["molecule_charges"][molecules]),
        interaction_energy=(
            float(packed["interaction_energy"][place]) if packed["has_interaction_energy"][place] else None
        ),
        cell=labels("cell", place),
    )


def _offsets(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _join(arrays: Sequence[Any], empty: tuple[int, ...], kind: type) -> NDArray[Any]:
    return np.concatenate(arrays).astype(kind) if arrays else np.zeros(empty, dtype=kind)
