"""Who labels structures: GFN-xTB with any charge, or any registered model for neutral molecules.

GFN-xTB is asked of tblite directly, since the registered model is of neutral structures and gives no dipole.

Label structures by a teacher: energies, forces, charges, dipoles, and the energy of interaction of their molecules.

A structure that the teacher has no answer for is dropped, and listed with the reason.

Measured on 300 ionic clusters: GFN2-xTB shares 0.1 to 0.3 e between molecules farther apart than 4 A in 22 of them (an
anion beside formaldehyde, anion and cation), however far they are: the self-interaction error of the method.  Such
labels teach a charge transfer that physics does not have; `largest_leak` drops them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.labelled_structures import BareStructure, LabelledSet, LabelledStructure
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, Potential, require_elements
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.bonds import kind_in_order

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
    structures = [_structure(question, potential.card.abilities.needs_topology) for question in questions]
    require_elements(potential.card, structures)
    try:
        return [_answer(one) for one in potential.evaluate(structures, forces=potential.card.abilities.forces)]
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


APART = 4.0
"""Distance, A, from which molecules should not share electrons."""

_AT_ONCE = 64
"""Structures whose questions go to the teacher in one call: what bounds the memory of a batch."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A structure without labels: its place among those asked about, and why."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Labelling:
    """Labelled structures in order, and those that are missing among them.

    Attributes
    ----------
    structures : tuple of LabelledStructure
    places : tuple of int
        Place of each among those asked about.
    dropped : tuple of Dropped
    """

    structures: tuple[LabelledStructure, ...]
    places: tuple[int, ...]
    dropped: tuple[Dropped, ...]


def label(
    structures: Sequence[BareStructure | LabelledStructure],
    by: str | Teacher,
    *,
    device: str = "cpu",
    largest_leak: float | None = None,
) -> Labelling:
    """Label structures, or label them anew.

    Parameters
    ----------
    structures : sequence of BareStructure or LabelledStructure
    by : str or Teacher
        A registered model, or one that is loaded already. ``gfn2-xtb`` and ``gfn1-xtb`` take charges and give dipoles;
        the others are of neutral molecules.
    device : str
    largest_leak : float or None
        Structures in which `leak` is larger, e, are dropped; None keeps them.

    Returns
    -------
    Labelling
        The interaction energy is E less those of the molecules, each alone with its own charge where it lies; None
        where there is one molecule.

    Raises
    ------
    ModelError
        When the teacher cannot run here, or is of neutral molecules and there are ions, or of other elements.
    """
    ask = teacher(by, device=device) if isinstance(by, str) else by
    kept: list[LabelledStructure] = []
    places: list[int] = []
    dropped: list[Dropped] = []
    for start in range(0, len(structures), _AT_ONCE):
        part = structures[start : start + _AT_ONCE]
        questions = [_questions(one) for one in part]
        answers = iter(ask([question for own in questions for question in own]))
        for place, (one, own) in enumerate(zip(part, questions, strict=True), start):
            found = _labelled(one, [next(answers) for _ in own])
            if largest_leak is not None and not isinstance(found, str) and (much := leak(found)) > largest_leak:
                found = f"{len(one)} atoms: {much:.2f} e on a molecule that is {APART} A from every other"
            if isinstance(found, str):
                dropped.append(Dropped(place, found))
            else:
                kept.append(found)
                places.append(place)
    return Labelling(tuple(kept), tuple(places), tuple(dropped))


def as_set(name: str, structures: Sequence[LabelledStructure], by: str, source: str) -> LabelledSet:
    """Labelled structures under a name, with what the card of their teacher says of its level of theory."""
    level = registry.card(by).about.level_of_theory
    return LabelledSet(name, tuple(structures), level, source, "made here; no terms")


def leak(structure: LabelledStructure) -> float:
    """Largest charge, e, beyond its own, of a molecule farther than `APART` from every other; 0 where there is none."""
    if structure.charges is None or len(structure.molecule_charges) == 1:
        return 0.0
    distances = np.linalg.norm(structure.positions[:, None] - structure.positions[None, :], axis=-1)
    worst = 0.0
    for molecule, charge in enumerate(structure.molecule_charges):
        own = structure.molecules == molecule
        if distances[own][:, ~own].min() > APART:
            worst = max(worst, abs(float(structure.charges[own].sum()) - charge))
    return worst


def _questions(one: BareStructure | LabelledStructure) -> list[Question]:
    """The whole, then its molecules one by one where there are several."""
    whole = Question(one.numbers, one.positions, one.molecules, one.molecule_charges)
    if len(one.molecule_charges) == 1:
        return [whole]
    alone = []
    for molecule, charge in enumerate(one.molecule_charges):
        own = one.molecules == molecule
        alone.append(Question(one.numbers[own], one.positions[own], np.zeros(int(own.sum()), np.int64), (charge,)))
    return [whole, *alone]


def _labelled(one: BareStructure | LabelledStructure, answers: Sequence[Answer | str]) -> LabelledStructure | str:
    got: list[Answer] = []
    for answer in answers:
        if isinstance(answer, str):
            return answer
        if not (np.isfinite(answer.energy) and (answer.forces is None or np.isfinite(answer.forces).all())):
            return f"{len(one)} atoms: expected a finite energy and finite forces, found others"
        got.append(answer)
    whole, *alone = got
    return LabelledStructure(
        numbers=one.numbers,
        positions=one.positions,
        energy=whole.energy,
        forces=whole.forces,
        parent=one.parent,
        domain=one.domain,
        charge=one.charge,
        charges=whole.charges,
        dipole=whole.dipole,
        molecules=one.molecules,
        molecule_charges=one.molecule_charges,
        interaction_energy=whole.energy - sum(part.energy for part in alone) if alone else None,
    )
