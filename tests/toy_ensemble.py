"""The toy as an ensemble: members that differ in the strength of their cooperativity, so that spreads are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hbcoop_dist.models import load
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.families.toy import STRENGTH, ToyPotential
from hbcoop_dist.structures import Structure

STRENGTHS = STRENGTH * np.array([0.5, 1.0, 1.5])
"""Their mean is the toy's own."""
SPREAD = float(STRENGTHS.std(ddof=1)) / STRENGTH
"""Of an electronic cooperative energy, in units of the energy itself, which is proportional to the strength."""


class ToyEnsemble:
    """Energies of every member beside what the toy says."""

    def __init__(self) -> None:
        found = load("toy")
        assert isinstance(found, ToyPotential)
        self.inner, self.card, self.parameter_hash, self.device = found, found.card, found.parameter_hash, "cpu"
        self.members: list[Potential] = [replace(found, strength=float(one)) for one in STRENGTHS]

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        each = [member.evaluate(structures, forces=False) for member in self.members]
        found = self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)
        return [
            replace(one, member_energies=np.array([member[place].energy for member in each]))
            for place, one in enumerate(found)
        ]

    def with_scratch(self, folder: Path) -> ToyEnsemble:
        return self
