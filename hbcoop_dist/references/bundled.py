"""What comes with the package: NMA chains at minima of a stated model, and MP2 energies of their fragments there.

The energies are kept in parts (Hartree-Fock, same-spin and opposite-spin correlation), so that HF, RI-MP2, SCS-MP2 and
SOS-MP2 are read off the same numbers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.cooperativity.equation import from_points
from hbcoop_dist.core.results import FRAGMENTS, POSITIONS
from hbcoop_dist.models.families.pyscf import COUNTERPOISE, FROZEN_CORE, SPIN_SCALED
from hbcoop_dist.structures import position_of

_HERE = Path(__file__).resolve().parent
REFERENCE_DIMS = ("model", "pattern", "length", "capping", "geometry", "rotamer", "position")
_CHAIN = ["pattern", "length", "capping", "geometry", "rotamer", "hbond", "basis", "frozen_core", "counterpoise"]
PARTS = ("hf", "same_spin", "opposite_spin")
_METHODS = {"hf": (0.0, 0.0), **SPIN_SCALED}
_VALUES = ("cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric", "interaction_energy",
           "interaction_energy_dimer")  # fmt: skip


def bundled_geometries() -> tuple[str, ...]:
    """Names of the sets of geometries that come with the package; a campaign's ``geometry`` takes them."""
    return tuple(sorted(folder.name for folder in (_HERE / "geometries").iterdir() if folder.is_dir()))


def bundled_geometry(name: str) -> Path | None:
    """The folder of a bundled set of geometries; None when there is none of that name."""
    return _HERE / "geometries" / name if name in bundled_geometries() else None


def reference_energies() -> xr.Dataset:
    """Cooperative energies of quantum-chemical models at the bundled geometries, labelled as in a store.

    Returns
    -------
    xarray.Dataset
        ``cooperative_energy`` and its electronic and geometric parts, ``interaction_energy`` and
        ``interaction_energy_dimer``, kcal/mol, over model, pattern, length, capping, geometry, rotamer and position;
        ``status``, ``done`` or ``pending``, over the same but position. Models are named as a campaign names them.

    Notes
    -----
    Eq. 1 of Feng, Xu and Huang (2025) on the fragment energies of ``fragments.csv``.
    """
    return _energies().copy(deep=True)


@cache
def _energies() -> xr.Dataset:
    rows = pd.read_csv(_HERE / "fragments.csv")
    found = [row for _, chain in rows.groupby(_CHAIN, sort=False) for row in _rows(chain)]
    table = pd.DataFrame(found).set_index(list(REFERENCE_DIMS))
    values = table.to_xarray().transpose(*REFERENCE_DIMS)
    values = values.reindex(position=[name for name in POSITIONS if name in values["position"].values])
    for name in _VALUES:
        values[name].attrs["units"] = "kcal/mol"
    done = values["cooperative_energy"].notnull().any("position").values
    dims = [name for name in REFERENCE_DIMS if name != "position"]
    return values.assign(status=(dims, np.where(done, "done", "pending").astype(object)))


def reference_runs() -> pd.DataFrame:
    """Wall time, machine and versions of every level and chain of the bundled energies, one row each."""
    return pd.read_csv(_HERE / "runs.csv")


def published_values() -> pd.DataFrame:
    """What others have printed, one row each: source, quantity, model, labels, ``low`` and ``high`` and their unit.

    A single value has ``low`` equal to ``high``. The paper's quantum-chemical values are its own: geometries at
    wB97X-D/cc-pVTZ, energies that its text calls RI-MP2 or SCS-MP2/aug-cc-pVTZ.
    """
    return pd.read_csv(_HERE / "published.csv")


def _rows(chain: pd.DataFrame) -> list[dict[str, object]]:
    """One row per method and position of an H-bond's ten fragments at one level."""
    first = chain.iloc[0]
    energies = chain.set_index("fragment").loc[list(FRAGMENTS), list(PARTS)].to_numpy()
    length, hbond = int(first["length"]), int(first["hbond"])
    where = {name: first[name] for name in ("pattern", "capping", "geometry", "rotamer")} | {"length": length}
    positions = [name for name in POSITIONS if position_of(name, length) == hbond]
    rows: list[dict[str, object]] = []
    for method, (same_spin, opposite_spin) in _METHODS.items():
        one = from_points(energies @ np.array([1.0, same_spin, opposite_spin]))
        values = (one.total, one.electronic, one.geometric, one.interaction, one.interaction_dimer)
        named = where | {"model": _name(method, first)} | dict(zip(_VALUES, values, strict=True))
        rows += [named | {"position": position} for position in positions]
    return rows


def _name(method: str, level: pd.Series) -> str:
    core = [FROZEN_CORE] if level["frozen_core"] and method != "hf" else []
    return ":".join([method, str(level["basis"]), *core, *([COUNTERPOISE] if level["counterpoise"] else [])])
