"""Which models keep the H-bond of an NMA dimer that nothing constrains, and what becomes of it elsewhere.

The paper asks this first (Feng, Xu, Huang 2025, section 3.1), because a chain holds only as long as its planarity is
enforced where the dimer alone would stack. Starts are moved by chance, so that no plane of symmetry keeps a saddle.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.structures import CONFORMERS, NMA_ATOMS, Structure
from hbcoop_dist.structures.bonds import broken_bond
from hbcoop_dist.structures.geometry import HBOND_ANGLE_LIMIT, HBOND_DISTANCE_LIMIT, hbond_geometry
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

FloatArray = NDArray[np.float64]

OUTCOMES = ("kept", "turned", "stacked", "collapsed", "other", "reacted", "unconverged", "failed")
"""What may become of a start: every one that was tried is one of these.

kept : an N-H..O bond (H..O below 2.5 A, N-H..O above 120 degrees; Arunan et al., Pure Appl. Chem. 2011, 83, 1637), in
    the conformer it started in. Either molecule may donate; a C-H does not count.
turned : such a bond, in the other conformer.
stacked : no such bond, amide planes within `PARALLEL` of parallel and centres nearer than `CENTRES`.
collapsed : no such bond, centres as near, planes further from parallel.
other : no such bond, and centres further apart.
reacted : a covalent bond is broken.
unconverged, failed : the store's words; failed with quarantined.
"""
PARALLEL = 30.0
"""Degrees between the amide planes of a stacked dimer; parallel and antiparallel count alike. Ours, not the paper's."""
CENTRES = 4.0
"""A between the centres (C, O, N) of two stacked amides: planes 3.4 A apart, two van der Waals radii of carbon, may
still slip by 2 A. Ours, not the paper's."""
_TRIED = ("done", "unconverged", "failed", "quarantined")
_CENTRE = [NMA_ATOMS.index(name) for name in ("C", "O", "N")]
_PLANE = [NMA_ATOMS.index(name) for name in ("CA", "C", "O", "N", "CN")]
_ENERGY = "interaction_energy"


def free_dimers(ds: xr.Dataset) -> pd.DataFrame:
    """Count what became of free dimers, model by model and conformer by conformer.

    Parameters
    ----------
    ds : xarray.Dataset
        Marked systems (`hbcoop_dist.store.open_systems`) named by what they start as: ``syn-1``, ``anti-2``.

    Returns
    -------
    DataFrame
        By model and start (syn, anti): ``tried``, how many of these are each of `OUTCOMES`; ``swapped``, in how many
        the H-bond is one from A to B instead of from B to A; and the lowest interaction energy, kcal/mol, of the
        H-bonded ones by the conformer they ended in (``energy_syn``, ``energy_anti``) and of the others
        (``energy_stacked``, ``energy_collapsed``, ``energy_other``), NaN where there are none. A model that was skipped
        has 0 tried.

    Raises
    ------
    ValueError
        When no system is named like that, or one is not two NMA alone, atoms in our order.
    """
    each = dimer_outcomes(ds)
    kinds = each["outcome"].where(~each["outcome"].isin(["kept", "turned"]), each["conformer"])
    each = each.assign(kind=kinds)
    rows = {}
    for key in ((model, start) for model in _labels(ds, "model") for start in CONFORMERS):
        mine = each[(each["model"] == key[0]) & (each["start"] == key[1])]
        rows[key] = {
            "tried": len(mine),
            **{outcome: int((mine["outcome"] == outcome).sum()) for outcome in OUTCOMES},
            "swapped": int((mine["donor"] == "A").sum()),
            **{
                f"energy_{kind}": mine.loc[mine["kind"] == kind, _ENERGY].min()
                for kind in (*CONFORMERS, "stacked", "collapsed", "other")
            },
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["model", "start"])


