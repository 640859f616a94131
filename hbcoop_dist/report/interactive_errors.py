"""Interactive figures of a generalization store: errors by split and scheme, and the map of chemical space."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, FactorRange, HoverTool, Range1d
from bokeh.models.widgets import Div, Select
from bokeh.plotting import figure

from hbcoop_dist.analysis.generalization_errors import ERRORS, TITLES, axis_label, errors
from hbcoop_dist.analysis.plots.generalization import PARTS
from hbcoop_dist.analysis.plots.style import scheme_colour
from hbcoop_dist.report.interactive_chains import NARROW, tick_boxes, wrapping

_FILTER = """
const at = name => data[name], keep = schemes.active.map(i => schemes.labels[i]);
const out = {x: [], value: [], colour: [], scheme: [], split: []};
for (let i = 0; i < at("value").length; i++) {
  if (at("error")[i] !== error.value || at("place")[i] !== place.value || !keep.includes(at("scheme")[i])) continue;
  if (!Number.isFinite(at("value")[i])) continue;
  out.x.push([at("split")[i], at("scheme")[i]]);
  for (const name of ["value", "colour", "scheme", "split"]) out[name].push(at(name)[i]);
}
shown.data = out;
plot.x_range.factors = out.x;
plot.y_range.start = 1.05 * Math.min(0, ...out.value);
plot.y_range.end = 1.05 * Math.max(0, ...out.value);
plot.left[0].axis_label = units[error.value];
"""
_MAP = """
const keep = {x: [], y: [], colour: [], part: [], domain: [], parent: [], similarity: []};
for (let i = 0; i < all.place.length; i++)
  if (all.place[i] === choice.value) for (const name of Object.keys(keep)) keep[name].push(all[name][i]);
