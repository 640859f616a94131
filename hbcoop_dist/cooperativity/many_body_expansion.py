"""Many-body expansion: the energy of a complex as what molecules have alone, in pairs, in threes and in fours.

    U(whole) = sum_k sum_(|S| = k) E(S),    E(S) = U(S) - sum of E(T) over all smaller T inside S

all at the complex's geometry.  It says which order of cooperativity a model has at all.  In the electronic part of
Eq. 1, -(U_ABC - U_BC - U_AC + U_C - U_AB + U_A + U_B), every term without both A and B cancels, and so does E(AB):

    electronic dV of A-B = - sum of E(S) over all S that hold A, B and at least one more;

in a trimer the three-body term with its sign changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import fsum

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.cooperativity.equation import EV_TO_KCAL
from hbcoop_dist.cooperativity.fragments import fragment_energies
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.fragments import Molecules

FloatArray = NDArray[np.float64]

ORDERS = (2, 3, 4)
"""Orders at which an expansion may end; the number of fragments grows as the number of molecules to that power."""


@dataclass(frozen=True, slots=True)
class ManyBody:
    """The many-body expansion of one complex, kcal/mol.

    Attributes
    ----------
    totals : (order,) array
        Sum of the terms of 1, 2, ... molecules; zero where the complex has not that many.
    remainder : float
        What the orders beyond have: the energy of the whole minus all of `totals`.
    terms : mapping of tuple of int to float
        E of every set of up to `order` molecules, in ascending order.
    """

    totals: FloatArray
    remainder: float
    terms: Mapping[Molecules, float]

    def cooperative(self, a: int, b: int) -> FloatArray:
        """Electronic dV of the molecules `a` and `b` by order, (order - 2,) from three bodies on, kcal/mol.

        Their sum is the electronic part of Eq. 1 where the expansion goes as far as there are molecules.
        """
        found = np.zeros(len(self.totals) - 2)
        for molecules, term in self.terms.items():
            if len(molecules) > 2 and a in molecules and b in molecules:
                found[len(molecules) - 3] -= term
        return found


def many_body(
    potential: Potential, structure: Structure, order: int = 4, *, batch: BatchSize | None = None
) -> ManyBody:
    """Expand the energy of a complex in terms of 1 to `order` molecules, waters included.

    Parameters
    ----------
    potential : Potential
    structure : Structure
        M molecules; the sum of (M over k) energies for k up to `order`, and that of the whole, are computed.
    order : int
        2, 3 or 4.
    batch : BatchSize, optional
        Atoms per call of the potential; a new one for its device by default.

    Raises
    ------
    ValueError
        When the order is another one.
    """
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(map(str, ORDERS))}, found {order}")
    everyone = tuple(range(len(structure.kinds)))
    sets = [molecules for size in range(1, order + 1) for molecules in combinations(everyone, size)]
    # largest first, as `distinct_fragments` has them: batches are then filled up with what is small
    wanted = tuple(dict.fromkeys((everyone, *reversed(sets))))
    (found,) = fragment_energies(potential, [structure], [wanted], batch=batch)
    energies = dict(zip(found.fragments, found.energies.tolist(), strict=True))
    terms: dict[Molecules, float] = {}
    for molecules in sets:
        inside = (one for size in range(1, len(molecules)) for one in combinations(molecules, size))
        # energies are some 1e6 times a term: rounded after every addition, terms would lose digits
        terms[molecules] = fsum([energies[molecules], *(-terms[one] for one in inside)])
    by_order = [[term for one, term in terms.items() if len(one) == size] for size in range(1, order + 1)]
    return ManyBody(
        totals=EV_TO_KCAL * np.array([fsum(one) for one in by_order]),
        remainder=EV_TO_KCAL * fsum([energies[everyone], *(-term for term in terms.values())]),
        terms={molecules: EV_TO_KCAL * term for molecules, term in terms.items()},
    )
