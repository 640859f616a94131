"""Crude starts as a campaign makes them: minimised monomer, textbook H-bonds, Hessians of the bodies."""

from __future__ import annotations

from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.optimize.minimization import Start, body_hessian, guess_hessian, minimise, monomer_start
from hbcoop_dist.optimize.warm_starts import Monomer, leave_plane
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain
from hbcoop_dist.structures.monomers import (
    acceptor_body,
    acceptor_water,
    crude_start,
    donor_body,
    donor_water,
    nma_body,
    tree_of,
)

MONOMER = Chain((), (DEFAULT_ROTAMER,))


def monomers(potential: Potential, constraint: Constraint = "mirror") -> tuple[Monomer, list[Monomer]]:
    """The minimised unit and the four waters of the caps, with their Hessians."""
    (minimised,) = minimise(potential, [monomer_start(potential, MONOMER, constraint)], constraint=constraint)
    bodies = [(acceptor_body(), acceptor_water()), *[(donor_body(), donor_water())] * 3]
    waters = [(body, body.coordinates(x)) for body, x in bodies]
    unit = Monomer(minimised.path.q, body_hessian(potential, nma_body(DEFAULT_ROTAMER), minimised.path.q, constraint))
    return unit, [Monomer(s, body_hessian(potential, body, s, constraint)) for body, s in waters]


def crude(potential: Potential, chain: Chain, constraint: Constraint = "mirror") -> Start:
    """The start of a chain without shorter ones."""
    unit, waters = monomers(potential, constraint)
    bodies = [unit] * chain.length + (waters if chain.capping == "water" else [])
    q = crude_start(chain, [unit.s] * chain.length)
    hessian = guess_hessian(tree_of(chain), [body.hessian for body in bodies])
    return Start(chain, leave_plane(chain, q, constraint), hessian)
