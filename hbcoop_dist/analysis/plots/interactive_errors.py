"""Interactive figures of a generalization store: errors by split and scheme, and the map of chemical space."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, FactorRange, HoverTool, LayoutDOM, Range1d
from bokeh.models.widgets import Div
from bokeh.plotting import figure

from hbcoop_dist.analysis.claim_tests import ERRORS, TITLES, axis_label, errors
from hbcoop_dist.analysis.plots.generalization import PARTS
from hbcoop_dist.analysis.plots.interactive_chains import MIN_WIDTH, legend_checkboxes, menu, wrapping_row
from hbcoop_dist.analysis.plots.style import scheme_colour

_UPDATE_ERRORS = """
const at = name => data[name], ticked = schemes.active.map(i => schemes.labels[i]);
const out = {x: [], value: [], colour: [], scheme: [], split: []};
for (let i = 0; i < at("value").length; i++) {
  if (at("error")[i] !== error.value || at("network")[i] !== network.value) continue;
  if (!ticked.includes(at("scheme")[i]) || !Number.isFinite(at("value")[i])) continue;
  out.x.push([at("split")[i], at("scheme")[i]]);
  for (const name of ["value", "colour", "scheme", "split"]) out[name].push(at(name)[i]);
}
shown.data = out;
plot.x_range.factors = out.x;
plot.y_range.start = 1.05 * Math.min(0, ...out.value);
plot.y_range.end = 1.05 * Math.max(0, ...out.value);
plot.left[0].axis_label = units[error.value];
"""
_UPDATE_MAP = """
const out = {x: [], y: [], colour: [], part: [], domain: [], parent: [], similarity: []};
for (let i = 0; i < all.split.length; i++)
  if (all.split[i] === choice.value) for (const name of Object.keys(out)) out[name].push(all[name][i]);
