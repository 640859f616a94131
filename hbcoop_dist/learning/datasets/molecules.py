"""The molecules that clusters are made of: charge, elements and a geometry each.

Geometries are minima of GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 2019, 15, 1652), alone and with
their charge, to 1e-4 eV/A, about their centroid.  They are starts for perturbation, so four decimals do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Monomer:
    """One molecule: its charge, e, atomic numbers (n,) and positions (n, 3), A."""

    name: str
    charge: int
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]


def _monomer(name: str, charge: int, *atoms: tuple[int, float, float, float]) -> Monomer:
    rows = np.array(atoms)
    return Monomer(name, charge, rows[:, 0].astype(np.int64), rows[:, 1:])


_AMMONIUM = _monomer(
    "ammonium",
    1,
    (7, 0.0, 0.0, 0.0),
    (1, 0.5944, 0.5944, 0.5944),
    (1, -0.5944, -0.5944, 0.5944),
    (1, -0.5944, 0.5944, -0.5944),
    (1, 0.5944, -0.5944, -0.5944),
)
_FORMATE = _monomer(
    "formate", -1, (6, 0.0, 0.0, 0.0454), (1, 0.0, 0.0, -1.1444), (8, 0.0, 1.1217, 0.5495), (8, 0.0, -1.1217, 0.5495)
)
_WATER = _monomer("water", 0, (8, 0.0, 0.0, 0.3794), (1, 0.0, 0.7722, -0.1897), (1, 0.0, -0.7722, -0.1897))
_METHANOL = _monomer(
    "methanol",
    0,
    (6, -0.1438, 0.3334, 0.0),
    (8, -0.1332, -1.0729, 0.0),
    (1, -1.1896, 0.6350, 0.0),
    (1, 0.7793, -1.3802, 0.0),
    (1, 0.3436, 0.7424, 0.8917),
    (1, 0.3436, 0.7424, -0.8917),
)
_FORMALDEHYDE = _monomer(
    "formaldehyde",
    0,
    (8, 0.0, 0.0, 1.1929),
    (6, 0.0, 0.0, 0.0008),
    (1, 0.0, 0.9272, -0.5969),
    (1, 0.0, -0.9272, -0.5969),
)
_AMMONIA = _monomer(
    "ammonia",
    0,
    (7, 0.0, 0.0, 0.2751),
    (1, 0.0, 0.9439, -0.0917),
    (1, 0.8174, -0.4719, -0.0917),
    (1, -0.8174, -0.4719, -0.0917),
)
_FORMIC_ACID = _monomer(
    "formic acid",
    0,
    (8, -0.8248, -0.4743, 0.0),
    (6, 0.1867, 0.3772, 0.0),
    (8, 1.3424, 0.0821, 0.0),
    (1, -0.5047, -1.3928, 0.0),
    (1, -0.1997, 1.4078, 0.0),
)

IONIC = (_AMMONIUM, _FORMATE, _WATER, _METHANOL, _FORMALDEHYDE)
NEUTRAL = (_WATER, _METHANOL, _FORMALDEHYDE, _AMMONIA, _FORMIC_ACID)
