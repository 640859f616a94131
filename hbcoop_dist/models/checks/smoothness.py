"""Jumps in energy and forces on the way of two molecules apart: a minimiser cannot converge across one.

They come from edges that enter or leave a graph before their weight is zero, or from a capped number of neighbours.
Between two places that are close enough together any smooth function changes as its surroundings do; what a step
changes beyond the steps beside it is the jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import FloatArray, ModelError, Potential
from hbcoop_dist.structures import Structure

USUAL_CUTOFF = 6.0
"""How far apart molecules are moved for models that declare no cutoff, A: no common network's is longer."""
_CLOSEST = 2.0  # A, where the way begins: a hydrogen bond's; nearer, energies are too steep to tell anything apart
_STEP = 0.04  # A, of the first scan
_PARTS = 8  # a step is divided into so many, again and again
_ZOOMS = {"float64": 6, "float32": 3}  # down to 1.5e-7 A, or to 8e-5 A, below which float32 positions are grainy
_NOTHING = 1e-9  # eV and eV/A: a step that is explained so well is not divided again
_BESIDE = 5  # steps whose median is what a step is expected to change
_NEIGHBOURS = 15  # steps among which a jump stands out
_BATCH = 16
_DIRECTION = np.array([0.17, 0.98, 0.11]) / np.linalg.norm([0.17, 0.98, 0.11])


@dataclass(frozen=True, slots=True)
class Jump:
    """The largest jumps found.

    Attributes
    ----------
    energy : float
        eV.
    force : float
        eV/A, of one component.
    contact : float
        Shortest distance between the two molecules where the larger of the two was found, A.
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
        self.start = self.where(_CLOSEST)
        self.pairs = [tuple(sorted((int(a), int(b)))) for a in dimer.numbers[first] for b in dimer.numbers[second]]

    def contact(self, displacement: float) -> float:
        """Shortest distance between the two molecules."""
        return float(np.linalg.norm(self.between + displacement * _DIRECTION, axis=2).min())

    def where(self, contact: float) -> float:
        """Displacement from which on nothing of one molecule is so near to the other."""
        displacement = 0.0
        while self.contact(displacement) < contact:
            displacement += _STEP
        return displacement

    def crossings(self, cutoff: float) -> FloatArray:
        """Where one pair of every two elements leaves the cutoff."""
        flat = self.between.reshape(-1, 3)
        along = flat @ _DIRECTION
        root = along**2 - (flat**2).sum(axis=1) + cutoff**2
        places: dict[tuple[int, ...], float] = {}
        for pair, middle, inside in zip(self.pairs, along, root, strict=True):
            if inside > 0 and (place := float(np.sqrt(inside) - middle)) > self.start:
                places.setdefault(pair, place)
        return np.array(sorted(places.values()))

    def values(self, displacements: FloatArray) -> FloatArray:
        """Energy and all force components, one row per displacement."""
        rows: list[FloatArray] = []
        for start in range(0, len(displacements), _BATCH):
            structures = [
                self.dimer.with_positions(self.dimer.positions + place * self.moves * _DIRECTION)
                for place in displacements[start : start + _BATCH]
            ]
            for one in self.potential.evaluate(structures):
                if one.forces is None:
                    raise ModelError(f"model {self.potential.card.name}: expected forces, found None")
                rows.append(np.concatenate([[one.energy], one.forces.ravel()]))
        return np.array(rows)


def largest_jump(potential: Potential, dimer: Structure) -> Jump:
    """Move the two molecules of a dimer apart through the cutoff and measure the largest jumps.

    Parameters
    ----------
    potential
        A loaded model.
    dimer
        Two molecules in contact, in a place without symmetry.

    Returns
    -------
    Jump
        A scan in small steps, whose most conspicuous ones are divided until nothing but a jump is left of them; and the
        places where pairs of atoms leave the declared cutoff, where even small jumps are seen.
    """
    path = _Path(potential, dimer)
    cutoff = potential.card.cutoff
    zooms = _ZOOMS.get(potential.card.dtype, _ZOOMS["float32"])
    end = path.where((USUAL_CUTOFF if cutoff is None else cutoff) + 4 * _STEP)
    places = np.arange(path.start, end, _STEP)
    # of the outermost steps only one side is known
    places, found = places[2:], _unexplained(path.values(places))[2:-2]
    # near contact much is left unexplained that is smooth: a jump there is large, one farther out stands out around it
    outstanding = found / (np.median(_around(found, _NEIGHBOURS), axis=-1) + _NOTHING)
    worst = {int(by[:, column].argmax()): column for by in (found, outstanding) for column in (0, 1)}
    jumps = [_zoomed(path, float(places[k]), column, zooms) for k, column in worst.items()]
    if cutoff is not None:
        width = _STEP / _PARTS**zooms
        jumps += [_at(path, place, width) for place in path.crossings(cutoff)]
    where = max(jumps, key=lambda jump: max(jump.energy, jump.force))
    return Jump(max(jump.energy for jump in jumps), max(jump.force for jump in jumps), where.contact)


def _zoomed(path: _Path, start: float, column: int, times: int) -> Jump:
    """The jump within one step, which is divided so many times, always where the change is least explained."""
    step = _STEP
    found = np.zeros((1, 2))
    for _ in range(times):
        step /= _PARTS
        found = _unexplained(path.values(np.linspace(start, start + step * _PARTS, _PARTS + 1)))
        start += step * int(found[:, column].argmax())
        if found.max() < _NOTHING:
            break
    energy, force = found.max(axis=0)
    return Jump(float(energy), float(force), path.contact(start))


def _at(path: _Path, place: float, width: float) -> Jump:
    """The jump in a step around one place, against the step before and the step after."""
    around = np.linspace(place - 1.5 * width, place + 1.5 * width, 4)
    energy, force = _unexplained(path.values(around))[1]
    return Jump(float(energy), float(force), path.contact(place))


def _unexplained(values: FloatArray) -> FloatArray:
    """What every step changes beyond the median of those around it: (steps, 2), energy and largest force component."""
    steps: NDArray[np.float64] = np.diff(values, axis=0)
    beyond = np.abs(steps - np.median(_around(steps, _BESIDE), axis=-1))
    return np.stack([beyond[:, 0], beyond[:, 1:].max(axis=1)], axis=1)


def _around(rows: FloatArray, count: int) -> FloatArray:
    """For every row the `count` rows around it, fewer where there are fewer, along a last axis."""
    width = min(count, len(rows))
    windows = np.lib.stride_tricks.sliding_window_view(rows, width, axis=0)
    return windows[np.clip(np.arange(len(rows)) - width // 2, 0, len(windows) - 1)]
