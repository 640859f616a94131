"""No scheme: the network alone, which sees no farther than its cutoff times its layers."""

from __future__ import annotations

from hbcoop_dist.learning.networks.schemes.base import Scheme


class NoScheme(Scheme):
    """The base, under a name of its own."""

    name = "none"
    periodic = True
