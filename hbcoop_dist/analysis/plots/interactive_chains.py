"""Interactive figures of hydrogen-bonded chains: any quantity against length, and along one chain.

All numbers are embedded in the page; a choice of the reader replaces the columns of the data sources, without a server.
Series are found by a key: quantity and labels joined by ``|``, and the length for series along a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, LayoutDOM
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.widgets import Select, Slider
from bokeh.plotting import figure
from bokeh.transform import dodge

from hbcoop_dist.analysis.ensemble_spread import with_spread
from hbcoop_dist.analysis.growth_fits import growth
from hbcoop_dist.analysis.plots.chains import bars_aside
from hbcoop_dist.analysis.plots.interactive_widgets import MIN_WIDTH, legend_checkboxes, menu, wrapping_row
from hbcoop_dist.analysis.plots.style import model_style
from hbcoop_dist.analysis.selection import done
from hbcoop_dist.core.arrays import FloatArray

QUANTITIES: Mapping[str, str] = {
    "cooperative_energy": "cooperative energy, kcal/mol",
    "cooperative_energy_electronic": "its electronic part, kcal/mol",
    "cooperative_energy_geometric": "its geometric part, kcal/mol",
    "increment": "cooperative energy per added unit, kcal/mol",
    "interaction_energy": "interaction energy in the complex, kcal/mol",
    "distance_on": "O..N distance, A",
}
"""Axis label of every quantity that can be chosen."""
_DIMS = ("pattern", "capping", "geometry", "rotamer")
_COLUMNS = ("y", "line", "note", "fill", "low", "high")
_MARKERS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle",
    "v": "inverted_triangle",
    "P": "cross",
    "X": "x",
    "p": "hex",
    "h": "hex",
    "<": "star",
    ">": "plus",
}
_PANEL_WIDTH = 240
_HOVER = [("model", "$name"), ("units", "@x"), ("value", "@y{0.00}"), ("", "@note")]

_UPDATE_LENGTHS = """
const key = [quantity.value, ...choices.map(c => c.value)].join("|");
for (const [source, table] of sources) {
  const series = table[key] ?? {y: [], line: [], note: [], fill: [], low: [], high: []};
  source.data = {x: series.y.length ? table.x : [], ...series};
}
for (const panel of panels) panel.left[0].axis_label = labels[quantity.value];
"""
_UPDATE_CHAIN = """
const key = [quantity.value, ...choices.map(c => c.value), length.value].join("|");
for (const [source, table] of sources) {
  const y = table[key] ?? [], note = table.notes[key.split("|").slice(1).join("|")] ?? "";
  const fill = note ? "white" : table.colour, spread = table.spread[key] ?? y.map(_ => NaN);
  source.data = {
    x: y.map((_, i) => i + 1), y: y, line: y, note: y.map(_ => note), fill: y.map(_ => fill),
    low: y.map((value, i) => value - spread[i]), high: y.map((value, i) => value + spread[i]),
  };
}
for (const panel of panels) panel.left[0].axis_label = labels[quantity.value];
"""
_FILTER_MODELS = """
const ticked = new Set(this.active.map(i => this.labels[i]));
for (const [name, glyphs] of lines) for (const glyph of glyphs) glyph.visible = ticked.has(name);
"""


def chain_explorer(ds: xr.Dataset, reference: str, references: xr.Dataset) -> LayoutDOM:
    """Figures against length and along a chain with their menus, as one Bokeh layout.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``, with text as objects.
    reference : str
        Reference level, drawn in black where it has values.
    references : xarray.Dataset
        Reference energies.

    Returns
    -------
    LayoutDOM
    """
    done_ds = done(ds).compute()
    models = [str(name) for name in ds["model"].values]
    lines: dict[str, list[GlyphRenderer[Any]]] = {model: [] for model in models}
    choices = [_dim_menu(done_ds, dim) for dim in _DIMS]
    against_length = _against_length(done_ds, choices, lines, reference, references)
    along_chain = _along_chain(done_ds, choices, lines)
    boxes = legend_checkboxes({model: model_style(model).colour for model in models}, name="model-filter", width=190)
    boxes.js_on_change("active", CustomJS(args={"lines": list(lines.items())}, code=_FILTER_MODELS))
    figures = column(
        wrapping_row(*choices), against_length, along_chain, sizing_mode="stretch_width", min_width=MIN_WIDTH
    )
    return wrapping_row(boxes, figures, name="explorer")


def _dim_menu(ds: xr.Dataset, dim: str) -> Select:
    labels = [str(label) for label in ds[dim].values]
    return menu(dim, labels, labels[0], name=f"choose-{dim}", width=150)


def _against_length(
    ds: xr.Dataset,
    choices: Sequence[Select],
    lines: dict[str, list[GlyphRenderer[Any]]],
    reference: str,
    references: xr.Dataset,
) -> LayoutDOM:
    """One panel per position of the H-bond; the glyphs of each model are added to `lines`."""
    model_series = _series_by_length(ds)
    reference_series = _reference_series(ds, reference, references)
    quantity = menu("quantity", list(QUANTITIES.items()), "cooperative_energy", name="choose-quantity")
    first_key = "|".join(["cooperative_energy", *(str(choice.value) for choice in choices)])
    offsets = bars_aside(ds, "cooperative_energy")
    panels: list[Any] = []
    sources: list[tuple[ColumnDataSource, dict[str, Any]]] = []
    for position in map(str, ds["position"].values):
        is_last = len(panels) + 1 == ds.sizes["position"]
        shared_with = panels[0] if panels else None
        panel = _panel(f"{position} H-bond", "length (NMA units)", shared_with, "right" if is_last else None)
        for model, glyphs in lines.items():
            table = model_series[model, position]
            source = _source(table, first_key)
            sources.append((source, table))
            glyphs.extend(_draw_model(panel, source, model, offset=offsets.get(model)))
        source = _source(reference_series[position], first_key)
        sources.append((source, reference_series[position]))
        panel.scatter("x", "y", source=source, marker="dash", size=14, color="black", name=reference)
        panels.append(panel)
    panels[0].yaxis.axis_label = QUANTITIES["cooperative_energy"]
    arguments = {
        "sources": sources,
        "quantity": quantity,
        "choices": list(choices),
        "panels": panels[:1],
        "labels": dict(QUANTITIES),
    }
    update = CustomJS(args=arguments, code=_UPDATE_LENGTHS)
    for widget in (quantity, *choices):
        widget.js_on_change("value", update)
    return column(quantity, wrapping_row(*panels), sizing_mode="stretch_width")


def _along_chain(ds: xr.Dataset, choices: Sequence[Select], lines: dict[str, list[GlyphRenderer[Any]]]) -> LayoutDOM:
    """Every H-bond of a chain of the chosen length; the glyphs of each model are added to `lines`."""
    names = {f"hbond_{name}": label for name, label in QUANTITIES.items() if f"hbond_{name}" in ds}
    lengths = [int(length) for length in ds["length"].values]
    first_name = next(iter(names))
    first_key = "|".join([first_name, *(str(choice.value) for choice in choices), str(lengths[-1])])
    offsets = bars_aside(ds, first_name)
    quantity = menu("quantity", list(names.items()), first_name, name="choose-hbond-quantity")
    # Bokeh refuses a slider of a single step
    end = max(lengths[-1], lengths[0] + 1)
    length = Slider(title="length (NMA units)", start=lengths[0], end=end, value=lengths[-1], width=300)
    panel = _panel("every H-bond of a chain", "H-bond, from the head", None, "right")
    panel.yaxis.axis_label = names[first_name]
    sources = []
    for model, glyphs in lines.items():
        table = {
            **_series_along_chain(ds, model, list(names)),
            "colour": model_style(model).colour,
            "notes": _chain_notes(ds, model),
            "spread": _series_along_chain(ds, model, [name for name in names if f"{name}_spread" in ds], "_spread"),
        }
        source = _chain_source(table, first_key)
        sources.append((source, table))
        glyphs.extend(_draw_model(panel, source, model, offset=offsets.get(model)))
    arguments = {
        "sources": sources,
        "quantity": quantity,
        "choices": list(choices),
        "length": length,
        "panels": [panel],
        "labels": names,
    }
    update = CustomJS(args=arguments, code=_UPDATE_CHAIN)
    for widget in (quantity, length, *choices):
        widget.js_on_change("value", update)
    return column(wrapping_row(quantity, length), panel, sizing_mode="stretch_width")


def _panel(title: str, x_label: str, shared_with: Any, toolbar: Literal["right"] | None) -> Any:
    ranges = {} if shared_with is None else {"y_range": shared_with.y_range, "x_range": shared_with.x_range}
    panel = figure(
        title=title,
        height=330,
        min_width=_PANEL_WIDTH,
        sizing_mode="stretch_width",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        toolbar_location=toolbar,
        **ranges,
    )
    panel.xaxis.axis_label = x_label
    panel.xgrid.visible = False
    panel.add_tools(HoverTool(tooltips=_HOVER))
    return panel


def _draw_model(panel: Any, source: ColumnDataSource, model: str, offset: float | None) -> list[GlyphRenderer[Any]]:
    """Line and points of a model; for an ensemble also error bars, shifted by `offset` along x."""
    style = model_style(model)
    bars = []
    if offset is not None:
        x = dodge("x", offset)
        look: Any = {"source": source, "color": style.colour, "alpha": 0.6, "name": model}
        bars = [panel.segment(x, "low", x, "high", line_width=1.5, **look)]
        bars += [panel.scatter(x, end, marker="dash", size=7, line_width=1.5, **look) for end in ("low", "high")]
    line = panel.line("x", "line", source=source, color=style.colour, line_width=2, name=model)
    points = panel.scatter(
        "x",
        "y",
        source=source,
        marker=_MARKERS[style.marker],
        size=9,
        line_color=style.colour,
        fill_color="fill",
        name=model,
    )
    return [*bars, line, points]


def _source(table: Mapping[str, Any], key: str) -> ColumnDataSource:
    """Data of a series against length."""
    series = table.get(key, {name: [] for name in _COLUMNS})
    return ColumnDataSource({"x": table["x"] if series["y"] else [], **series})


def _chain_source(table: Mapping[str, Any], key: str) -> ColumnDataSource:
    """Data of a series along a chain, as `_UPDATE_CHAIN` computes them in the page."""
    y, note = table.get(key, []), table["notes"].get(key.partition("|")[2], "")
    spread = table["spread"].get(key, [np.nan] * len(y))
    return ColumnDataSource(
        {
            "x": [place + 1 for place in range(len(y))],
            "y": y,
            "line": y,
            "note": [note] * len(y),
            "fill": ["white" if note else table["colour"]] * len(y),
            **_bar_ends(np.array(y), np.array(spread)),
        }
    )


def _series_by_length(ds: xr.Dataset) -> dict[tuple[str, str], dict[str, Any]]:
    """For every model and position: ``x``, the lengths, and by key the columns of each series."""
    values = ds[[name for name in QUANTITIES if name in ds]].assign(increment=growth(ds)["increment"])
    values = values.transpose("model", "position", *_DIMS, "length", ...)
    notes = _notes(ds).transpose("model", *_DIMS, "length").values
    # quantities without a spread get missing ones
    missing = values * np.nan
    spreads = {
        name: ds.get(f"{name}_spread", missing[name]).transpose(*missing[name].dims).values
        for name in missing.data_vars
    }
    ensembles = with_spread(ds)
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for model_index, model in enumerate(map(str, ds["model"].values)):
        colour = model_style(model).colour
        for position_index, position in enumerate(map(str, ds["position"].values)):
            table: dict[str, Any] = {"x": [int(length) for length in ds["length"].values]}
            for name in QUANTITIES:
                array = values[name].values[model_index, position_index]
                for place in np.ndindex(array.shape[:-1]):
                    if not np.isfinite(array[place]).any():
                        continue
                    columns = _columns(array[place], [str(note) for note in notes[(model_index, *place)]], colour)
                    if model in ensembles:
                        columns |= _bar_ends(array[place], spreads[name][(model_index, position_index, *place)])
                    table[_key(ds, name, place)] = columns
            tables[model, position] = table
    return tables


def _columns(values: FloatArray, notes: list[str], colour: str) -> dict[str, list[Any]]:
    is_ring = np.array(["near-ring" in note for note in notes])
    return {
        "y": _numbers(values),
        # a near-ring is not a longer chain of the same kind, so the line does not lead to it
        "line": _numbers(np.where(is_ring, np.nan, values)),
        "note": list(notes),
        "fill": ["white" if note else colour for note in notes],
    }


def _bar_ends(values: FloatArray, spread: FloatArray) -> dict[str, list[float]]:
    return {"low": _numbers(values - spread), "high": _numbers(values + spread)}


def _notes(ds: xr.Dataset) -> xr.DataArray:
    """Flags of every cell as text, empty where none is set."""
    saddle, ring = ds["saddle"].values == 1, ds["near_ring"].values == 1
    texts = np.select([saddle & ring, saddle, ring], ["saddle and near-ring", "saddle", "near-ring"], "")
    return ds["saddle"].copy(data=texts.astype(object))


def _reference_series(ds: xr.Dataset, reference: str, references: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Series of the reference level by position; at own minima those of the first geometry that has values."""
    lengths = [int(length) for length in ds["length"].values]
    tables: dict[str, dict[str, Any]] = {position: {"x": lengths} for position in map(str, ds["position"].values)}
    level = references.sel(model=reference).reindex(length=ds["length"].values)
    for position in set(tables) & set(map(str, level["position"].values)):
        for place in np.ndindex(tuple(ds.sizes[dim] for dim in _DIMS)):
            labels = {dim: str(ds[dim].values[index]) for dim, index in zip(_DIMS, place, strict=True)}
            labels |= {"geometry": _reference_geometry(level, labels), "position": position}
            if any(label not in level[dim].values for dim, label in labels.items()):
                continue
            for name in QUANTITIES:
                if name in level and bool(level[name].sel(labels).notnull().any()):
                    values = level[name].sel(labels).values
                    notes = [f"at the geometries of {labels['geometry']}"] * len(values)
                    tables[position][_key(ds, name, place)] = _columns(values, notes, "black") | {
                        "fill": ["black"] * len(values)
                    }
    return tables


