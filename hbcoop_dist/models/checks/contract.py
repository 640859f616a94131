"""The contract every model keeps, as measurements: ``hbcoop models check`` prints them and the tests assert them.

What a card declares not to hold (forces that are no gradient, missing rotation invariance, jumps at the cutoff) is
measured and reported, never failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.models.base import Evaluation, FloatArray, ModelError, Potential, UnknownElementError
from hbcoop_dist.models.checks.smoothness import largest_jump
from hbcoop_dist.structures import Structure, monomer
from hbcoop_dist.structures.monomers import donor_water

_STEPS = (1e-3, 1e-4, 2e-5)  # A, of the differences
_LONG_STEPS = (2e-2, 5e-2)  # A, above the round-off of float32 energies
_PROBED_ATOMS = 4
_FAR = 100.0  # A
_SHIFT = -50.0  # A
_NO_FORCES = "the card says that there are no forces"
_OGANESSON = 118  # no model was made for it


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the contract.

    Attributes
    ----------
    name : str
        What was checked.
    measured : float
        The deviation found; 0 or 1 for yes-or-no checks.
    limit : float or None
        Largest allowed deviation; None where it is reported only.
    passed : bool
    note : str
        Unit of `measured`, or what was found.
    """

    name: str
    measured: float
    limit: float | None
    passed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Limits:
    """Allowed deviations: round-off of the float type, at energies of some 1e4 eV."""

    energy: float  # eV
    force: float  # eV/A


_LIMITS = {"float64": _Limits(energy=1e-8, force=1e-7), "float32": _Limits(energy=5e-3, force=5e-2)}