def dimer_outcomes(ds: xr.Dataset) -> pd.DataFrame:
    """What became of every start, with what it was measured by; those that were skipped are not in it.

    Parameters
    ----------
    ds : xarray.Dataset
        As of `free_dimers`.

    Returns
    -------
    DataFrame
        ``model``, ``system``, ``start``, ``outcome`` (`OUTCOMES`); ``conformer`` and ``donor`` (A or B) of the H-bond,
        empty without one; ``distance_oh`` (A) and ``angle`` (degrees) of that N-H..O, of the nearer of the two where
        neither is a bond; ``tilt`` (degrees between the amide planes), ``centres`` (A between them),
        ``interaction_energy`` (kcal/mol), ``reason``. Numbers of what is not done are NaN.

    Raises
    ------
    ValueError
        As of `free_dimers`.
    """
    names = ["status", "reason", "positions", "part", "atomic_number", _ENERGY]
    found = readable(ds[names]).compute()
    starts = {system: start for system in _labels(found, "system") if (start := _start_of(system))}
    if not starts:
        raise ValueError("systems: expected names like syn-1 and anti-1, found none")
    rows = []
    for model in _labels(found, "model"):
        for system, start in starts.items():
            one = found.sel(model=model, system=system)
            if (status := str(one["status"].item())) in _TRIED:
                rows.append({"model": model, "system": system, "start": start, **_outcome(one, status, start)})
    columns = ["model", "system", "start", "outcome", "conformer", "donor", *_MISSING, "reason"]
    return pd.DataFrame(rows, columns=columns)


def _labels(ds: xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in ds[dim].values]


def _start_of(system: str) -> str:
    first = system.partition("-")[0]
    return first if first in CONFORMERS else ""


_MISSING = dict.fromkeys(("distance_oh", "angle", "tilt", "centres", _ENERGY), np.nan)


def _outcome(one: xr.Dataset, status: str, start: str) -> dict[str, object]:
    if status != "done":
        outcome = "unconverged" if status == "unconverged" else "failed"
        return {"outcome": outcome, "conformer": "", "donor": "", **_MISSING, "reason": str(one["reason"].item())}
    structure = _structure(one)
    measured = _measured(structure)
    why = broken_bond(structure)
    if why:
        outcome = "reacted"
    elif measured["conformer"]:
        outcome = "kept" if measured["conformer"] == start else "turned"
    else:
        outcome = _without_bond(structure)
    return {"outcome": outcome, **measured, _ENERGY: float(one[_ENERGY]), "reason": why}


def _without_bond(structure: Structure) -> str:
    tilt, centres = _lie(structure)
    if centres >= CENTRES:
        return "other"
    return "stacked" if tilt < PARALLEL else "collapsed"


def _structure(one: xr.Dataset) -> Structure:
    """A and B as units of one structure."""
    positions, part = one["positions"].transpose("atom", "xyz").values, one["part"].values
    numbers = one["atomic_number"].values
    for name in ("A", "B"):
        if tuple(numbers[part == name]) != MOLECULE_NUMBERS["nma"]:
            where = f"system {one['system'].item()}"
            raise ValueError(f"{where}: expected {name} to be NMA in our order, found other atoms")
    if "C" in part:
        raise ValueError(f"system {one['system'].item()}: expected A and B alone, found other molecules beside them")
    return Structure.from_molecules([("nma", positions[part == name]) for name in ("A", "B")])


def _measured(structure: Structure) -> dict[str, object]:
    """The N-H..O that is a bond, the nearer one where none is, and how the amides lie to one another."""
    found = []
    for donor, units in (("B", _units(structure)), ("A", _units(structure)[::-1])):
        bond = hbond_geometry(Structure.from_molecules(units))
        distance, angle, phi1 = float(bond.distance_oh[0]), float(bond.angle[0]), float(bond.phi1[0])
        loose = not (distance < HBOND_DISTANCE_LIMIT and angle > HBOND_ANGLE_LIMIT)
        found.append((loose, distance, angle, "syn" if abs(phi1) < 90.0 else "anti", donor))
    loose, distance, angle, conformer, donor = min(found)
    tilt, centres = _lie(structure)
    return {
        "conformer": "" if loose else conformer,
        "donor": "" if loose else donor,
        "distance_oh": distance,
        "angle": angle,
        "tilt": tilt,
        "centres": centres,
    }


def _lie(structure: Structure) -> tuple[float, float]:
    """Degrees between the amide planes, and A between their centres."""
    one, other = (x for _, x in _units(structure))
    cosine = abs(float(_normal(one[_PLANE]) @ _normal(other[_PLANE])))
    apart = one[_CENTRE].mean(axis=0) - other[_CENTRE].mean(axis=0)
    return float(np.degrees(np.arccos(min(1.0, cosine)))), float(np.linalg.norm(apart))


def _units(structure: Structure) -> list[tuple[str, FloatArray]]:
    return [("nma", structure.positions[structure.atoms_of(unit)]) for unit in structure.units]


def _normal(x: FloatArray) -> FloatArray:
    """Of the best plane through points (N, 3)."""
    return np.asarray(np.linalg.svd(x - x.mean(axis=0))[2][2])
