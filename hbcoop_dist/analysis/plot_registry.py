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
    """A figure that `hbcoop plot` can draw.

    Attributes
    ----------
    name : str
        Name on the command line.
    kind : str
        Kind of the stores that it is drawn from: ``hbond``, ``complexes`` or ``generalization``.
    function : str
        Name of the function in `hbcoop_dist.analysis.plots`; takes the dataset of a store.
    description : str
        One line.
    options : mapping of str to object
        Keyword arguments of the function.
    own_geometry : bool
        Draw own minima only, when the store has other geometries beside them.
    table : str
        Name of a function in `hbcoop_dist.analysis` whose result is printed beside the figure; empty for none.
    """

    name: str
    kind: str
    function: str
    description: str
    options: Mapping[str, object] = field(default_factory=dict)
    own_geometry: bool = False
    table: str = ""

    @property
    def default_file(self) -> str:
        """File that is written unless another is given."""
        return f"{self.name}.png"

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
        if hasattr(values, "to_pandas"):
            values = values.squeeze(drop=True).to_pandas()
        frame: pd.DataFrame = values if values.ndim == 2 else values.to_frame(values.name or self.table)
        return frame

    def _selected(self, ds: xr.Dataset) -> xr.Dataset:
        return ds.sel(geometry=["own"]) if self.own_geometry and "own" in ds["geometry"].values else ds


_MP2: Mapping[str, object] = {"reference": REFERENCE}
_PLOTS = (
    Plot(
        "cooperative-energy",
        "hbond",
        "cooperative_energy_against_length",
        "Cooperative energy against length, every kind of chain.",
        own_geometry=True,
    ),
    Plot(
        "bare-chains",
        "hbond",
        "cooperative_energy_against_length",
        "Cooperative energy against length, bare chains, MP2 in black (figures 3 and S2 of the paper).",
        {"capping": "none", **_MP2},
        own_geometry=True,
    ),
    Plot(
        "capped-chains",
        "hbond",
        "cooperative_energy_against_length",
        "Cooperative energy against length, water-capped chains, MP2 in black (figures 4 and S3).",
        {"capping": "water", **_MP2},
        own_geometry=True,
    ),
    Plot("bare-arcs", "hbond", "bare_arcs", "Cooperative energy against length, bare arcs without near-rings."),
    Plot(
        "distances",
        "hbond",
        "distance_against_length",
        "O..N distance against length (figures 5 and S4).",
        own_geometry=True,
    ),
    Plot(
        "dimers",
        "hbond",
        "dimers",
        "Interaction energy and O..N distance of the isolated dimers (figure 2).",
        own_geometry=True,
        table="syn_anti_difference",
    ),
    Plot(
        "molecules",
        "hbond",
        "molecule_map",
        "Contributions of molecules to the middle bond of one model (figure 6); --model chooses it.",
        own_geometry=True,
    ),
    Plot(
        "broken-geometries",
        "hbond",
        "broken_geometries",
        "Last geometry of chains that broke (figure S1).",
        own_geometry=True,
    ),
    Plot("every-hbond", "hbond", "every_hbond", "Cooperative energy of every H-bond along bare arcs."),
    Plot("growth", "hbond", "growth_curves", "Growth of the middle bond with fits and receptive fields, bare arcs."),
    Plot("parts", "hbond", "parts", "Electronic and geometric part of the middle bond, bare arc of four units."),
    Plot(
        "rotamers",
        "hbond",
        "rotamers",
        "The middle bond of the bare arc of four units in each methyl rotamer.",
        table="by_rotamer",
    ),
    Plot(
        "twins",
        "hbond",
        "cooperative_energy_of_twins",
        "Pairs of models with and without charges: the middle bond beyond its neighbours.",
        table="middle_bond",
    ),
    Plot(
        "schemes",
        "hbond",
        "cooperative_energy_by_scheme",
        "Networks of a bridge campaign by long-range scheme: the middle bond beyond its neighbours.",
        table="middle_bond",
    ),
    Plot(
        "free-dimers",
        "complexes",
        "free_dimer_outcomes",
        "Outcomes of dimers minimised without constraints (section 3.1 of the paper).",
        table="free_dimers",
    ),
    Plot("errors", "generalization", "errors_by_split", "Errors on the test set by split and long-range scheme."),
    Plot("learning-curves", "generalization", "learning_curves", "Force errors on the validation set against steps."),
    Plot("chemical-space", "generalization", "chemical_space", "Maps of chemical space coloured by part of a split."),
)
PLOTS: Mapping[str, Plot] = {plot.name: plot for plot in _PLOTS}
"""Figures by name."""
