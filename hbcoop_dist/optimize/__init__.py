"""Constrained, batched minimisation of hydrogen-bonded chains and free minimisation of complexes."""

from hbcoop_dist.optimize.constraints import CONSTRAINTS, Constraint
from hbcoop_dist.optimize.quasi_newton import Goal

__all__ = ["CONSTRAINTS", "Constraint", "Goal"]
