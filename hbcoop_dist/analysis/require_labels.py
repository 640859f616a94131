"""Refuse labels that a store has not: xarray's own KeyError says neither which there are nor of which axis."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr


def require_labels(ds: xr.Dataset, place: Mapping[str, object]) -> None:
    """Check that there is such a place.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    place : mapping of str to object
        Dims and one label of each.

    Raises
    ------
    ValueError
        When a label is not among the dim's; says which are.
    """
    for dim, label in place.items():
        if label not in ds[dim].values:
            raise ValueError(f"{dim}: expected one of {', '.join(map(str, ds[dim].values))}, found {label}")
