"""Label structures by a teacher: energies, forces, charges, dipoles and interaction energies of their molecules.

A teacher is GFN-xTB with any charge, or any registered model for neutral molecules. GFN-xTB is called through tblite
directly, because the registered model is for neutral structures and gives no dipole. A structure without a result from
the teacher is dropped and listed with the reason.

Measured on 300 ionic clusters: GFN2-xTB shares 0.1 to 0.3 e between molecules farther apart than 4 A in 22 of them (an
anion beside formaldehyde, anion and cation), at any distance, which is the self-interaction error of the method. Such
labels teach an unphysical charge transfer; `largest_leak` drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.datasets.labelled_structures import (
    LabelledStructure,
    UnlabelledStructure,
    isolated_molecules,
)
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, Potential, require_elements
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.geometry import kind_in_order

APART = 4.0
"""Distance, A, from which molecules should not share electrons."""

_STRUCTURES_PER_CALL = 64
"""Structures that a teacher labels in one call, which bounds the memory of a batch."""

# tblite's default damping of the charge mixing first. An anion far from a molecule that holds an electron nearly as
# well (formate, formaldehyde) oscillates with it in 8 of 300 ionic clusters; with less mixing these converge, and where
# several dampings do, they end in one state. Of 200 other clusters one converged with none of them.
_DAMPINGS = (0.4, 0.1, 0.2)
_KEPT = ("numbers", "positions", "parent", "domain", "charge", "molecules", "molecule_charges")
"""Fields of a structure that do not depend on its labels."""
AnyStructure = UnlabelledStructure | LabelledStructure


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Result of a teacher; None where it does not provide a label.

    Attributes
    ----------
    energy : float
        eV.
    forces : (N, 3) array or None
        eV/A.
    charges : (N,) array or None
        e.
    dipole : (3,) array or None
        About the origin, e A.
    """

    energy: float
    forces: FloatArray | None
    charges: FloatArray | None
    dipole: FloatArray | None


