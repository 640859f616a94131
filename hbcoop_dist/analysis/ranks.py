"""Order models by their error at the reference's geometries, and say which of them that error can tell apart.

A reference has an error of its own. Two models whose errors differ by less than that share their ranks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.references import reference_energies

_AGREE = ("rimp2", "scs-mp2")
"""Methods either of which could be the reference; Hartree-Fock and double-zeta bases could not."""


def reference_width(reference: str = "rimp2:cc-pvtz:frozen-core", references: xr.Dataset | None = None) -> float:
    """How far other references of like standing are from one, kcal/mol.

    The largest root mean square difference of cooperative energies from `reference` among RI-MP2 and SCS-MP2 in
    triple-zeta bases, with counterpoise or without, at the same geometries. NaN when there is nothing to compare.

    Parameters
    ----------
    reference : str
        A level of theory of `references`.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.
    """
    energies = (reference_energies() if references is None else references)["cooperative_energy"]
    if reference not in energies["model"].values:
        return float("nan")
    # a bare dimer has nothing to cooperate with, so that every level agrees on its zero
    energies = energies.where((energies["length"] > 2) | (energies["capping"] != "none"))
    known = energies.sel(model=reference, drop=True)
    widths = [float("nan")]
    for model in map(str, energies["model"].values):
        if model.split(":")[0] in _AGREE and "pvtz" in model and model != reference:
            squares = ((energies.sel(model=model, drop=True) - known) ** 2).values
            if np.isfinite(squares).any():
                widths.append(float(np.sqrt(np.nanmean(squares))))
    return float(np.nanmax(widths)) if len(widths) > 1 else float("nan")


def ranks(errors: pd.Series, width: float) -> pd.DataFrame:
    """Best and worst rank that each model can have, given how well the reference itself is known.

    Parameters
    ----------
    errors : Series
        By model, kcal/mol; NaN where none is known.
    width : float
        Two errors closer than that are not told apart, kcal/mol.

    Returns
    -------
    DataFrame
        By model, columns ``best`` and ``worst``, from 1; NaN for a model without an error.
    """
    known = errors.dropna()
    found = pd.DataFrame(np.nan, index=errors.index, columns=["best", "worst"])
    for model, error in known.items():
        others = known.drop(model)
        found.loc[model, "best"] = 1 + int((others < error - width).sum())
        found.loc[model, "worst"] = 1 + int((others < error + width).sum())
    return found