def probes() -> dict[str, Structure]:
    """Distorted monomer, dimer, water and hydrated monomer: no symmetry, no stationary point, no atom in a plane."""
    random = np.random.default_rng(20250101)
    nma, water = monomer().positions, donor_water()
    # The N-H of the second molecule and one O-H of the water point at the carbonyl O.
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
    potential
        A loaded model.
    only
        Names of the checks wanted; all of them unless given.

    Returns
    -------
    list of CheckResult
        One per check, in a fixed order. A check that raises is a failed one, with the error as its note.
    """
    results = []
    for name, measure in _CHECKS.items():
        if only and name not in only:
            continue
        try:
            results.append(measure(name, potential))
        except Exception as error:  # noqa: BLE001  a foreign model may raise anything, and the table must go on
            results.append(CheckResult(name, float("nan"), None, False, f"{type(error).__name__}: {error}"))
    return results


def _limits(potential: Potential) -> _Limits:
    return _LIMITS.get(potential.card.dtype, _LIMITS["float32"])


def _evaluated(potential: Potential, structures: Sequence[Structure]) -> list[Evaluation]:
    """With forces where the model has them."""
    return potential.evaluate(structures, forces=potential.card.forces)


def _energy(potential: Potential, structure: Structure) -> float:
    return potential.evaluate([structure], forces=False)[0].energy


def _forces(potential: Potential, structure: Structure) -> FloatArray:
    """Forces, eV/A; zero where the card says that there are none."""
    if not potential.card.forces:
        return np.zeros_like(structure.positions)
    forces = potential.evaluate([structure])[0].forces
    if forces is None:
        raise ModelError(f"model {potential.card.name}: expected forces, found None")
    return forces


def _judged(name: str, measured: float, limit: float, note: str, declared: bool = True) -> CheckResult:
    if not declared:
        return CheckResult(name, measured, None, True, f"{note}; the card does not promise it")
    return CheckResult(name, measured, limit, bool(measured <= limit), note)


def _finite(name: str, potential: Potential) -> CheckResult:
    results = _evaluated(potential, list(probes().values()))
    slopes = [np.zeros(1) if not potential.card.forces else r.forces for r in results]
    bad = sum(
        not np.isfinite(r.energy) or slope is None or not np.isfinite(slope).all()
        for r, slope in zip(results, slopes, strict=True)
    )
    return _judged(name, float(bad), 0.0, "structures without finite energy and forces")


def _gradient(name: str, potential: Potential) -> CheckResult:
    if not potential.card.forces:
        return CheckResult(name, 0.0, None, True, _NO_FORCES)
    structure = probes()["dimer"]
    forces, worst = _forces(potential, structure), 0.0
    double = potential.card.dtype == "float64"
    for atom in np.linspace(0, len(structure) - 1, _PROBED_ATOMS).astype(int):
        for axis in range(3):
            # Activations with kinks in their second derivative (CELU in ANI) spoil the longer steps, round-off the
            # shorter ones. A force that is no gradient agrees with none of them.
            slopes = [_slope(potential, structure, atom, axis, step) for step in (_STEPS if double else _LONG_STEPS)]
            worst = max(worst, min(abs(slope + forces[atom, axis]) for slope in slopes))
    limit = 1e-6 if double else _limits(potential).force
    return _judged(name, worst, limit, "eV/A, largest difference", potential.card.forces_are_gradient)


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
    if not potential.card.forces:
        return CheckResult(name, 0.0, None, True, _NO_FORCES)
    jump = largest_jump(potential, probes()["dimer"])
    note = (
        f"eV/A, largest jump of a force as two NMA part, {jump.energy:.1e} eV of the energy; "
        f"contact then {jump.contact:.2f} A"
    )
    return _judged(name, max(jump.energy, jump.force), _limits(potential).force, note, potential.card.smooth)


def _batch(name: str, potential: Potential) -> CheckResult:
    structures = list(probes().values())
    together = _evaluated(potential, structures)
    alone = [_evaluated(potential, [structure])[0] for structure in reversed(structures)][::-1]
    worst = 0.0
    for a, b in zip(together, alone, strict=True):
        worst = max(worst, abs(a.energy - b.energy))
        if a.forces is not None and b.forces is not None:
            worst = max(worst, float(np.abs(a.forces - b.forces).max()))
    return _judged(name, worst, _limits(potential).energy, "eV and eV/A, batch against one at a time, reversed")


def _repeat(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    first = _energy(potential, structure)
    _energy(potential, probes()["water"])
    # A GPU adds in any order; on a CPU the same call gives the same bits.
    limit = 0.0 if potential.device == "cpu" else _limits(potential).energy
    return _judged(name, abs(_energy(potential, structure) - first), limit, "eV, the same structure twice")


def _rotation(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    turn, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))
    turn *= np.linalg.det(turn)
    turned = structure.with_positions(structure.positions @ turn.T)
    energy = abs(_energy(potential, turned) - _energy(potential, structure))
    force = np.abs(_forces(potential, turned) - _forces(potential, structure) @ turn.T).max()
    promised = potential.card.rotation_invariant
    return _judged(name, max(energy, float(force)), _limits(potential).force, "eV and eV/A, the larger", promised)


def _mirror(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    through = np.array([1.0, 1.0, -1.0])
    image = structure.with_positions(structure.positions * through)
    energy = abs(_energy(potential, image) - _energy(potential, structure))
    force = np.abs(_forces(potential, image) - _forces(potential, structure) * through).max()
    promised = potential.card.mirror_invariant and potential.card.rotation_invariant
    return _judged(name, max(energy, float(force)), _limits(potential).force, "eV and eV/A, the larger", promised)


def _translation(name: str, potential: Potential) -> CheckResult:
    structure = probes()["dimer"]
    away = structure.with_positions(structure.positions + _SHIFT)
    back = structure.with_positions(away.positions - _SHIFT)
    energy = _energy(potential, structure)
    worst = max(abs(_energy(potential, moved) - energy) for moved in (away, back))
    # Positions near -50 A carry fewer digits; in float32 that alone moves each atom by 4e-6 A.
    return _judged(name, worst, _limits(potential).energy, f"eV, by {_SHIFT:.0f} A along x, y, z and back")


def _permutation(name: str, potential: Potential) -> CheckResult:
    if potential.card.needs_topology:
        return CheckResult(name, 0.0, None, True, "exempt: the model reads atoms by their place in the molecule")
    structure = probes()["dimer"]
    random = np.random.default_rng(3)
    order = np.concatenate([random.permutation(structure.atoms_of(m)) for m in range(len(structure.kinds))])
    mixed = Structure(structure.numbers[order], structure.positions[order], structure.molecules, ("other",) * 2)
    energy = abs(_energy(potential, mixed) - _energy(potential, structure))
    force = np.abs(_forces(potential, mixed) - _forces(potential, structure)[order]).max()
    return _judged(name, max(energy, float(force)), _limits(potential).force, "eV and eV/A, atoms within molecules")


def _extensivity(name: str, potential: Potential) -> CheckResult:
    nma, water = probes()["monomer"], probes()["water"]
    alone = [_energy(potential, nma), _energy(potential, water)]
    away = [_FAR, 0.0, 0.0]
    # two of one kind say little: where features of all atoms are averaged first, their average is that of one
    alike = Structure.from_molecules([("nma", nma.positions), ("nma", nma.positions + away)])
    unlike = Structure.from_molecules([("nma", nma.positions), ("water", water.positions + away)])
    deviation = max(
        abs(_energy(potential, alike) - 2 * alone[0]),
        abs(_energy(potential, unlike) - sum(alone)),
    )
    note = f"eV, NMA and a second molecule (NMA, water) {_FAR:.0f} A apart against their sum"
    if potential.card.long_range:
        return CheckResult(name, deviation, None, True, f"{note}; long-range, reported only")
    return _judged(name, deviation, _limits(potential).energy, note, potential.card.extensive)


def _declared_elements(name: str, potential: Potential) -> CheckResult:
    missing = {1, 6, 7, 8} - set(potential.card.elements)
    return _judged(name, float(len(missing)), 0.0, "elements of NMA and water that the card does not declare")


def _unknown_element(name: str, potential: Potential) -> CheckResult:
    structure = Structure(np.array([_OGANESSON]), np.zeros((1, 3)), np.array([0]), ("other",))
    try:
        _evaluated(potential, [structure])
    except UnknownElementError as error:
        named = "Og" in str(error) and potential.card.name in str(error)
        return CheckResult(name, float(not named), 0.0, named, str(error))
    return CheckResult(name, 1.0, 0.0, False, "oganesson was evaluated, not refused")


def _float_type(name: str, potential: Potential) -> CheckResult:
    declared = potential.card
    passed = declared.dtype == "float64" or bool(declared.dtype_reason)
    forces = _forces(potential, probes()["monomer"])
    return CheckResult(
        name,
        float(not passed),
        0.0,
        passed and forces.dtype == np.float64,
        declared.dtype if declared.dtype == "float64" else f"{declared.dtype}: {declared.dtype_reason or 'no reason'}",
    )


def _atom_energies(name: str, potential: Potential) -> CheckResult:
    structures: Sequence[Structure] = list(probes().values())
    results = potential.evaluate(structures, forces=False, atom_energies=True)
    if not potential.card.atom_energies:
        silent = all(result.atom_energies is None for result in results)
        return CheckResult(name, float(not silent), 0.0, silent, "the card says that there are none")
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
    if not potential.card.charges:
        return CheckResult(name, 0.0, None, True, "the card says that there are none")
    if any(result.charges is None for result in results):
        return CheckResult(name, 1.0, 0.0, False, "expected charges, found None")
    worst = max(abs(float(result.charges.sum())) for result in results if result.charges is not None)
    return _judged(name, worst, 1e-4, "e, total charge of neutral structures")


def _members(name: str, potential: Potential) -> CheckResult:
    results = potential.evaluate(list(probes().values()), forces=False)
    each = [result.member_energies for result in results]
    if all(one is None for one in each):
        return CheckResult(name, 0.0, None, True, "no ensemble")
    shapes = {None if one is None else one.shape for one in each}
    if len(shapes) > 1 or not (shape := shapes.pop()) or len(shape) != 1 or shape[0] < 2:
        return CheckResult(name, 1.0, 0.0, False, "expected the energies of two members or more, as many for all")
    worst = max(
        abs(float(one.mean()) - result.energy) for one, result in zip(each, results, strict=True) if one is not None
    )
    return _judged(name, worst, _limits(potential).energy, "eV, their mean against the energy")


_CHECKS: dict[str, Callable[[str, Potential], CheckResult]] = {
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
