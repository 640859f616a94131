"""Figures by name for `hbcoop plot`. Functions are imported when a figure is drawn, not when names are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hbcoop_dist.analysis.model_scores import REFERENCE

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure that `hbcoop plot` can draw; those of chains show own minima.

    Attributes
    ----------
    kind : str
        Kind of the stores that it is drawn from: ``hbond``, ``complexes`` or ``generalization``.
    function : str
        Name of the function in `hbcoop_dist.analysis.plots`; takes the dataset of a store.
    description : str
        One line; figures of the paper are those of Feng, Xu and Huang (2025).
    options : mapping of str to object
        Keyword arguments of the function.
    table : str
        Name of a function in `hbcoop_dist.analysis` whose result is printed beside the figure; empty for none.
    """

    kind: str
    function: str
    description: str
    options: Mapping[str, object] = field(default_factory=dict)
    table: str = ""

    def draw(self, ds: xr.Dataset, **options: object) -> Figure:
        """Draw the figure.

        Parameters
        ----------
        ds : xarray.Dataset
            Dataset of a store of this kind.
        **options
            Further keyword arguments of the function.

        Raises
        ------
        ValueError
            When the store lacks what the figure shows.
        """
        function: Callable[..., Figure] = getattr(import_module("hbcoop_dist.analysis.plots"), self.function)
        return function(self._selected(ds), **{**self.options, **options})

    def tabulate(self, ds: xr.Dataset) -> pd.DataFrame | None:
        """Tabulate the numbers of the figure; None for a figure without a table.

        Parameters
        ----------
        ds : xarray.Dataset
            Dataset of a store of this kind.
        """
        if not self.table:
            return None
        values: Any = getattr(import_module("hbcoop_dist.analysis"), self.table)(self._selected(ds))
        # the last dim of an array becomes columns
        frame: pd.DataFrame = values.to_series().unstack() if hasattr(values, "to_series") else values
        return frame

    def _selected(self, ds: xr.Dataset) -> xr.Dataset:
        return ds.sel(geometry=["own"]) if self.kind == "hbond" and "own" in ds["geometry"].values else ds


_ENERGY = "cooperative_energy_against_length"
_BARE, _CAPPED = ({"capping": capping, "reference": REFERENCE} for capping in ("none", "water"))
PLOTS: Mapping[str, Plot] = {
    "cooperative-energy": Plot("hbond", _ENERGY, "Cooperative energy against length, every kind of chain."),
    "bare-chains": Plot("hbond", _ENERGY, "Bare chains, MP2 in black (figures 3 and S2 of the paper).", _BARE),
    "capped-chains": Plot("hbond", _ENERGY, "Water-capped chains, MP2 in black (figures 4 and S3).", _CAPPED),
    "bare-arcs": Plot("hbond", "bare_arcs", "Bare arcs without near-rings, MP2 in black."),
    "distances": Plot("hbond", "distance_against_length", "O..N distance against length (figures 5 and S4)."),
    "dimers": Plot("hbond", "dimers", "Isolated dimers, syn and anti (figure 2).", table="syn_anti_difference"),
    "molecules": Plot("hbond", "molecule_map", "One model's middle bond by molecule (figure 6); see --model."),
    "broken-geometries": Plot("hbond", "broken_geometries", "Last geometry of chains that broke (figure S1)."),
    "every-hbond": Plot("hbond", "every_hbond", "Every H-bond along bare arcs."),
    "growth": Plot("hbond", "growth_curves", "Growth of the middle bond of bare arcs, fits and receptive fields."),
    "parts": Plot("hbond", "parts", "Electronic and geometric part of the middle bond of the bare arc of four units."),
    "rotamers": Plot("hbond", "rotamers", "The same bond in each methyl rotamer.", table="by_rotamer"),
    "twins": Plot(
        "hbond", "cooperative_energy_of_twins", "Models with and without charges, middle bond.", table="middle_bond"
    ),
    "schemes": Plot(
        "hbond", "cooperative_energy_by_scheme", "Networks of a bridge campaign by scheme.", table="middle_bond"
    ),
    "free-dimers": Plot("complexes", "free_dimer_outcomes", "Outcomes of unconstrained dimers.", table="free_dimers"),
    "errors": Plot("generalization", "errors_by_split", "Errors on the test set by split and long-range scheme."),
    "learning-curves": Plot("generalization", "learning_curves", "Force errors on the validation set against steps."),
    "chemical-space": Plot("generalization", "chemical_space", "Maps of chemical space by part of each split."),
}
"""Figures by name."""
