"""GFN2-xTB and GFN1-xTB: semi-empirical references with polarisation, through tblite, one structure at a time."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree

from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import Structure

_MAX_CALCULATORS = 32


@dataclass(frozen=True, slots=True, weakref_slot=True)
class XtbPotential(base.SequentialPotential):
    """A method of tblite.

    Attributes
    ----------
    calculators : dict
        Calculators by atomic numbers, least recently used first.
    """

    calculators: dict[tuple[int, ...], Any] = field(default_factory=dict)

    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> base.Evaluation:
        from tblite.exceptions import TBLiteRuntimeError

        try:
            # Without an earlier result as guess every cycle starts from atomic densities, so that results of a reused
            # calculator equal those of a new one bit by bit.
            result = self._calculator(structure).singlepoint()
        except TBLiteRuntimeError as error:
            raise base.ModelError(f"model {self.card.name}: {len(structure)} atoms: {error}") from error
        return base.Evaluation(
            energy=float(result.get("energy")) * Hartree,
            forces=-np.asarray(result.get("gradient")) * (Hartree / Bohr) if forces else None,
            atom_energies=np.asarray(result.get("energies")) * Hartree if atom_energies else None,
            charges=np.array(result.get("charges")),
        )

    def _calculator(self, structure: Structure) -> Any:
        from tblite.interface import Calculator

        positions = structure.positions / Bohr
        key = tuple(int(z) for z in structure.numbers)
        calculator = self.calculators.pop(key, None)
        if calculator is None:
            while len(self.calculators) >= _MAX_CALCULATORS:
                self.calculators.pop(next(iter(self.calculators)))
            calculator = Calculator(self.card.options["method"], structure.numbers, positions, charge=0.0, uhf=0)
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self.card.options["accuracy"])
        else:
            calculator.update(positions)
        self.calculators[key] = calculator
        return calculator


class XtbFamily(base.ModelFamily):
    """Methods whose parameters are compiled into tblite."""

    cards = published_cards("xtb")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> XtbPotential:
        import tblite.interface  # noqa: F401  a missing library fails here and not at the first evaluation

        base.require_plain(card, checkpoint, device, dtype)
        potential = XtbPotential(card, checkpoints.identity(card), device)
        # tblite frees its objects through a module that may be gone when the interpreter exits.
        weakref.finalize(potential, potential.calculators.clear)
        return potential


FAMILY = XtbFamily()