Teacher = Callable[[Sequence[AnyStructure]], list[Labels | str]]
"""One result per request, in order, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A structure without labels.

    Attributes
    ----------
    index : int
        Index among the structures to be labelled.
    reason : str
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class LabellingResult:
    """Labelled structures in order, and those without labels.

    Attributes
    ----------
    structures : tuple of LabelledStructure
    dropped : tuple of Dropped
    """

    structures: tuple[LabelledStructure, ...]
    dropped: tuple[Dropped, ...]


def label(
    structures: Sequence[AnyStructure],
    by: str | Teacher,
    *,
    device: str = "cpu",
    largest_leak: float | None = None,
) -> LabellingResult:
    """Label structures, or replace their labels.

    Parameters
    ----------
    structures : sequence of UnlabelledStructure or LabelledStructure
    by : str or Teacher
        Name of a registered model, or a loaded teacher. ``gfn2-xtb`` and ``gfn1-xtb`` accept charges and give dipoles;
        other models are for neutral molecules.
    device : str
    largest_leak : float or None
        Charge, e; structures whose `charge_leak` is larger are dropped. None keeps all.

    Returns
    -------
    LabellingResult
        Interaction energies are E minus those of the molecules, each alone in its place with its own charge; None for
        a single molecule.

    Raises
    ------
    ModelError
        When the teacher cannot run here, does not know an element, or is for neutral molecules and there are ions.
    """
    teacher = load_teacher(by, device=device) if isinstance(by, str) else by
    labelled: list[LabelledStructure] = []
    dropped: list[Dropped] = []
    for start in range(0, len(structures), _STRUCTURES_PER_CALL):
        part = structures[start : start + _STRUCTURES_PER_CALL]
        requests = [_requests(structure) for structure in part]
        results = iter(teacher([request for own in requests for request in own]))
        for index, (structure, own) in enumerate(zip(part, requests, strict=True), start):
            result = _with_labels(structure, [next(results) for _ in own])
            if largest_leak is not None and not isinstance(result, str):
                leak = charge_leak(result)
                if leak > largest_leak:
                    result = f"{len(structure)} atoms: {leak:.2f} e on a molecule that is {APART} A from every other"
            if isinstance(result, str):
                dropped.append(Dropped(index, result))
            else:
                labelled.append(result)
    return LabellingResult(tuple(labelled), tuple(dropped))


def charge_leak(structure: LabelledStructure) -> float:
    """Return the largest deviation, e, from its own charge of a molecule farther than `APART` from all others, or 0."""
    if structure.charges is None or len(structure.molecule_charges) == 1:
        return 0.0
    distances = np.linalg.norm(structure.positions[:, None] - structure.positions[None, :], axis=-1)
    largest = 0.0
    for molecule, charge in enumerate(structure.molecule_charges):
        atoms = structure.molecules == molecule
        if distances[atoms][:, ~atoms].min() > APART:
            largest = max(largest, abs(float(structure.charges[atoms].sum()) - charge))
    return largest


def load_teacher(name: str, *, device: str = "cpu") -> Teacher:
    """Load the teacher of a name.

    Parameters
    ----------
    name : str
        Name of a registered model.
    device : str

    Raises
    ------
    ModelError
        When no such model is registered, or it cannot run here.
    """
    card = registry.card(name)
    if card.family == "xtb":
        if not (state := registry.available(card)):
            raise ModelError(f"model {name} cannot run here: {state.reason}")
        return lambda requests: [_label_by_xtb(card, request) for request in requests]
    potential = registry.load(card, device=device)
    return lambda requests: _label_by_model(potential, requests)


def _label_by_xtb(card: ModelCard, request: AnyStructure) -> Labels | str:
    """Run one self-consistent calculation, with the lowest spin that the number of electrons allows."""
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    charge = sum(request.molecule_charges)
    spin = int(request.numbers.sum() - charge) % 2
    positions = request.positions / Bohr
    reason = ""
    for damping in _DAMPINGS:
        calculator = Calculator(str(card.options["method"]), request.numbers, positions, float(charge), spin)
        for setting, value in (("verbosity", 0), ("accuracy", card.options["accuracy"]), ("mixer-damping", damping)):
            calculator.set(setting, value)
        try:
            result = calculator.singlepoint()
        except TBLiteRuntimeError as error:
            reason = f"{card.name}, {len(request.numbers)} atoms of charge {charge}: {error}"
            continue
        return Labels(
            energy=float(result.get("energy")) * Hartree,
            forces=-np.asarray(result.get("gradient")) * (Hartree / Bohr),
            charges=np.array(result.get("charges"), dtype=np.float64),
            dipole=np.asarray(result.get("dipole"), dtype=np.float64) * Bohr,
        )
    return reason


def _label_by_model(potential: Potential, requests: Sequence[AnyStructure]) -> list[Labels | str]:
    """Evaluate all requests at once, or one by one when one of them fails."""
    for request in requests:
        if any(request.molecule_charges):
            raise ModelError(
                f"model {potential.card.name}: expected neutral molecules, found charges {request.molecule_charges}"
            )
    structures = [_structure(request, potential.card.abilities.needs_topology) for request in requests]
    require_elements(potential.card, structures)
    try:
        evaluations = potential.evaluate(structures, forces=potential.card.abilities.forces)
    except ModelError as error:
        if len(structures) == 1:
            return [str(error)]
        return [result for request in requests for result in _label_by_model(potential, [request])]
    return [_labels_of(evaluation) for evaluation in evaluations]


def _structure(request: AnyStructure, topology: bool) -> Structure:
    kinds = ["other"] * len(request.molecule_charges)
    if topology:
        for molecule in range(len(kinds)):
            atoms = request.molecules == molecule
            kinds[molecule] = kind_in_order(request.numbers[atoms], request.positions[atoms])
    return Structure(request.numbers, request.positions, request.molecules, tuple(kinds))


def _labels_of(evaluation: Evaluation) -> Labels:
    def as_float64(values: Any) -> FloatArray | None:
        return None if values is None else np.array(values, dtype=np.float64)

    return Labels(float(evaluation.energy), as_float64(evaluation.forces), as_float64(evaluation.charges), None)


def _requests(structure: AnyStructure) -> list[AnyStructure]:
    """The structure, then its molecules one by one if there are several."""
    return [structure, *(isolated_molecules(structure) if len(structure.molecule_charges) > 1 else [])]


def _with_labels(structure: AnyStructure, results: Sequence[Labels | str]) -> LabelledStructure | str:
    labels: list[Labels] = []
    for result in results:
        if isinstance(result, str):
            return result
        if not (np.isfinite(result.energy) and (result.forces is None or np.isfinite(result.forces).all())):
            return f"{len(structure)} atoms: expected a finite energy and finite forces, found others"
        labels.append(result)
    whole, *alone = labels
    own = {name: getattr(structure, name) for name in _KEPT}
    interaction = whole.energy - sum(part.energy for part in alone) if alone else None
    return LabelledStructure(**own, **asdict(whole), interaction_energy=interaction)
