"""How many units a model of short range can see at all from a bond: what it cannot see, it cannot answer to.

A model that is a sum over atoms, each of which sees as far as its receptive field (cutoff x layers), gives a unit of C
an electronic share in a bond A-B only where some atom has A, B and that unit within its sight together.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis.selection import done


def units_seen(ds: xr.Dataset, model: str, receptive_field: float) -> int:
    """Units on one side of a bond that a model of that receptive field can see in its own longest bare arc.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    model : str
        Whose minima.
    receptive_field : float
        Cutoff times message-passing layers, A.

    Returns
    -------
    int
        Of the units beyond B, as many as take part; -1 when no bare arc of the model is done.
    """
    one = {"model": model, "pattern": "arc", "capping": "none", "geometry": "own"}
    own = ds[["positions", "status"]].sel({dim: [label] for dim, label in one.items()})
    # named, because a store may have one length
    there = done(own)["positions"].isel({**dict.fromkeys(one, 0), "rotamer": 0}, drop=True).dropna("length", how="all")
    if not there.sizes.get("length"):
        return -1
    length = int(there["length"][-1])
    positions = there.sel(length=length).transpose("atom", "xyz").values
    molecule = ds["molecule"].sel(length=length, capping="none").values
    known = molecule >= 0
    nearest = _nearest(positions[known], molecule[known])
    # the first bond of the chain: all other units are beyond its B
    sees = nearest <= receptive_field
    both = sees[0] & sees[1]
    return int(sum(bool((both & sees[unit]).any()) for unit in range(2, length)))


def _nearest(positions: NDArray[np.float64], molecule: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance from every atom to the nearest atom of every molecule, shape (molecules, atoms), A."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return np.stack([distances[molecule == unit].min(axis=0) for unit in np.unique(molecule)])
