"""Who labels structures: GFN-xTB with any charge, or any registered model for neutral molecules.

GFN-xTB is asked of tblite directly, since the registered model is of neutral structures and gives no dipole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, Potential, require_elements
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.perceive import kind_in_order

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a teacher is asked about: atomic numbers (N,), positions (N, 3) A, molecule of each atom, their charges."""

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    molecule_charges: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Energy, eV; forces (N, 3), eV/A; partial charges (N,), e; dipole (3,) about the origin, e A; None: not given."""

    energy: float
    forces: FloatArray | None
    charges: FloatArray | None
    dipole: FloatArray | None


# tblite's own damping of the charge mixing first. An anion far from a molecule that holds an electron nearly as well
# (formate, formaldehyde) oscillates with it in 8 of 300 ionic clusters; with less mixing these converge, and where
# several dampings do, they end in one state. Of 200 others one converged with none of them.
_DAMPINGS = (0.4, 0.1, 0.2)

Teacher = Callable[[Sequence[Question]], list[Answer | str]]
"""One answer for every question, in order, or the reason why there is none."""


def teacher(name: str, *, device: str = "cpu") -> Teacher:
    """Load the teacher of a name.

    Raises
    ------
    ModelError
        When no such model is registered, or it cannot run here.
    """
    card = registry.card(name)
    if card.family == "xtb":
        if not (state := registry.available(card)):
            raise ModelError(f"model {name} cannot run here: {state.reason}")
        return lambda questions: [_xtb(card, question) for question in questions]
    potential = registry.load(card, device=device)
    return lambda questions: _registered(potential, questions)


def _xtb(card: ModelCard, question: Question) -> Answer | str:
    """One self-consistent calculation, with the lowest spin that the number of electrons allows."""
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    charge = sum(question.molecule_charges)
    spin = int(question.numbers.sum() - charge) % 2
    positions = question.positions / Bohr
    reason = ""
    for damping in _DAMPINGS:
        calculator = Calculator(str(card.options["method"]), question.numbers, positions, float(charge), spin)
        for setting, value in (("verbosity", 0), ("accuracy", card.options["accuracy"]), ("mixer-damping", damping)):
            calculator.set(setting, value)
        try:
            return _xtb_answer(calculator.singlepoint())
        except TBLiteRuntimeError as error:
            reason = f"{card.name}, {len(question.numbers)} atoms of charge {charge}: {error}"
    return reason


def _xtb_answer(result: Any) -> Answer:
    return Answer(
        energy=float(result.get("energy")) * Hartree,
        forces=-np.asarray(result.get("gradient")) * (Hartree / Bohr),
        charges=np.array(result.get("charges"), dtype=np.float64),
        dipole=np.asarray(result.get("dipole"), dtype=np.float64) * Bohr,
    )


def _registered(potential: Potential, questions: Sequence[Question]) -> list[Answer | str]:
    """All at once; one by one where a structure among them has no energy."""
    for question in questions:
        if any(question.molecule_charges):
            raise ModelError(
                f"model {potential.card.name}: expected neutral molecules, found charges {question.molecule_charges}"
            )
    structures = [_structure(question, potential.card.needs_topology) for question in questions]
    require_elements(potential.card, structures)
    try:
        return [_answer(one) for one in potential.evaluate(structures, forces=potential.card.forces)]
    except ModelError as error:
        if len(structures) == 1:
            return [str(error)]
        return [answer for question in questions for answer in _registered(potential, [question])]


def _structure(question: Question, topology: bool) -> Structure:
    kinds = ["other"] * len(question.molecule_charges)
    if topology:
        for molecule in range(len(kinds)):
            own = question.molecules == molecule
            kinds[molecule] = kind_in_order(question.numbers[own], question.positions[own])
    return Structure(question.numbers, question.positions, question.molecules, tuple(kinds))


def _answer(found: Evaluation) -> Answer:
    def plain(values: Any) -> FloatArray | None:
        return None if values is None else np.array(values, dtype=np.float64)

    return Answer(float(found.energy), plain(found.forces), plain(found.charges), None)
