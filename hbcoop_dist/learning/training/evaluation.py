"""Errors of a trained network against labels: energies, forces, charges, dipoles and interaction energies.

Charges are compared up to one sign for all: where only energies are trained on, both signs are equivalent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase.units import kcal, mol

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure, isolated_molecules
from hbcoop_dist.learning.networks.network_module import Network, Prediction, network_of, predict
from hbcoop_dist.learning.networks.trained_files import Trained

Key = TypeVar("Key", str, int)

_MEV = 1e3
_KCAL = float(mol / kcal)


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """Errors of a group of structures.

    Attributes
    ----------
    count : int
        Number of structures.
    energy_mae, energy_rmse : float
        Errors of the energy per atom, meV.
    structure_energy_mae, structure_energy_rmse : float
        Errors of the energy of a structure, meV.
    forces_mae, forces_rmse : float
        Errors of force components, meV/A; NaN when no structure has reference forces.
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
    """Errors of interaction energies: the energy of a structure minus those of its molecules, each alone.

    Attributes
    ----------
    count : int
        Number of structures.
    mae, rmse : float
        kcal/mol; NaN when `count` is 0.
    """

    count: int
    mae: float
    rmse: float

    @classmethod
    def of(cls, errors: FloatArray) -> InteractionErrors:
        """Return the statistics of single errors, kcal/mol."""
        return cls(len(errors), mae_of(errors), rmse_of(errors))


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of a network; a quantity without labels is NaN and its count 0.

    Attributes
    ----------
    all : GroupErrors
    by_domain : mapping of str to GroupErrors
        Errors of each part of chemical space.
    by_size : mapping of int to GroupErrors
        Errors by number of atoms.
    n_charges, n_dipoles : int
        Numbers of atoms and structures whose charges and dipoles were compared; periodic structures have no dipole.
    charges_mae : float
        e, up to the global sign.
    charges_correlation : float
        Pearson correlation of predicted and reference charges, with its sign.
    dipole_rmse : float
        RMSE of dipole components, e A, from the network's charges up to their global sign.
    near, beyond : InteractionErrors
        Errors of structures in which atoms of different molecules are within the cutoff, and of the others.
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
    """Evaluate a trained network in float64.

    Parameters
    ----------
    trained : Trained
    structures : sequence of LabelledStructure
        Test set.
    device : str

    Returns
    -------
    Errors

    Raises
    ------
    ValueError
        When there are no structures.
    """
    if not structures:
        raise ValueError("test set: expected structures, found none")
    network = network_of(trained, device=device)
    predictions = predict(network, structures)
    sign, charges_mae, correlation, n_charges = _charge_errors(predictions, structures)
    dipole_rmse, n_dipoles = _dipole_errors(predictions, structures, sign)
    near, beyond = _interaction_errors(network, predictions, structures)
    return Errors(
        all=_group_errors(predictions, structures),
        by_domain=_errors_by(lambda structure: structure.domain, predictions, structures),
        by_size=_errors_by(len, predictions, structures),
        n_charges=n_charges,
        n_dipoles=n_dipoles,
        charges_mae=charges_mae,
        charges_correlation=correlation,
        dipole_rmse=dipole_rmse,
        near=near,
        beyond=beyond,
    )


def _errors_by(
    key: Callable[[LabelledStructure], Key], predictions: Sequence[Prediction], structures: Sequence[LabelledStructure]
) -> dict[Key, GroupErrors]:
    keys = [key(structure) for structure in structures]
    errors = {}
    for name in sorted(set(keys)):
        members = [index for index, value in enumerate(keys) if value == name]
        errors[name] = _group_errors([predictions[k] for k in members], [structures[k] for k in members])
    return errors


def _group_errors(predictions: Sequence[Prediction], structures: Sequence[LabelledStructure]) -> GroupErrors:
    differences = [prediction.energy - label.energy for prediction, label in zip(predictions, structures, strict=True)]
    energy = _MEV * np.array(differences)
    per_atom = energy / np.array([len(label) for label in structures])
    forces = _MEV * force_errors(predictions, structures)
    statistics = [statistic for errors in (per_atom, energy, forces) for statistic in (mae_of(errors), rmse_of(errors))]
    return GroupErrors(len(structures), *statistics)


def _charge_errors(
    predictions: Sequence[Prediction], structures: Sequence[LabelledStructure]
) -> tuple[float, float, float, int]:
    """Global sign, MAE, correlation and number of charges."""
    pairs = [
        (prediction.charges, label.charges)
        for prediction, label in zip(predictions, structures, strict=True)
        if prediction.charges is not None and label.charges is not None
    ]
    predicted, reference = _joined([charges for charges, _ in pairs]), _joined([charges for _, charges in pairs])
    spread = min(np.ptp(predicted), np.ptp(reference)) if predicted.size else 0.0
    correlation = float(np.corrcoef(predicted, reference)[0, 1]) if spread > 0 else float("nan")
    sign = -1.0 if correlation < 0 else 1.0
    return sign, mae_of(sign * predicted - reference), correlation, len(predicted)


def _dipole_errors(
    predictions: Sequence[Prediction], structures: Sequence[LabelledStructure], sign: float
) -> tuple[float, int]:
    differences = [
        sign * prediction.charges @ label.positions - label.dipole
        for prediction, label in zip(predictions, structures, strict=True)
        if prediction.charges is not None and label.dipole is not None and label.cell is None
    ]
    return rmse_of(_joined(differences)), len(differences)


def _interaction_errors(
    network: Network, predictions: Sequence[Prediction], structures: Sequence[LabelledStructure]
) -> tuple[InteractionErrors, InteractionErrors]:
    labelled = [k for k, structure in enumerate(structures) if structure.interaction_energy is not None]
    parts = [isolated_molecules(structures[k]) for k in labelled]
    alone = iter(predict(network, [part for molecules in parts for part in molecules], forces=False))
    errors: dict[bool, list[float]] = {False: [], True: []}
    for k, molecules in zip(labelled, parts, strict=True):
        label = structures[k]
        interaction = predictions[k].energy - sum(next(alone).energy for _ in molecules)
        assert label.interaction_energy is not None
        errors[label.gap > network.spec.cutoff].append(_KCAL * (interaction - label.interaction_energy))
    near, beyond = (np.array(errors[is_beyond]) for is_beyond in (False, True))
    return InteractionErrors.of(near), InteractionErrors.of(beyond)


def force_errors(predictions: Sequence[Prediction], structures: Sequence[LabelledStructure]) -> FloatArray:
    """Return the errors of all force components, (n,), eV/A, of the structures that have reference forces.

    Parameters
    ----------
    predictions : sequence of Prediction
    structures : sequence of LabelledStructure
        The same structures in the same order.
    """
    return _joined(
        [
            (prediction.forces - label.forces).ravel()
            for prediction, label in zip(predictions, structures, strict=True)
            if prediction.forces is not None and label.forces is not None
        ]
    )


def _joined(arrays: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def mae_of(errors: FloatArray) -> float:
    """Return the mean absolute error; NaN without errors."""
    return float(np.mean(np.abs(errors))) if errors.size else float("nan")


def rmse_of(errors: FloatArray) -> float:
    """Return the root of the mean square; NaN without errors."""
    return float(np.sqrt(np.mean(errors**2))) if errors.size else float("nan")