shown.data = out;
"""
_HEIGHT = 340
_ERROR_COLUMNS = ("value", "colour", "scheme", "split")
_FIRST_ERROR = "interaction_beyond_rmse"
_NOTHING = "nothing"
"""Option of a menu that has no others."""


def error_explorer(ds: xr.Dataset) -> LayoutDOM:
    """Figures of errors and of chemical space with their menus, as one Bokeh layout.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``generalization``, loaded into memory.

    Returns
    -------
    LayoutDOM
    """
    return column(_error_bars(ds), _chemical_space(ds), sizing_mode="stretch_width")


def _error_bars(ds: xr.Dataset) -> LayoutDOM:
    data, names, networks = _error_rows(ds)
    shown = ColumnDataSource({name: [] for name in ("x", *_ERROR_COLUMNS)})
    plot = figure(
        x_range=FactorRange(factors=[], group_padding=0.6),
        y_range=Range1d(),
        height=_HEIGHT,
        min_width=MIN_WIDTH,
        sizing_mode="stretch_width",
        name="errors",
    )
    plot.vbar("x", top="value", width=0.85, color="colour", source=shown)
    plot.add_tools(HoverTool(tooltips=[("split", "@split"), ("scheme", "@scheme"), ("value", "@value{0.000}")]))
    # the checkboxes are the legend: names below the narrow bars would overlap
    plot.xaxis.major_label_text_font_size, plot.xaxis.major_tick_line_color = "0px", None
    # Bokeh's stubs lack the attributes of categorical axes
    plot.xaxis.group_label_orientation = 0.3  # type: ignore[attr-defined]
    plot.xgrid.grid_line_color = None
    first = _FIRST_ERROR if _FIRST_ERROR in names else names[0]
    error = menu("Error", [(name, TITLES[name]) for name in names], first, name="error")
    network = menu("Set and network", networks, networks[0], name="network")
    boxes = legend_checkboxes({name: scheme_colour(name) for name in map(str, ds["scheme"].values)}, name="schemes")
    units = {name: axis_label(ds, name) for name in names}
    plot.yaxis.axis_label = units[first]
    arguments = {
        "data": data,
        "shown": shown,
        "schemes": boxes,
        "error": error,
        "network": network,
        "plot": plot,
        "units": units,
    }
    update = CustomJS(args=arguments, code=_UPDATE_ERRORS)
    for widget, attribute in ((error, "value"), (network, "value"), (boxes, "active")):
        widget.js_on_change(attribute, update)
    _show_first(shown, plot, data, first, networks[0])
    legend = column(Div(text="Schemes"), boxes, width=150)
    return column(wrapping_row(error, network), wrapping_row(legend, plot), sizing_mode="stretch_width")


def _error_rows(ds: xr.Dataset) -> tuple[dict[str, list[Any]], list[str], list[str]]:
    """Columns with every known error, mean over seeds; the errors that occur; the sets and networks that occur."""
    means = errors(ds).mean("seed")
    rows: dict[str, list[Any]] = {name: [] for name in ("error", "network", *_ERROR_COLUMNS)}
    for error in ERRORS:
        frame = means[error].to_dataframe().reset_index().dropna(subset=[error])
        for row in frame.itertuples(index=False):
            rows["error"].append(error)
            rows["network"].append(f"{row.dataset}, {row.architecture}")
            rows["split"].append(str(row.split))
            rows["scheme"].append(str(row.scheme))
            rows["value"].append(float(getattr(row, error)))
            rows["colour"].append(scheme_colour(str(row.scheme)))
    names, networks = list(dict.fromkeys(rows["error"])), list(dict.fromkeys(rows["network"]))
    return rows, names or list(ERRORS[:1]), networks or [_NOTHING]


def _show_first(shown: ColumnDataSource, plot: Any, data: dict[str, list[Any]], error: str, network: str) -> None:
    """Fill the figure as `_UPDATE_ERRORS` does in the page, for the first choice."""
    kept = [row for row in range(len(data["value"])) if data["error"][row] == error and data["network"][row] == network]
    factors = [(data["split"][row], data["scheme"][row]) for row in kept]
    shown.data = {"x": factors, **{name: [data[name][row] for row in kept] for name in _ERROR_COLUMNS}}
    plot.x_range.factors = factors
    values = [0.0, *shown.data["value"]]
    plot.y_range.start, plot.y_range.end = 1.05 * min(values), 1.05 * max(values)


def _chemical_space(ds: xr.Dataset) -> LayoutDOM:
    rows = _map_rows(ds)
    splits = list(dict.fromkeys(rows["split"])) or [_NOTHING]
    first = [row for row, split in enumerate(rows["split"]) if split == splits[0]]
    shown = ColumnDataSource({name: [rows[name][row] for row in first] for name in rows if name != "split"})
    plot = figure(height=_HEIGHT, sizing_mode="stretch_width", name="map")
    plot.scatter("x", "y", color="colour", legend_group="part", size=5, alpha=0.8, source=shown)
    tooltips = [("part", "@part"), ("parent", "@parent"), ("domain", "@domain"), ("similarity", "@similarity")]
    plot.add_tools(HoverTool(tooltips=tooltips))
    plot.add_layout(plot.legend[0], "above")
    plot.legend.orientation, plot.legend.border_line_color = "horizontal", None
    plot.axis.visible = False
    choice = menu("Set and split", splits, splits[0], name="split")
    choice.js_on_change("value", CustomJS(args={"all": rows, "choice": choice, "shown": shown}, code=_UPDATE_MAP))
    return column(choice, plot, sizing_mode="stretch_width")


def _map_rows(ds: xr.Dataset) -> dict[str, list[Any]]:
    """Columns with every structure of each set and split, at the first seed."""
    names = ("split", "x", "y", "colour", "part", "domain", "parent", "similarity")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for dataset in ds["dataset"].values:
        for split in ds["split"].values:
            first = ds.sel(dataset=dataset, split=split).isel(seed=0)
            kept = np.flatnonzero(first["part"].values >= 0)
            parts = [PARTS[int(number)] for number in first["part"].values[kept]]
            rows["split"] += [f"{dataset}, {split}"] * len(kept)
            rows["x"] += first["umap_1"].values[kept].tolist()
            rows["y"] += first["umap_2"].values[kept].tolist()
            rows["part"] += [name for name, _ in parts]
            rows["colour"] += [colour for _, colour in parts]
            rows["domain"] += first["structure_domain"].values[kept].tolist()
            rows["parent"] += first["structure_parent"].values[kept].tolist()
            rows["similarity"] += first["similarity"].values[kept].tolist()
    return rows
