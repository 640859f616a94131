"""The contract that every model keeps, as measurements: ``hbcoop models check`` prints them, tests assert them.

Laws that a card declares as not kept (forces that are no gradient, missing rotation invariance, jumps at the cutoff)
are measured and reported, and never fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Evaluation, ModelError, Potential, UnknownElementError
from hbcoop_dist.models.checks.smoothness import largest_jump
from hbcoop_dist.structures import Structure, monomer
from hbcoop_dist.structures.monomers import donor_water

_STEPS = (1e-3, 1e-4, 2e-5)  # A, of finite differences
_LONG_STEPS = (2e-2, 5e-2)  # A, above the round-off of float32 energies
_PROBED_ATOMS = 4
_FAR = 100.0  # A
_SHIFT = -50.0  # A
_NO_FORCES = "not measured: the card declares no forces"
_OGANESSON = 118  # an element that no model declares


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check.

    Attributes
    ----------
    name : str
        Name of the check.
    measured : float
        Measured deviation; 0 or 1 for yes-or-no checks.
    limit : float or None
        Largest allowed deviation; None where it is reported only.
    passed : bool
    note : str
        Unit of `measured`, or an explanation.
    """

    name: str
    measured: float
    limit: float | None
    passed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Limits:
    """Allowed deviations: round-off of the float type at energies of the order of 1e4 eV."""

    energy: float  # eV
    force: float  # eV/A


_LIMITS = {"float64": _Limits(energy=1e-8, force=1e-7), "float32": _Limits(energy=5e-3, force=5e-2)}


def probes() -> dict[str, Structure]:
    """Structures of the checks: monomer, dimer, water and hydrated monomer, distorted such that no symmetry is left."""
    random = np.random.default_rng(20250101)
    nma, water = monomer().positions, donor_water()
    # The N-H of the second molecule and one O-H of the water donate H-bonds to the carbonyl O.
    molecules = {
        "monomer": [("nma", nma)],
        "dimer": [("nma", nma), ("nma", nma + [1.2, 4.7, 0.3])],
        "water": [("water", water)],
        "hydrate": [("nma", nma), ("water", water + [3.6, 3.2, 0.4])],
    }
    return {name: _distorted(Structure.from_molecules(parts), random) for name, parts in molecules.items()}


def _distorted(structure: Structure, random: np.random.Generator) -> Structure:
    return structure.with_positions(structure.positions + 0.03 * random.standard_normal(structure.positions.shape))


def check(potential: Potential, only: Collection[str] = ()) -> list[CheckResult]:
    """Run the contract suite.

    Parameters
    ----------
    potential : Potential
    only : collection of str
        Names of the checks to run, from `CHECKS`; all by default.

    Returns
    -------
    list of CheckResult
        One per check, in a fixed order. A check that raises has failed, with the error as its note.
    """
    results = []
    for name, measure in CHECKS.items():
        if only and name not in only:
            continue
        try:
            results.append(measure(name, potential))
        except Exception as error:  # noqa: BLE001  models of other packages may raise anything
            results.append(CheckResult(name, float("nan"), None, False, f"{type(error).__name__}: {error}"))
    return results


def _limits(potential: Potential) -> _Limits:
    return _LIMITS.get(potential.card.abilities.dtype, _LIMITS["float32"])


def _evaluated(potential: Potential, structures: Sequence[Structure]) -> list[Evaluation]:
    """Evaluations, with forces where the model has them."""
    return potential.evaluate(structures, forces=potential.card.abilities.forces)


def _energy(potential: Potential, structure: Structure) -> float:
    return potential.evaluate([structure], forces=False)[0].energy


def _forces(potential: Potential, structure: Structure) -> FloatArray:
    """Forces, eV/A; zero where the card declares none."""
    if not potential.card.abilities.forces:
        return np.zeros_like(structure.positions)
    forces = potential.evaluate([structure])[0].forces
    if forces is None:
        raise ModelError(f"model {potential.card.name}: expected forces, found None")
    return forces


def _deviation(potential: Potential, moved: Structure, carried: Callable[[FloatArray], FloatArray]) -> float:
    """Larger change of energy and forces, eV and eV/A, from the probed dimer to an equivalent structure.

    `carried` turns the forces of the dimer into those expected of the equivalent structure.
    """
    structure = probes()["dimer"]
    energy = abs(_energy(potential, moved) - _energy(potential, structure))
    force = np.abs(_forces(potential, moved) - carried(_forces(potential, structure))).max()
    return max(energy, float(force))


def _judged(name: str, measured: float, limit: float, note: str, declared: bool = True) -> CheckResult:
    if not declared:
        return CheckResult(name, measured, None, True, f"{note}; the card declares that this law is not kept")
    return CheckResult(name, measured, limit, bool(measured <= limit), note)


def _all_finite(forces: FloatArray | None) -> bool:
    return forces is not None and bool(np.isfinite(forces).all())


