"""The engine: constrained minimisation, fragment energies and Eq. 1, on batches of structures; no I/O."""

from hbcoop_dist.engine.batch_size import BatchSize
from hbcoop_dist.engine.cooperativity import Cooperativity, cooperativity
from hbcoop_dist.engine.energies import FragmentEnergies, fragment_energies
from hbcoop_dist.engine.evaluate import evaluate
from hbcoop_dist.engine.external import minimise_in_openmm, minimise_with
from hbcoop_dist.engine.follow_mode import follow_mode
from hbcoop_dist.engine.hessian import body_hessian, guess_hessian
from hbcoop_dist.engine.many_body import ManyBody, many_body
from hbcoop_dist.engine.minimise import Minimised, Start, minimise, monomer_start
from hbcoop_dist.engine.planarity import Planar, Verdict, out_of_plane
from hbcoop_dist.engine.quasi_newton import Goal, Path, State
from hbcoop_dist.engine.transplant import Monomer, Seed, warm_start

__all__ = [
    "BatchSize",
    "Cooperativity",
    "FragmentEnergies",
    "Goal",
    "ManyBody",
    "Minimised",
    "Monomer",
    "Path",
    "Planar",
    "Seed",
    "Start",
    "State",
    "Verdict",
    "body_hessian",
    "cooperativity",
    "evaluate",
    "follow_mode",
    "fragment_energies",
    "guess_hessian",
    "many_body",
    "minimise",
    "minimise_in_openmm",
    "minimise_with",
    "monomer_start",
    "out_of_plane",
    "warm_start",
]
