"""Eqs. 2 to 5: which molecules of a chain a cooperative energy comes from, for models with energies of atoms.

A model that sees 5 A gives nothing to units beyond its neighbours, whatever it has learnt: this is where that shows.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done

_LABELS = ("model", "pattern", "length", "capping", "geometry", "rotamer")


def by_molecule(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Cooperative energy of every H-bond by the molecules of its chain.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        ``molecular_cooperative_energy`` (kcal/mol) over the cell's labels, ``hbond`` and ``molecule`` (units from 0,
        then the cap waters), NaN for models without energies of atoms and where there is no such molecule; ``role``
        over length, capping, hbond and molecule: A and B are the two units of the bond, C everything else, empty
        where there is none. Summed over molecules it is the cooperative energy (Eq. 1).

    Notes
    -----
    Feng, Xu and Huang (2025), Eqs. 2 to 5, atoms summed over molecules.
    """
    masked = done(ds, statuses)
    atoms, molecule = masked["atomic_cooperative_energy"], ds["molecule"]
    axis = pd.RangeIndex(int(molecule.max()) + 1, name="molecule")
    parts = [atoms.where(molecule == index).sum("atom", min_count=1) for index in axis]
    energy = xr.concat(parts, axis).transpose(*_LABELS, "hbond", "molecule")
    energy.attrs = {"units": "kcal/mol", "long_name": "cooperative energy of a molecule (Eqs. 2 to 5)"}
    return xr.Dataset({"molecular_cooperative_energy": energy, "role": _roles(ds, axis)})


def _roles(ds: xr.Dataset, axis: pd.RangeIndex) -> xr.DataArray:
    there = xr.concat([(ds["molecule"] == index).any("atom") for index in axis], axis)
    bond = ds["hbond"]
    known = there & (bond < ds["length"])
    every = xr.full_like(known, "C", dtype=object)
    role = every.where(known["molecule"] != bond - 1, "A").where(known["molecule"] != bond, "B").where(known, "")
    return role.transpose("length", "capping", "hbond", "molecule")