def _finite(name: str, potential: Potential) -> CheckResult:
    results = _evaluated(potential, list(probes().values()))
    needed = potential.card.abilities.forces
    bad = sum(not np.isfinite(r.energy) or (needed and not _all_finite(r.forces)) for r in results)
    return _judged(name, float(bad), 0.0, "structures without finite energy and forces")


def _gradient(name: str, potential: Potential) -> CheckResult:
    if not potential.card.abilities.forces:
        return CheckResult(name, 0.0, None, True, _NO_FORCES)
    structure = probes()["dimer"]
    forces, worst = _forces(potential, structure), 0.0
    double = potential.card.abilities.dtype == "float64"
    for atom in np.linspace(0, len(structure) - 1, _PROBED_ATOMS).astype(int):
        for axis in range(3):
            # Longer steps suffer from kinks in the second derivative of activations (CELU in ANI), shorter ones from
            # round-off. Forces that are no gradient agree with none of them.
            slopes = [_slope(potential, structure, atom, axis, step) for step in (_STEPS if double else _LONG_STEPS)]
            worst = max(worst, min(abs(slope + forces[atom, axis]) for slope in slopes))
    limit = 1e-6 if double else _limits(potential).force
    return _judged(name, worst, limit, "eV/A, largest difference", potential.card.abilities.forces_are_gradient)


def _slope(potential: Potential, structure: Structure, atom: int, axis: int, step: float) -> float:
    """Fourth-order central difference of the energy, eV/A."""
    weights = {2: -1.0, 1: 8.0, -1: -8.0, -2: 1.0}
    shifted = []
    for count in weights:
        positions = structure.positions.copy()
        positions[atom, axis] += count * step
        shifted.append(structure.with_positions(positions))
    energies = [result.energy for result in potential.evaluate(shifted, forces=False)]
    return float(np.dot(list(weights.values()), energies)) / (12 * step)


def _smoothness(name: str, potential: Potential) -> CheckResult:
    if not potential.card.abilities.forces:
        return CheckResult(name, 0.0, None, True, _NO_FORCES)
    jump = largest_jump(potential, probes()["dimer"])
    note = (
        f"eV/A, largest jump of a force component while two NMA are moved apart, {jump.energy:.1e} eV of the energy; "
        f"shortest contact there {jump.contact:.2f} A"
    )
    return _judged(name, max(jump.energy, jump.force), _limits(potential).force, note, potential.card.abilities.smooth)


def _batch(name: str, potential: Potential) -> CheckResult:
    structures = list(probes().values())
    together = _evaluated(potential, structures)
    alone = [_evaluated(potential, [structure])[0] for structure in reversed(structures)][::-1]
    worst = 0.0
    for a, b in zip(together, alone, strict=True):
        worst = max(worst, abs(a.energy - b.energy))
        if a.forces is not None and b.forces is not None:
            worst = max(worst, float(np.abs(a.forces - b.forces).max()))
    note = "eV and eV/A, batch against single structures in reverse order"
    return _judged(name, worst, _limits(potential).energy, note)


def _repeat(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    first = _energy(potential, structure)
    _energy(potential, probes()["water"])
    # The order of sums on a GPU varies; on a CPU results are equal bit by bit.
    limit = 0.0 if potential.device == "cpu" else _limits(potential).energy
    return _judged(name, abs(_energy(potential, structure) - first), limit, "eV, the same structure twice")


def _rotation(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    turn, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))
    turn *= np.linalg.det(turn)
    turned = structure.with_positions(structure.positions @ turn.T)
    worst = _deviation(potential, turned, lambda forces: forces @ turn.T)
    promised = potential.card.abilities.rotation_invariant
    return _judged(name, worst, _limits(potential).force, "eV and eV/A, the larger", promised)


