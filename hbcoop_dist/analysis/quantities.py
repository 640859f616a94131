"""Physical quantities of a store, masked: energies, distances, the atomic decomposition and the ensemble spread."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done, require_labels
from hbcoop_dist.structures.chains import CELL_DIMS

_CELL = ("status", "reason", "saddle", "near_ring")
_DIMER = ("dimer_status", "dimer_reason", "dimer_saddle")
_BOND = ("position_conformer", "position_hbond", "units_before", "units_after", "hbond_conformer")
"""Context of a bond: in the linear pattern the conformer of middle and tail alternates with the length."""


def cooperative_energies(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Cooperative energy (Eq. 1) with its electronic and geometric part, by head, middle and tail.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        ``cooperative_energy``, ``cooperative_energy_electronic`` and ``cooperative_energy_geometric``, kcal/mol, over
        the dims of a cell and ``position``, with status, flags and the bonds of the positions.
    """
    parts = ("cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric")
    return _masked_variables(ds, (*parts, *_CELL, *_BOND), statuses)


def interaction_energies(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Interaction energies of A and B inside the complex and in the isolated dimer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        kcal/mol: ``interaction_energy`` (in the complex) and ``interaction_energy_dimer`` (isolated dimer of the same
        conformer and rotamers) over the dims of a cell and ``position``; ``dimer_interaction_energy`` over the dims of
        a dimer.
    """
    energies = ("interaction_energy", "interaction_energy_dimer", "dimer_interaction_energy")
    return _masked_variables(ds, (*energies, *_CELL, *_DIMER, *_BOND), statuses)


def hbond_distances(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """O..N and O..H distances (A) and N-H..O angles (degrees).

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        ``distance_on``, ``distance_oh`` and ``angle`` over the dims of a cell and ``position``; with the prefix
        ``hbond_`` over ``hbond``, with the prefix ``dimer_`` of the isolated dimers.
    """
    measures = ("distance_on", "distance_oh", "angle")
    names = [f"{prefix}{measure}" for prefix in ("", "hbond_", "dimer_") for measure in measures]
    return _masked_variables(ds, (*names, *_CELL, *_DIMER, *_BOND), statuses)


def _masked_variables(ds: xr.Dataset, names: Collection[str], statuses: Collection[str]) -> xr.Dataset:
    return done(ds[[name for name in names if name in ds]], statuses)


def middle_bond(
    ds: xr.Dataset, *, pattern: str = "arc", capping: str = "none", statuses: Collection[str] = DONE
) -> xr.DataArray:
    """Select the cooperative energy of the middle bond at own minima, in the first rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    pattern, capping : str
        Chains to select.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.DataArray
        kcal/mol, dims (model, length), NaN where a cell is not done.

    Raises
    ------
    ValueError
        When the store has no such chains.
    """
    bond = {"pattern": pattern, "capping": capping, "geometry": "own", "position": "middle"}
    require_labels(ds, bond)
    energy = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"]
    return energy.sel(bond).isel(rotamer=0, constraint=0).compute()


def syn_anti_difference(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.DataArray:
    """Interaction energy of the anti dimer less that of the syn dimer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.DataArray
        kcal/mol, dims (model, geometry, rotamer, constraint).
    """
    energy = done(ds[["dimer_interaction_energy", "dimer_status"]], statuses)["dimer_interaction_energy"]
    difference = energy.sel(conformer="anti", drop=True) - energy.sel(conformer="syn", drop=True)
    difference.attrs = {"units": "kcal/mol", "long_name": "interaction energy, anti less syn"}
    return difference.where(np.isfinite(difference))


def by_molecule(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Decompose the cooperative energy of every H-bond into contributions of the molecules of its chain.

    A model of short range has no contributions from units beyond its receptive field.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        ``molecular_cooperative_energy`` (kcal/mol) over the dims of a cell, ``hbond`` and ``molecule`` (units from 0,
        then the cap waters); NaN for models without per-atom energies and for molecules that a chain does not have.
        ``role`` over (length, capping, hbond, molecule): A and B are the two units of the bond, C all other
        molecules, empty where there is none. The sum over molecules is the cooperative energy (Eq. 1).

    Notes
    -----
    Feng, Xu and Huang (2025), Eqs. 2 to 5, atoms summed over molecules.
    """
    masked = done(ds, statuses)
    atoms, molecule = masked["atomic_cooperative_energy"], ds["molecule"]
    axis = pd.RangeIndex(int(molecule.max()) + 1, name="molecule")
    parts = [atoms.where(molecule == index).sum("atom", min_count=1) for index in axis]
    energy = xr.concat(parts, axis).transpose(*CELL_DIMS, "hbond", "molecule")
    energy.attrs = {"units": "kcal/mol", "long_name": "cooperative energy of a molecule (Eqs. 2 to 5)"}
    return xr.Dataset({"molecular_cooperative_energy": energy, "role": _roles(ds, axis)})


def _roles(ds: xr.Dataset, axis: pd.RangeIndex) -> xr.DataArray:
    present = xr.concat([(ds["molecule"] == index).any("atom") for index in axis], axis)
    bond = ds["hbond"]
    in_chain = present & (bond < ds["length"])
    environment = xr.full_like(in_chain, "C", dtype=object)
    role = (
        environment.where(in_chain["molecule"] != bond - 1, "A")
        .where(in_chain["molecule"] != bond, "B")
        .where(in_chain, "")
    )
    return role.transpose("length", "capping", "hbond", "molecule")


def with_spread(ds: xr.Dataset, name: str = "cooperative_energy") -> list[str]:
    """List the models that are ensembles, i.e. have a standard deviation of an energy over their networks.

    The networks of an ensemble are evaluated at the minimum of their mean, so that the spread is one of energies only.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    name : str
        Energy whose spread is looked up as ``{name}_spread``.
    """
    if f"{name}_spread" not in ds:
        return []
    spread = ds[f"{name}_spread"]
    has_spread = spread.notnull().any([dim for dim in spread.dims if dim != "model"])
    return [str(model) for model, flag in zip(ds["model"].values, has_spread.values, strict=True) if flag]


def spread_words(ds: xr.Dataset) -> str:
    """Caption for the error bars of a figure of cooperative energies: their meaning and the models that have them.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    """
    ensembles = with_spread(ds)
    if not ensembles:
        return "No error bars: none of these models is an ensemble of networks."
    others = " The other models are no ensembles and have none." if len(ensembles) < ds.sizes["model"] else ""
    return (
        "Error bars: ensemble spread, one standard deviation over the networks of "
        + ", ".join(f"`{name}`" for name in ensembles)
        + f", all at the minimum of their mean.{others}"
    )
