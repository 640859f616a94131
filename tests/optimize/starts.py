"""Crude starts as a campaign makes them: minimised monomer, textbook H-bonds, Hessians of the bodies."""

from __future__ import annotations

from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.optimize.hessians import body_hessian, guess_hessian
from hbcoop_dist.optimize.minimization import Start, minimise, monomer_start
from hbcoop_dist.optimize.warm_starts import leave_plane
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain
from hbcoop_dist.structures.construction import crude_start, tree_of
from hbcoop_dist.structures.monomers import acceptor_body, acceptor_water, donor_body, donor_water, nma_body

MONOMER = Chain((), (DEFAULT_ROTAMER,))


def crude(potential: Potential, system: Chain, constraint: Constraint = "mirror") -> Start:
    """The start of a chain nobody has shorter ones of."""
    monomer = minimise(potential, [monomer_start(potential, MONOMER, constraint)], constraint=constraint)[0]
    blocks = [body_hessian(potential, nma_body(), monomer.path.q, constraint)] * system.length
    if system.capping == "water":
        waters = [(acceptor_body(), acceptor_water()), *[(donor_body(), donor_water())] * 3]
        blocks += [body_hessian(potential, body, body.coordinates(x), constraint) for body, x in waters]
    q = crude_start(system, [monomer.path.q] * system.length)
    return Start(system, leave_plane(system, q, constraint), guess_hessian(tree_of(system), blocks))
