"""How far the networks of an ensemble are from one another: which models of a store have such a spread, and in words.

They were trained alike, so what they disagree about the training data did not decide. Each is asked at the geometries
that their mean has minimised, so that the spread is that of energies alone.
"""

from __future__ import annotations

import xarray as xr


def with_spread(ds: xr.Dataset, name: str = "cooperative_energy") -> list[str]:
    """Models of a store that are ensembles, with the spread of an energy over their networks.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset; one of an earlier version has no spreads.
    name : str
        The energy.
    """
    if f"{name}_spread" not in ds:
        return []
    spread = ds[f"{name}_spread"]
    known = spread.notnull().any([dim for dim in spread.dims if dim != "model"])
    return [str(model) for model, there in zip(ds["model"].values, known.values, strict=True) if there]


def spread_words(ds: xr.Dataset) -> str:
    """What the bars in a figure of cooperative energies are, and which models have none, as a sentence.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    """
    known = with_spread(ds)
    if not known:
        return "No bars: no model here has a spread over the networks of an ensemble."
    rest = " The others are no ensembles and have none." if len(known) < ds.sizes["model"] else ""
    return (
        "Bars: one standard deviation over the networks of an ensemble ("
        + ", ".join(f"`{name}`" for name in known)
        + f"), all at the geometry of their mean.{rest}"
    )
