"""Minimise with Sella in internal coordinates (Hermes et al., J. Chem. Theory Comput. 2022, 18, 6974).

Every molecule has internal coordinates of its own, a translation and a rotation; torsions are Sella's own dihedral
constraints.
"""

from __future__ import annotations

import numpy as np

# Importing sella turns jax's float64 on for the whole process: it needs it, and nothing else here uses jax.
from sella import Constraints, Sella

from hbcoop_dist.engine.external.calculator import SurfaceCalculator
from hbcoop_dist.engine.external.surface import Surface

_NEVER = 1.0e-12
"""A force, eV/A, that no minimisation gets to: the surface ends it, by our criterion."""


def relax(surface: Surface) -> None:
    """Go down the surface until it says that this is enough."""
    atoms = surface.template.to_ase()
    atoms.calc = SurfaceCalculator(surface)
    held = Constraints(atoms)
    for torsion in surface.torsions:
        held.fix_dihedral(torsion.atoms, target=np.degrees(torsion.target))
    with Sella(atoms, order=0, internal=True, allow_fragments=True, constraints=held, logfile=None) as optimiser:
        optimiser.run(fmax=_NEVER, steps=surface.goal.max_calls)
