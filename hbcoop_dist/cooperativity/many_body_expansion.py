"""Many-body expansion of the energy of a complex into terms of single molecules, pairs, triples and quadruples.

    U(complex) = sum_k sum_(|S| = k) E(S),    E(S) = U(S) - sum of E(T) over all proper subsets T of S

with all energies at the geometry of the complex. The expansion shows which orders of cooperativity a model has. In the
electronic part of Eq. 1, -(U_ABC - U_BC - U_AC + U_C - U_AB + U_A + U_B), all terms that lack A or B cancel, and so
does E(AB):

    electronic dV of A-B = - sum of E(S) over all S that contain A, B and at least one other molecule;

in a trimer this is the negative three-body term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import fsum

import numpy as np

from hbcoop_dist.cooperativity.equation import EV_TO_KCAL
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.complexes import Molecules

ORDERS = (2, 3, 4)
"""Orders at which an expansion may be truncated; for M molecules of order k it needs of the order of M^k fragments."""


@dataclass(frozen=True, slots=True)
class ManyBodyExpansion:
    """The many-body expansion of one complex, kcal/mol.

    Attributes
    ----------
    totals : (order,) array
        Sum of the terms of 1, 2, ... molecules; zero beyond the number of molecules.
    remainder : float
        Energy of the complex minus the sum of `totals`: the contribution of all higher orders.
    terms : mapping of tuple of int to float
        E of every set of up to `order` molecules, indices ascending.
    """

    totals: FloatArray
    remainder: float
    terms: Mapping[Molecules, float]

    def cooperative(self, a: int, b: int) -> FloatArray:
        """Resolve the electronic part of Eq. 1 by order.

        Parameters
        ----------
        a, b : int
            Molecule indices of A and B.

        Returns
        -------
        (order - 2,) array
            Contributions of three bodies and more, kcal/mol; their sum is the electronic part of Eq. 1 when `order` is
            the number of molecules.
        """
        contributions = np.zeros(len(self.totals) - 2)
        for molecules, term in self.terms.items():
            if len(molecules) > 2 and a in molecules and b in molecules:
                contributions[len(molecules) - 3] -= term
        return contributions


def expand_energy(
    potential: Potential, structure: Structure, order: int = 4, *, batch: BatchSize | None = None
) -> ManyBodyExpansion:
    """Expand the energy of a complex into terms of 1 to `order` molecules, waters included.

    Parameters
    ----------
    potential : Potential
    structure : Structure
        A complex of M molecules; the energies of all its subsets of up to `order` molecules and of itself are computed.
    order : {2, 3, 4}
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    ManyBodyExpansion

    Raises
    ------
    ValueError
        When the order is not one of these.
    """
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(map(str, ORDERS))}, found {order}")
    complex_ = tuple(range(len(structure.kinds)))
    sets = [molecules for size in range(1, order + 1) for molecules in combinations(complex_, size)]
    # descending size, as in `distinct_fragments`, so that small fragments fill up the batches
    fragments = tuple(dict.fromkeys((complex_, *reversed(sets))))
    (evaluated,) = evaluate_fragments(potential, [structure], [fragments], batch=batch)
    energies = dict(zip(evaluated.fragments, evaluated.energies.tolist(), strict=True))
    terms: dict[Molecules, float] = {}
    for molecules in sets:
        subsets = (subset for size in range(1, len(molecules)) for subset in combinations(molecules, size))
        # energies are about 1e6 times larger than terms, so that rounding after every addition would lose digits
        terms[molecules] = fsum([energies[molecules], *(-terms[subset] for subset in subsets)])
    totals = [fsum(term for molecules, term in terms.items() if len(molecules) == size) for size in range(1, order + 1)]
    return ManyBodyExpansion(
        totals=EV_TO_KCAL * np.array(totals),
        remainder=EV_TO_KCAL * fsum([energies[complex_], *(-term for term in terms.values())]),
        terms={molecules: EV_TO_KCAL * term for molecules, term in terms.items()},
    )
