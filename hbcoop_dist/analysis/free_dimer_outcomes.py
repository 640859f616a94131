"""Classify what becomes of NMA dimers minimised without constraints: H-bond kept, stacked, reacted...

Feng, Xu and Huang (2025), section 3.1: a chain may hold only because planarity is enforced where the dimer alone
would stack. Starts are displaced at random, so that no mirror plane keeps a saddle.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures import CONFORMERS, NMA_ATOMS, Structure
from hbcoop_dist.structures.geometry import HBOND_ANGLE_LIMIT, HBOND_DISTANCE_LIMIT, broken_bond, hbond_geometry
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

OUTCOMES = ("kept", "turned", "stacked", "tilted", "other", "reacted", "unconverged", "failed")
"""Outcomes of a start; each start that was run has exactly one.

kept : an N-H..O bond (H..O below 2.5 A, N-H..O above 120 degrees; Arunan et al., Pure Appl. Chem. 2011, 83, 1637), in
    the conformer of the start. Either molecule may donate; C-H..O contacts do not count.
turned : such a bond, in the other conformer.
stacked : no such bond, amide planes within `PARALLEL` of parallel and centres nearer than `CENTRES`.
tilted : no such bond, centres as near, planes further from parallel.
other : no such bond, and centres further apart.
reacted : a covalent bond is broken.
unconverged, failed : status in the store; failed includes quarantined.
"""
PARALLEL = 30.0
"""Degrees between the amide planes of a stacked dimer; parallel and antiparallel count alike. Chosen here, not in the
paper."""
CENTRES = 4.0
"""A between the centres (C, O, N) of stacked amides: planes 3.4 A apart, two van der Waals radii of carbon, may slip by
2 A. Chosen here, not in the paper."""
_RUN = ("done", "unconverged", "failed", "quarantined")
_CENTRE = [NMA_ATOMS.index(name) for name in ("C", "O", "N")]
_PLANE = [NMA_ATOMS.index(name) for name in ("CA", "C", "O", "N", "CN")]
_ENERGY = "interaction_energy"
_MISSING = dict.fromkeys(("distance_oh", "angle", "tilt", "centres", _ENERGY), np.nan)


def free_dimers(ds: xr.Dataset) -> pd.DataFrame:
    """Count the outcomes of free dimers by model and conformer of the start.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of complexes, dims (model, complex, fragment, atom, xyz), whose complexes are dimers named
        by the conformer they start in: ``syn-1``, ``anti-2``.

    Returns
    -------
    DataFrame
        Indexed by model and start (syn, anti): ``tried``, the number of starts that were run; one count per outcome of
        `OUTCOMES`; ``swapped``, the starts after which A donates the H-bond to B instead of B to A; and the lowest
        interaction energy (kcal/mol) of H-bonded dimers by the conformer they end in (``energy_syn``,
        ``energy_anti``) and of the others (``energy_stacked``, ``energy_tilted``, ``energy_other``), NaN where there
        are none.

    Raises
    ------
    ValueError
        When no complex is named like that, or one is not two NMA molecules alone, in the package's order of atoms.
    """
    outcomes = dimer_outcomes(ds)
    ends = outcomes["outcome"].where(~outcomes["outcome"].isin(["kept", "turned"]), outcomes["conformer"])
    outcomes = outcomes.assign(end=ends)
    rows = {}
    for model in _labels(ds, "model"):
        for start in CONFORMERS:
            group = outcomes[(outcomes["model"] == model) & (outcomes["start"] == start)]
            rows[model, start] = {
                "tried": len(group),
                **{outcome: int((group["outcome"] == outcome).sum()) for outcome in OUTCOMES},
                "swapped": int((group["donor"] == "A").sum()),
                **{
                    f"energy_{end}": group.loc[group["end"] == end, _ENERGY].min()
                    for end in (*CONFORMERS, "stacked", "tilted", "other")
                },
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["model", "start"])


def dimer_outcomes(ds: xr.Dataset) -> pd.DataFrame:
    """Classify every free dimer that was run.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of complexes, as for `free_dimers`.

    Returns
    -------
    DataFrame
        ``model``, ``complex``, ``start``, ``outcome`` (`OUTCOMES`); ``conformer`` and ``donor`` (A or B) of the H-bond,
        empty without one; ``distance_oh`` (A) and ``angle`` (degrees) of that N-H..O, or of the shorter contact where
        neither is a bond; ``tilt`` (degrees between the amide planes), ``centres`` (A between them),
        ``interaction_energy`` (kcal/mol), ``reason``. Numbers are NaN where a minimisation is not done.

    Raises
    ------
    ValueError
        As for `free_dimers`.
    """
    store = readable(ds[["status", "reason", "positions", "part", "atomic_number", _ENERGY]]).compute()
    starts = {name: start for name in _labels(store, "complex") if (start := _start_of(name))}
    if not starts:
        raise ValueError("complexes: expected names like syn-1 and anti-1, found none")
    rows = []
    for model in _labels(store, "model"):
        for name, start in starts.items():
            dimer = store.sel(model=model, complex=name)
            if (status := str(dimer["status"].item())) in _RUN:
                rows.append({"model": model, "complex": name, "start": start, **_outcome(dimer, status, start)})
    columns = ["model", "complex", "start", "outcome", "conformer", "donor", *_MISSING, "reason"]
    return pd.DataFrame(rows, columns=columns)


def _labels(ds: xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in ds[dim].values]


def _start_of(name: str) -> str:
    first = name.partition("-")[0]
    return first if first in CONFORMERS else ""


def _outcome(dimer: xr.Dataset, status: str, start: str) -> dict[str, object]:
    if status != "done":
        outcome = "unconverged" if status == "unconverged" else "failed"
        return {"outcome": outcome, "conformer": "", "donor": "", **_MISSING, "reason": str(dimer["reason"].item())}
    structure = _structure(dimer)
    tilt, centres = _relative_orientation(structure)
    contact = _nearest_contact(structure)
    reason = broken_bond(structure)
    if reason:
        outcome = "reacted"
    elif contact["conformer"]:
        outcome = "kept" if contact["conformer"] == start else "turned"
    elif centres >= CENTRES:
        outcome = "other"
    else:
        outcome = "stacked" if tilt < PARALLEL else "tilted"
    measures = {**contact, "tilt": tilt, "centres": centres, _ENERGY: float(dimer[_ENERGY])}
    return {"outcome": outcome, **measures, "reason": reason}


def _structure(dimer: xr.Dataset) -> Structure:
    """A and B as units of one structure."""
    positions, part = dimer["positions"].transpose("atom", "xyz").values, dimer["part"].values
    numbers = dimer["atomic_number"].values
    name = f"complex {dimer['complex'].item()}"
    for molecule in ("A", "B"):
        if tuple(numbers[part == molecule]) != MOLECULE_NUMBERS["nma"]:
            raise ValueError(f"{name}: expected {molecule} to be NMA in the package's order, found other atoms")
    if "C" in part:
        raise ValueError(f"{name}: expected A and B alone, found other molecules beside them")
    return Structure.from_molecules([("nma", positions[part == molecule]) for molecule in ("A", "B")])


def _nearest_contact(structure: Structure) -> dict[str, object]:
    """The N-H..O contact that is an H-bond, or the shorter of the two where neither is."""
    contacts = []
    for donor, units in (("B", _units(structure)), ("A", _units(structure)[::-1])):
        bond = hbond_geometry(Structure.from_molecules(units))
        distance, angle, phi1 = float(bond.distance_oh[0]), float(bond.angle[0]), float(bond.phi1[0])
        is_bond = distance < HBOND_DISTANCE_LIMIT and angle > HBOND_ANGLE_LIMIT
        contacts.append((not is_bond, distance, angle, "syn" if abs(phi1) < 90.0 else "anti", donor))
    no_bond, distance, angle, conformer, donor = min(contacts)
    return {
        "conformer": "" if no_bond else conformer,
        "donor": "" if no_bond else donor,
        "distance_oh": distance,
        "angle": angle,
    }


def _relative_orientation(structure: Structure) -> tuple[float, float]:
    """Degrees between the amide planes, and A between their centres."""
    first, second = (x for _, x in _units(structure))
    cosine = abs(float(_plane_normal(first[_PLANE]) @ _plane_normal(second[_PLANE])))
    apart = first[_CENTRE].mean(axis=0) - second[_CENTRE].mean(axis=0)
    return float(np.degrees(np.arccos(min(1.0, cosine)))), float(np.linalg.norm(apart))


def _units(structure: Structure) -> list[tuple[str, FloatArray]]:
    return [("nma", structure.positions[structure.atoms_of(unit)]) for unit in structure.units]


def _plane_normal(x: FloatArray) -> FloatArray:
    """Normal of the plane that fits points (N, 3) best."""
    return np.asarray(np.linalg.svd(x - x.mean(axis=0))[2][2])