def _mirror(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    through = np.array([1.0, 1.0, -1.0])
    image = structure.with_positions(structure.positions * through)
    worst = _deviation(potential, image, lambda forces: forces * through)
    promised = potential.card.abilities.mirror_invariant and potential.card.abilities.rotation_invariant
    return _judged(name, worst, _limits(potential).force, "eV and eV/A, the larger", promised)


def _translation(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    away = structure.with_positions(structure.positions + _SHIFT)
    back = structure.with_positions(away.positions - _SHIFT)
    energy = _energy(potential, structure)
    worst = max(abs(_energy(potential, moved) - energy) for moved in (away, back))
    # In float32 positions near -50 A are rounded by 4e-6 A.
    return _judged(name, worst, _limits(potential).energy, f"eV, by {_SHIFT:.0f} A along x, y, z and back")


def _permutation(name: str, potential: Potential) -> CheckResult:
    if potential.card.abilities.needs_topology:
        return CheckResult(name, 0.0, None, True, "exempt: the model identifies atoms by their order in the molecule")
    structure = probes()["dimer"]
    random = np.random.default_rng(3)
    order = np.concatenate([random.permutation(structure.atoms_of(m)) for m in range(len(structure.kinds))])
    mixed = Structure(structure.numbers[order], structure.positions[order], structure.molecules, ("other",) * 2)
    worst = _deviation(potential, mixed, lambda forces: forces[order])
    return _judged(name, worst, _limits(potential).force, "eV and eV/A, atoms within molecules")


def _extensivity(name: str, potential: Potential) -> CheckResult:
    nma, water = probes()["monomer"], probes()["water"]
    alone = [_energy(potential, nma), _energy(potential, water)]
    away = [_FAR, 0.0, 0.0]
    # Two equal molecules do not suffice: an average over the features of all atoms is the same as for one of them.
    alike = Structure.from_molecules([("nma", nma.positions), ("nma", nma.positions + away)])
    unlike = Structure.from_molecules([("nma", nma.positions), ("water", water.positions + away)])
    deviation = max(abs(_energy(potential, alike) - 2 * alone[0]), abs(_energy(potential, unlike) - sum(alone)))
    note = f"eV, NMA and a second molecule (NMA, water) {_FAR:.0f} A apart against their sum"
    if potential.card.about.long_range:
        return CheckResult(name, deviation, None, True, f"{note}; long-range, reported only")
    return _judged(name, deviation, _limits(potential).energy, note, potential.card.abilities.extensive)


def _declared_elements(name: str, potential: Potential) -> CheckResult:
    missing = {1, 6, 7, 8} - set(potential.card.about.elements)
    return _judged(name, float(len(missing)), 0.0, "elements of NMA and water that the card does not declare")


def _unknown_element(name: str, potential: Potential) -> CheckResult:
    structure = Structure(np.array([_OGANESSON]), np.zeros((1, 3)), np.array([0]), ("other",))
    try:
        _evaluated(potential, [structure])
    except UnknownElementError as error:
        named = "Og" in str(error) and potential.card.name in str(error)
        return CheckResult(name, float(not named), 0.0, named, str(error))
    return CheckResult(name, 1.0, 0.0, False, "oganesson was evaluated and not refused")


def _float_type(name: str, potential: Potential) -> CheckResult:
    dtype, reason = potential.card.abilities.dtype, potential.card.abilities.dtype_reason
    explained = dtype == "float64" or bool(reason)
    forces = _forces(potential, probes()["monomer"])
    note = dtype if dtype == "float64" else f"{dtype}: {reason or 'no reason'}"
    return CheckResult(name, float(not explained), 0.0, explained and forces.dtype == np.float64, note)


def _atom_energies(name: str, potential: Potential) -> CheckResult:
    structures: Sequence[Structure] = list(probes().values())
    results = potential.evaluate(structures, forces=False, atom_energies=True)
    if not potential.card.abilities.atom_energies:
        absent = all(result.atom_energies is None for result in results)
        return CheckResult(name, float(not absent), 0.0, absent, "the card declares none")
    worst = 0.0
    for structure, result in zip(structures, results, strict=True):
        parts = result.atom_energies
        if parts is None or parts.shape != (len(structure),):
            found = None if parts is None else parts.shape
            return CheckResult(name, 1.0, 0.0, False, f"expected shape ({len(structure)},), found {found}")
        worst = max(worst, abs(float(parts.sum()) - result.energy))
    return _judged(name, worst, _limits(potential).energy, "eV, their sum against the energy")


def _charges(name: str, potential: Potential) -> CheckResult:
    results = potential.evaluate(list(probes().values()), forces=False)
    if not potential.card.abilities.charges:
        return CheckResult(name, 0.0, None, True, "the card declares none")
    if any(result.charges is None for result in results):
        return CheckResult(name, 1.0, 0.0, False, "expected charges, found None")
    worst = max(abs(float(result.charges.sum())) for result in results if result.charges is not None)
    return _judged(name, worst, 1e-4, "e, total charge of neutral structures")


def _members(name: str, potential: Potential) -> CheckResult:
    results = potential.evaluate(list(probes().values()), forces=False)
    members = [result.member_energies for result in results]
    if all(energies is None for energies in members):
        return CheckResult(name, 0.0, None, True, "no ensemble")
    shapes = {None if energies is None else energies.shape for energies in members}
    if len(shapes) > 1 or not (shape := shapes.pop()) or len(shape) != 1 or shape[0] < 2:
        note = "expected energies of two or more members, of the same number for all structures"
        return CheckResult(name, 1.0, 0.0, False, note)
    worst = max(
        abs(float(energies.mean()) - result.energy)
        for energies, result in zip(members, results, strict=True)
        if energies is not None
    )
    return _judged(name, worst, _limits(potential).energy, "eV, their mean against the energy")


CHECKS: dict[str, Callable[[str, Potential], CheckResult]] = {
    "finite": _finite,
    "forces are the gradient": _gradient,
    "smooth through the cutoff": _smoothness,
    "batch equals loop": _batch,
    "repeat": _repeat,
    "rotation": _rotation,
    "mirror image": _mirror,
    "translation": _translation,
    "permutation": _permutation,
    "extensivity": _extensivity,
    "declared elements": _declared_elements,
    "unknown element refused": _unknown_element,
    "float type": _float_type,
    "atom energies": _atom_energies,
    "charges": _charges,
    "members": _members,
}
"""Checks by name, in the order in which `check` runs them."""