shown.data = keep;
"""
_HEIGHT = 340
_SHOWN = ("value", "colour", "scheme", "split")


def explorer(ds: xr.Dataset) -> Any:
    """Bokeh's layout of both figures.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store, in memory.
    """
    return column(_errors(ds), _map(ds), sizing_mode="stretch_width")


def _errors(ds: xr.Dataset) -> Any:
    data, names, places = _error_rows(ds)
    schemes = [str(name) for name in ds["scheme"].values]
    shown = ColumnDataSource({name: [] for name in ("x", *_SHOWN)})
    plot = figure(
        x_range=FactorRange(factors=[], group_padding=0.6),
        y_range=Range1d(),
        height=_HEIGHT,
        min_width=NARROW,
        sizing_mode="stretch_width",
        name="errors",
    )
    plot.vbar("x", top="value", width=0.85, color="colour", source=shown)
    plot.add_tools(HoverTool(tooltips=[("split", "@split"), ("scheme", "@scheme"), ("value", "@value{0.000}")]))
    # the boxes to tick are the legend; five names under five narrow bars would lie over one another
    plot.xaxis.major_label_text_font_size, plot.xaxis.major_tick_line_color = "0px", None
    # Bokeh's stubs have an axis's own attributes only
    plot.xaxis.group_label_orientation = 0.3  # type: ignore[attr-defined]
    plot.xgrid.grid_line_color = None
    start = "interaction_beyond_rmse" if "interaction_beyond_rmse" in names else names[0]
    error = _select("Error", start, [(name, TITLES[name]) for name in names], "error")
    place = _select("Set and network", places[0], places, "place")
    group = tick_boxes({scheme: scheme_colour(scheme) for scheme in schemes}, name="schemes")
    units = {name: axis_label(ds, name) for name in names}
    plot.yaxis.axis_label = units[start]
    callback = CustomJS(
        args={"data": data, "shown": shown, "schemes": group, "error": error, "place": place, "plot": plot,
              "units": units},
        code=_FILTER,
    )  # fmt: skip
    for widget, what in ((error, "value"), (place, "value"), (group, "active")):
        widget.js_on_change(what, callback)
    _prefill(shown, plot, data, start, places[0])
    ticks = column(Div(text="Schemes"), group, width=150)
    return column(wrapping(error, place), wrapping(ticks, plot), sizing_mode="stretch_width")


def _error_rows(ds: xr.Dataset) -> tuple[dict[str, list[Any]], list[str], list[str]]:
    """Every known error as one row, mean over seeds; the errors there are, and the sets and networks."""
    found = errors(ds).mean("seed")
    rows: dict[str, list[Any]] = {name: [] for name in ("error", "place", "split", "scheme", "value", "colour")}
    for error in ERRORS:
        frame = found[error].to_dataframe().reset_index().dropna(subset=[error])
        for one in frame.itertuples(index=False):
            rows["error"].append(error)
            rows["place"].append(f"{one.dataset}, {one.architecture}")
            rows["split"].append(str(one.split))
            rows["scheme"].append(str(one.scheme))
            rows["value"].append(float(getattr(one, error)))
            rows["colour"].append(scheme_colour(str(one.scheme)))
    names, places = list(dict.fromkeys(rows["error"])), list(dict.fromkeys(rows["place"]))
    return rows, names or list(ERRORS[:1]), places or ["nothing"]


def _prefill(shown: ColumnDataSource, plot: Any, data: dict[str, list[Any]], error: str, place: str) -> None:
    """What is to be seen before anything is chosen."""
    places = range(len(data["value"]))
    mine = [i for i in places if data["error"][i] == error and data["place"][i] == place]
    factors = [(data["split"][i], data["scheme"][i]) for i in mine]
    shown.data = {"x": factors, **{name: [data[name][i] for i in mine] for name in _SHOWN}}
    plot.x_range.factors = factors
    values = [0.0, *shown.data["value"]]
    plot.y_range.start, plot.y_range.end = 1.05 * min(values), 1.05 * max(values)


def _map(ds: xr.Dataset) -> Any:
    rows: dict[str, list[Any]] = {
        name: [] for name in ("place", "x", "y", "colour", "part", "domain", "parent", "similarity")
    }
    for dataset in ds["dataset"].values:
        for split in ds["split"].values:
            one = ds.sel(dataset=dataset, split=split).isel(seed=0)
            mine = np.flatnonzero(one["part"].values >= 0)
            parts = [PARTS[int(number)] for number in one["part"].values[mine]]
            rows["place"] += [f"{dataset}, {split}"] * len(mine)
            rows["x"] += one["umap_1"].values[mine].tolist()
            rows["y"] += one["umap_2"].values[mine].tolist()
            rows["part"] += [name for name, _ in parts]
            rows["colour"] += [colour for _, colour in parts]
            rows["domain"] += one["structure_domain"].values[mine].tolist()
            rows["parent"] += one["structure_parent"].values[mine].tolist()
            rows["similarity"] += one["similarity"].values[mine].tolist()
    places = list(dict.fromkeys(rows["place"])) or ["nothing"]
    first = [i for i, place in enumerate(rows["place"]) if place == places[0]]
    shown = ColumnDataSource({name: [rows[name][i] for i in first] for name in rows if name != "place"})
    plot = figure(height=_HEIGHT, sizing_mode="stretch_width", name="map")
    plot.scatter("x", "y", color="colour", legend_group="part", size=5, alpha=0.8, source=shown)
    plot.add_tools(
        HoverTool(tooltips=[("part", "@part"), ("parent", "@parent"), ("domain", "@domain"), ("near", "@similarity")])
    )
    plot.add_layout(plot.legend[0], "above")
    plot.legend.orientation, plot.legend.border_line_color = "horizontal", None
    plot.axis.visible = False
    choice = _select("Set and split", places[0], places, "split")
    choice.js_on_change("value", CustomJS(args={"all": rows, "choice": choice, "shown": shown}, code=_MAP))
    return column(choice, plot, sizing_mode="stretch_width")


def _select(title: str, value: str, options: list[Any], name: str) -> Select:
    return Select(title=title, value=value, options=options, name=name)