def _reference_geometry(level: xr.Dataset, labels: Mapping[str, str]) -> str:
    """The chosen geometry or, for own minima, the first geometry at which the reference level has values."""
    if labels["geometry"] != "own":
        return labels["geometry"]
    others = {dim: label for dim, label in labels.items() if dim != "geometry"}
    if any(label not in level[dim].values for dim, label in others.items()):
        return "own"
    is_known = level["cooperative_energy"].sel(others).notnull()
    by_geometry = is_known.any([dim for dim in is_known.dims if dim != "geometry"]).values
    return str(level["geometry"].values[int(np.argmax(by_geometry))])


def _series_along_chain(ds: xr.Dataset, model: str, names: Sequence[str], suffix: str = "") -> dict[str, list[float]]:
    """Values of every H-bond of each chain of a model, by key."""
    series: dict[str, list[float]] = {}
    for name in names:
        array = ds[f"{name}{suffix}"].sel(model=model).transpose(*_DIMS, "length", "hbond").values
        for place in np.ndindex(array.shape[:-2]):
            for index, length in enumerate(ds["length"].values.tolist()):
                values = array[(*place, index)][: length - 1]
                if np.isfinite(values).any():
                    series[f"{_key(ds, name, place)}|{length}"] = _numbers(values)
    return series


def _chain_notes(ds: xr.Dataset, model: str) -> dict[str, str]:
    """Notes of each chain of a model that has some, by labels and length."""
    notes = _notes(ds).sel(model=model).transpose(*_DIMS, "length").values
    return {
        f"{_key(ds, '', place).removeprefix('|')}|{length}": str(notes[(*place, index)])
        for place in np.ndindex(notes.shape[:-1])
        for index, length in enumerate(ds["length"].values.tolist())
        if notes[(*place, index)]
    }


def _key(ds: xr.Dataset, name: str, place: tuple[int, ...]) -> str:
    return "|".join([name, *(str(ds[dim].values[index]) for dim, index in zip(_DIMS, place, strict=True))])


def _numbers(values: FloatArray) -> list[float]:
    """Five significant digits, which keep the page small."""
    return [float(f"{value:.5g}") for value in values.tolist()]
