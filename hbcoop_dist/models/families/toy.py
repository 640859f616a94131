"""An analytic potential with known cooperativity, so that everything above the models can be tested against algebra.

Three parts, all in plain numpy with analytic forces (`hbcoop_dist.models.families.toy_terms`):

* Inside a molecule: harmonic springs to the template's distances, between all heavy atoms and the amide H, and
  within each methyl up to the atom it is bonded to. Those distances are the same in every rotamer, so all of them
  (and the crude template itself) are minima of equal energy; springs alone leave out-of-plane bending and methyl
  rotation free, so squared tetrahedral volumes hold the amide plane and ``1 - cos 6 phi`` holds the methyls at every
  60 degrees.
* Between molecules, pairwise: Lennard-Jones between atoms and softened Coulomb between sites. The carbonyl O carries
  its charge on two in-plane lone-pair sites, which makes H-bonds bent; springs that fade with the contact keep
  them bent (so that syn and anti are separate minima) and pull the donor's amide into the acceptor's plane.
* Cooperativity: with D[c, b] the switched H..O contact of donor molecule c and acceptor molecule b,
  ``E3 = -strength * sum of D[c, b] D[b, a]`` over all triples of different molecules. Everything else is additive
  over pairs of molecules, so `cooperative_energy` is the electronic dV of Eq. 1 in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements, require_plain
from hbcoop_dist.models.families import toy_terms as t
from hbcoop_dist.structures import Structure

STRENGTH = 1.0 * t.KCAL
"""Energy of one triple of fully formed H-bonds, eV."""


def _card(name: str, strength: float) -> ModelCard:
    return ModelCard(
        name=name,
        family="toy",
        level_of_theory="none: an analytic test potential",
        licence="MIT (hbcoop_dist)",
        citation="hbcoop_dist, this package",
        elements=(1, 6, 7, 8),
        atom_energies=True,
        batched=False,
        long_range=True,
        packages=("numpy",),
        needs_topology=True,
        options={"method": f"{name} version 1", "strength": strength},
    )


CARDS = (_card("toy", STRENGTH), _card("toy-additive", 0.0))


def cooperative_energy(structure: Structure, a: int, b: int, strength: float = STRENGTH) -> float:
    """Electronic dV of the pair of molecules `a`, `b` in closed form, eV.

    `strength` times the sum of D D over the triples that hold both; in a chain whose only contacts are its H-bonds
    i with values s_i this is ``strength * s_i * (s_(i-1) + s_(i+1))``.
    """
    terms = t.terms_of(structure.kinds)
    table = t.donations(t.contacts(structure.positions, terms)[0], terms)
    total = 0.0
    for other in sorted(set(range(len(structure.kinds))) - {a, b}):
        for first, middle, last in permutations((a, b, other)):
            total += table[first, middle] * table[middle, last]
    return strength * float(total)


@dataclass(frozen=True, slots=True)
class ToyPotential:
    """The analytic potential; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    strength: float

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate one structure after another; each term is one array expression."""
        require_elements(self.card, structures)
        return [self._single(structure, forces, atom_energies) for structure in structures]

    def _single(self, structure: Structure, forces: bool, atom_energies: bool) -> Evaluation:
        if unknown := sorted(set(structure.kinds) - {"nma", "water"}):
            raise ModelError(f"model {self.card.name}: expected molecules nma or water, found {', '.join(unknown)}")
        terms, x = t.terms_of(structure.kinds), structure.positions
        energy, gradient = np.zeros(len(x)), np.zeros_like(x)
        t.add_springs(x, terms, energy, gradient)
        t.add_volumes(x, terms, energy, gradient)
        t.add_methyls(x, terms, energy, gradient)
        t.add_pairs(x, terms, energy, gradient)
        t.add_coplanarity(x, terms, energy, gradient)
        t.add_bends(x, terms, energy, gradient)
        if self.strength:
            t.add_cooperativity(x, terms, self.strength, energy, gradient)
        return Evaluation(
            energy=float(energy.sum()),
            forces=-gradient if forces else None,
            atom_energies=energy if atom_energies else None,
        )


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> ToyPotential:
    """Make the potential.

    Raises
    ------
    ModelError
        When asked for a checkpoint, a GPU or another float type.
    """
    require_plain(card, checkpoint, device, dtype)
    strength = card.options["strength"]
    assert isinstance(strength, float)
    return ToyPotential(card, checkpoints.identity(card), device, strength)
