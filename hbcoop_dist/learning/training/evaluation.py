"""How far a trained network is from the labels of structures: energies, forces, charges, interaction energies.

Charges are compared up to one sign for all: where nothing but energies taught them, both signs are as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from ase.units import kcal, mol
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.network import Network
from hbcoop_dist.learning.networks.network_builder import network_of
from hbcoop_dist.learning.networks.prediction import Prediction, predict
from hbcoop_dist.learning.networks.trained_files import Trained

FloatArray = NDArray[np.float64]
Key = TypeVar("Key", str, int)

_MEV = 1e3
_KCAL = float(mol / kcal)


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """Errors of some of the structures.

    Attributes
    ----------
    count : int
        Structures.
    energy_mae, energy_rmse : float
        Of the energy per atom, meV.
    structure_energy_mae, structure_energy_rmse : float
        Of the energy of a structure, meV.
    forces_mae, forces_rmse : float
        Of force components, meV/A; NaN where no structure has reference forces.
    """

    count: int
    energy_mae: float
    energy_rmse: float
    structure_energy_mae: float
    structure_energy_rmse: float
    forces_mae: float
    forces_rmse: float


@dataclass(frozen=True, slots=True)
class InteractionErrors:
    """Errors of the energy of molecules together less that of each alone, kcal/mol; NaN where `count` is 0."""

    count: int
    mae: float
    rmse: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of a network; what no structure has a label of is NaN, and its count 0.

    Attributes
    ----------
    all : GroupErrors
    by_domain, by_size : mapping
        The same for each part of chemical space, and for each number of atoms.
    n_charges, n_dipoles : int
        Atoms and structures whose charges and dipoles were compared; structures that repeat have no dipole.
    charges_mae : float
        e, up to the global sign.
    charges_correlation : float
        With its sign.
    dipole_rmse : float
        Of components, e A, from the network's charges up to their global sign.
    near, beyond : InteractionErrors
        Of structures in which atoms of different molecules are within the cutoff, and of those in which none are.
    """

    all: GroupErrors
    by_domain: Mapping[str, GroupErrors]
    by_size: Mapping[int, GroupErrors]
    n_charges: int
    n_dipoles: int
    charges_mae: float
    charges_correlation: float
    dipole_rmse: float
    near: InteractionErrors
    beyond: InteractionErrors


def evaluate(trained: Trained, structures: Sequence[LabelledStructure], *, device: str = "cpu") -> Errors:
    """Test a trained network, in float64.

    Raises
    ------
    ValueError
        When there is no structure, or one holds an element that the network does not know.
    """
    if not structures:
        raise ValueError("test set: expected structures, found none")
    network = network_of(trained, device=device)
    found = predict(network, structures)
    sign, mae, correlation, n_charges = _charges(found, structures)
    dipole_rmse, n_dipoles = _dipoles(found, structures, sign)
    near, beyond = _interactions(network, found, structures)
    return Errors(
        all=_group(found, structures),
        by_domain=_by(lambda one: one.domain, found, structures),
        by_size=_by(len, found, structures),
        n_charges=n_charges,
        n_dipoles=n_dipoles,
        charges_mae=mae,
        charges_correlation=correlation,
        dipole_rmse=dipole_rmse,
        near=near,
        beyond=beyond,
    )


def molecules_alone(structure: LabelledStructure) -> list[LabelledStructure]:
    """Every molecule of a structure where it is, in its cell if it has one, with its own charge, and no labels."""
    made = []
    for molecule, charge in enumerate(structure.molecule_charges):
        mine = structure.molecules == molecule
        bare = replace(structure, energy=float("nan"), forces=None, charges=None, dipole=None, interaction_energy=None)
        made.append(
            replace(
                bare,
                numbers=structure.numbers[mine],
                positions=structure.positions[mine],
                charge=charge,
                molecules=np.zeros(int(mine.sum()), dtype=np.int64),
                molecule_charges=(charge,),
            )
        )
    return made


def _by(
    key: Callable[[LabelledStructure], Key], found: Sequence[Prediction], structures: Sequence[LabelledStructure]
) -> dict[Key, GroupErrors]:
    keys = [key(one) for one in structures]
    made = {}
    for name in sorted(set(keys)):
        mine = [place for place, one in enumerate(keys) if one == name]
        made[name] = _group([found[k] for k in mine], [structures[k] for k in mine])
    return made


def _group(found: Sequence[Prediction], structures: Sequence[LabelledStructure]) -> GroupErrors:
    energy = _MEV * np.array([one.energy - label.energy for one, label in zip(found, structures, strict=True)])
    per_atom = energy / np.array([len(label) for label in structures])
    forces = [
        (one.forces - label.forces).ravel()
        for one, label in zip(found, structures, strict=True)
        if one.forces is not None and label.forces is not None
    ]
    slopes = _MEV * _joined(forces)
    return GroupErrors(
        len(structures), _mae(per_atom), _rmse(per_atom), _mae(energy), _rmse(energy), _mae(slopes), _rmse(slopes)
    )


def _charges(found: Sequence[Prediction], structures: Sequence[LabelledStructure]) -> tuple[float, float, float, int]:
    """Global sign, MAE, correlation and number of charges."""
    pairs = [
        (one.charges, label.charges)
        for one, label in zip(found, structures, strict=True)
        if one.charges is not None and label.charges is not None
    ]
    mine, theirs = _joined([one for one, _ in pairs]), _joined([one for _, one in pairs])
    spread = min(np.ptp(mine), np.ptp(theirs)) if mine.size else 0.0
    correlation = float(np.corrcoef(mine, theirs)[0, 1]) if spread > 0 else float("nan")
    sign = -1.0 if correlation < 0 else 1.0
    return sign, _mae(sign * mine - theirs), correlation, len(mine)


def _dipoles(found: Sequence[Prediction], structures: Sequence[LabelledStructure], sign: float) -> tuple[float, int]:
    differences = [
        sign * one.charges @ label.positions - label.dipole
        for one, label in zip(found, structures, strict=True)
        if one.charges is not None and label.dipole is not None and label.cell is None
    ]
    return _rmse(_joined(differences)), len(differences)


def _interactions(
    network: Network, found: Sequence[Prediction], structures: Sequence[LabelledStructure]
) -> tuple[InteractionErrors, InteractionErrors]:
    mine = [k for k, one in enumerate(structures) if one.interaction_energy is not None]
    parts = [molecules_alone(structures[k]) for k in mine]
    alone = iter(predict(network, [part for some in parts for part in some], forces=False))
    errors: dict[bool, list[float]] = {False: [], True: []}
    for k, some in zip(mine, parts, strict=True):
        label = structures[k]
        together = found[k].energy - sum(next(alone).energy for _ in some)
        assert label.interaction_energy is not None
        errors[label.gap > network.spec.cutoff].append(_KCAL * (together - label.interaction_energy))
    near, beyond = (np.array(errors[beyond]) for beyond in (False, True))
    return (
        InteractionErrors(len(near), _mae(near), _rmse(near)),
        InteractionErrors(len(beyond), _mae(beyond), _rmse(beyond)),
    )


def _joined(arrays: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _mae(errors: FloatArray) -> float:
    return float(np.mean(np.abs(errors))) if errors.size else float("nan")


def _rmse(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(errors**2))) if errors.size else float("nan")
