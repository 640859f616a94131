"""Measure jumps of energy and forces while two molecules are moved apart; a minimisation cannot converge across one.

Jumps are caused by edges that enter or leave a graph before their weight is zero, or by a limited number of neighbours.
Between two close points a smooth function changes by about as much as in the steps around them; the jump is what a
step changes beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import ModelError, Potential
from hbcoop_dist.structures import Structure

USUAL_CUTOFF = 6.0
"""Distance up to which molecules are moved apart for models that declare no cutoff, A; that of common networks."""
_CLOSEST = 2.0  # A, shortest contact at the start, that of an H-bond; at shorter ones energies are too steep
_STEP = 0.04  # A, of the first scan
_PARTS = 8  # number of parts into which a step is divided, repeatedly
_ZOOMS = {"float64": 6, "float32": 3}  # down to 1.5e-7 A, or to 8e-5 A, the resolution of float32 positions
_NEGLIGIBLE = 1e-9  # eV and eV/A: a jump that is not divided further
_BESIDE = 5  # number of steps whose median is the expected change of a step
_NEIGHBOURS = 15  # number of steps that a jump is compared with
_BATCH = 16
_DIRECTION = np.array([0.17, 0.98, 0.11]) / np.linalg.norm([0.17, 0.98, 0.11])


@dataclass(frozen=True, slots=True)
class Jump:
    """Largest jumps of energy and forces.

    Attributes
    ----------
    energy : float
        Largest jump of the energy, eV.
    force : float
        Largest jump of a force component, eV/A.
    contact : float
        Shortest distance between the two molecules at the larger of the two, A.
    """

    energy: float
    force: float
    contact: float


class _Path:
    """Energy and forces of a dimer against the displacement of its second molecule along one direction."""

    def __init__(self, potential: Potential, dimer: Structure) -> None:
        self.potential, self.dimer = potential, dimer
        first, second = (dimer.atoms_of(molecule) for molecule in (0, 1))
        self.moves = np.zeros((len(dimer), 1))
        self.moves[second] = 1.0
        self.between = dimer.positions[second][None, :, :] - dimer.positions[first][:, None, :]
        self.start = self.displacement_of(_CLOSEST)
        self.pairs = [tuple(sorted((int(a), int(b)))) for a in dimer.numbers[first] for b in dimer.numbers[second]]

    def contact(self, displacement: float) -> float:
        """Shortest distance between the two molecules."""
        return float(np.linalg.norm(self.between + displacement * _DIRECTION, axis=2).min())

    def displacement_of(self, contact: float) -> float:
        """Displacement at which the shortest distance between the two molecules is `contact`."""
        displacement = 0.0
        while self.contact(displacement) < contact:
            displacement += _STEP
        return displacement

    def crossings(self, cutoff: float) -> FloatArray:
        """Displacements at which pairs of atoms leave the cutoff, one for every pair of elements."""
        flat = self.between.reshape(-1, 3)
        along = flat @ _DIRECTION
        root = along**2 - (flat**2).sum(axis=1) + cutoff**2
        displacements: dict[tuple[int, ...], float] = {}
        for pair, middle, inside in zip(self.pairs, along, root, strict=True):
            if inside > 0 and (displacement := float(np.sqrt(inside) - middle)) > self.start:
                displacements.setdefault(pair, displacement)
        return np.array(sorted(displacements.values()))

    def values(self, displacements: FloatArray) -> FloatArray:
        """Energy and all force components, one row per displacement."""
        rows: list[FloatArray] = []
        for start in range(0, len(displacements), _BATCH):
            structures = [
                self.dimer.with_positions(self.dimer.positions + displacement * self.moves * _DIRECTION)
                for displacement in displacements[start : start + _BATCH]
            ]
            for result in self.potential.evaluate(structures):
                if result.forces is None:
                    raise ModelError(f"model {self.potential.card.name}: expected forces, found None")
                rows.append(np.concatenate([[result.energy], result.forces.ravel()]))
        return np.array(rows)


def largest_jump(potential: Potential, dimer: Structure) -> Jump:
    """Measure the largest jumps while the two molecules of a dimer are moved apart through the cutoff.

    A scan in small steps is refined where steps change most beyond their neighbours, until only a jump remains. The
    displacements at which pairs of atoms leave the declared cutoff are examined separately, for small jumps.

    Parameters
    ----------
    potential : Potential
    dimer : Structure
        Two molecules in contact, in an arrangement without symmetry.
    """
    path = _Path(potential, dimer)
    cutoff = potential.card.about.cutoff
    zooms = _ZOOMS.get(potential.card.abilities.dtype, _ZOOMS["float32"])
    end = path.displacement_of((USUAL_CUTOFF if cutoff is None else cutoff) + 4 * _STEP)
    scan = np.arange(path.start, end, _STEP)
    # The outermost steps have neighbours on one side only.
    scan, excess = scan[2:], _excess(path.values(scan))[2:-2]
    # Near contact the excess of smooth functions is large too; farther out jumps are seen relative to their neighbours.
    relative = excess / (np.median(_around(excess, _NEIGHBOURS), axis=-1) + _NEGLIGIBLE)
    worst = {int(by[:, column].argmax()): column for by in (excess, relative) for column in (0, 1)}
    jumps = [_zoomed(path, float(scan[k]), column, zooms) for k, column in worst.items()]
    if cutoff is not None:
        width = _STEP / _PARTS**zooms
        jumps += [_at(path, displacement, width) for displacement in path.crossings(cutoff)]
    largest = max(jumps, key=lambda jump: max(jump.energy, jump.force))
    return Jump(max(jump.energy for jump in jumps), max(jump.force for jump in jumps), largest.contact)


def _zoomed(path: _Path, start: float, column: int, times: int) -> Jump:
    """Jump within one step, which is divided repeatedly where the excess is largest."""
    step = _STEP
    excess = np.zeros((1, 2))
    for _ in range(times):
        step /= _PARTS
        excess = _excess(path.values(np.linspace(start, start + step * _PARTS, _PARTS + 1)))
        start += step * int(excess[:, column].argmax())
        if excess.max() < _NEGLIGIBLE:
            break
    energy, force = excess.max(axis=0)
    return Jump(float(energy), float(force), path.contact(start))


def _at(path: _Path, displacement: float, width: float) -> Jump:
    """Jump in a step around one displacement, relative to the steps before and after."""
    around = np.linspace(displacement - 1.5 * width, displacement + 1.5 * width, 4)
    energy, force = _excess(path.values(around))[1]
    return Jump(float(energy), float(force), path.contact(displacement))


def _excess(values: FloatArray) -> FloatArray:
    """Change in every step beyond the median of the steps around it: (steps, 2), energy and largest force component."""
    steps: FloatArray = np.diff(values, axis=0)
    beyond = np.abs(steps - np.median(_around(steps, _BESIDE), axis=-1))
    return np.stack([beyond[:, 0], beyond[:, 1:].max(axis=1)], axis=1)


def _around(rows: FloatArray, count: int) -> FloatArray:
    """The `count` rows around every row, or all where there are fewer, along a last axis."""
    width = min(count, len(rows))
    windows = np.lib.stride_tricks.sliding_window_view(rows, width, axis=0)
    return windows[np.clip(np.arange(len(rows)) - width // 2, 0, len(windows) - 1)]
