"""Figures that answer to the reader: any quantity against length, and along one chain, for the models that are ticked.

Everything a reader can choose is in the file already; a choice swaps columns of numbers that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, InlineStyleSheet, LayoutDOM
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.widgets import CheckboxGroup, Select, Slider
from bokeh.plotting import figure
from bokeh.transform import dodge

from hbcoop_dist.analysis.growth_fits import growth
from hbcoop_dist.analysis.plots.chains import spread_offsets
from hbcoop_dist.analysis.plots.style import model_style
from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.selection import done

QUANTITIES: Mapping[str, str] = {
    "cooperative_energy": "cooperative energy, kcal/mol",
    "cooperative_energy_electronic": "its electronic part, kcal/mol",
    "cooperative_energy_geometric": "its geometric part, kcal/mol",
    "increment": "cooperative energy that a unit adds, kcal/mol",
    "interaction_energy": "interaction energy in the complex, kcal/mol",
    "distance_on": "O..N distance, A",
}
_CHOICES = ("pattern", "capping", "geometry", "rotamer")
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
NARROW = 300
"""Pixels that figures need beside what they are chosen with; a telephone held upright has them."""
_PANEL = 240
_HOVER = [("model", "$name"), ("units", "@x"), ("value", "@y{0.00}"), ("", "@note")]

_SWAP = """
const key = [quantity.value, ...choices.map(c => c.value)].join("|");
for (const [source, table] of sources) {
  const found = table[key] ?? {y: [], line: [], note: [], fill: [], low: [], high: []};
  source.data = {x: found.y.length ? table.x : [], ...found};
}
for (const panel of panels) panel.left[0].axis_label = labels[quantity.value];
"""
_ALONG = """
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
_FILTER = """
const shown = new Set(this.active.map(i => this.labels[i]));
for (const [name, glyphs] of lines) for (const glyph of glyphs) glyph.visible = shown.has(name);
"""


def explorer(ds: xr.Dataset, reference: str, references: xr.Dataset) -> LayoutDOM:
    """Both figures and what the reader chooses with, as one Bokeh layout.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset, text as objects.
    reference : str
        Level of theory, drawn in black where it has values.
    references : xarray.Dataset
        Its energies, and those of others.
    """
    found = done(ds).compute()
    models = [str(name) for name in ds["model"].values]
    lines: dict[str, list[GlyphRenderer[Any]]] = {model: [] for model in models}
    choices = [_select(found, dim) for dim in _CHOICES]
    against = _against_length(found, models, choices, lines, reference, references)
    along = _along_chain(found, models, choices, lines)
    ticks = tick_boxes({model: model_style(model).colour for model in models}, name="model-filter", width=190)
    ticks.js_on_change("active", CustomJS(args={"lines": list(lines.items())}, code=_FILTER))
    rest = column(wrapping(*choices), against, along, sizing_mode="stretch_width", min_width=NARROW)
    return wrapping(ticks, rest, name="explorer")


def tick_boxes(colours: Mapping[str, str], **fields: Any) -> CheckboxGroup:
    """A box to tick for every label, all ticked, with a dot of its colour: at once the legend."""
    dots = "".join(
        f'label:nth-of-type({at}) span::before {{ content: "\\25CF\\00A0"; color: {colour}; }}\n'
        for at, colour in enumerate(colours.values(), start=1)
    )
    return CheckboxGroup(
        labels=list(colours), active=list(range(len(colours))), stylesheets=[InlineStyleSheet(css=dots)], **fields
    )


def wrapping(*children: Any, **fields: Any) -> LayoutDOM:
    """A row that goes on below where the page is narrower; children that stretch say how narrow they may become."""
    return row(*children, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, **fields)


def _select(ds: xr.Dataset, dim: str) -> Select:
    labels: list[Any] = [str(label) for label in ds[dim].values]
    return Select(title=dim, value=labels[0], options=labels, width=150, name=f"choose-{dim}")


def _against_length(
    ds: xr.Dataset,
    models: Sequence[str],
    choices: Sequence[Select],
    lines: dict[str, list[GlyphRenderer[Any]]],
    reference: str,
    references: xr.Dataset,
) -> LayoutDOM:
    tables = _tables(ds)
    black = _reference_table(ds, reference, references)
    options: list[Any] = list(QUANTITIES.items())
    quantity = Select(
        title="quantity",
        value="cooperative_energy",
        options=options,
        width=300,
        name="choose-quantity",
    )
    start = "|".join(["cooperative_energy", *(str(choice.value) for choice in choices)])
    panels: list[Any] = []
    sources: list[tuple[ColumnDataSource, dict[str, Any]]] = []
    for position in map(str, ds["position"].values):
        last = len(panels) + 1 == ds.sizes["position"]
        like = panels[0] if panels else None
        panel = _panel(f"{position} H-bond", "length (NMA units)", like, "right" if last else None)
        for model in models:
            source = _source(tables[model, position], start)
            sources.append((source, tables[model, position]))
            lines[model] += _line(panel, source, model, aside=spread_offsets(ds, "cooperative_energy").get(model))
        source = _source(black[position], start)
        sources.append((source, black[position]))
        panel.scatter("x", "y", source=source, marker="dash", size=14, color="black", name=reference)
        panels.append(panel)
    panels[0].yaxis.axis_label = QUANTITIES["cooperative_energy"]
    swap = CustomJS(
        args={
            "sources": sources,
            "quantity": quantity,
            "choices": list(choices),
            "panels": panels[:1],
            "labels": dict(QUANTITIES),
        },
        code=_SWAP,
    )
    for widget in (quantity, *choices):
        widget.js_on_change("value", swap)
    return column(quantity, wrapping(*panels), sizing_mode="stretch_width")


def _along_chain(
    ds: xr.Dataset, models: Sequence[str], choices: Sequence[Select], lines: dict[str, list[GlyphRenderer[Any]]]
) -> LayoutDOM:
    """Every H-bond of a chain of the chosen length."""
    names = {f"hbond_{name}": words for name, words in QUANTITIES.items() if f"hbond_{name}" in ds}
    lengths = [int(length) for length in ds["length"].values]
    start = "|".join([next(iter(names)), *(str(choice.value) for choice in choices), str(lengths[-1])])
    options: list[Any] = list(names.items())
    quantity = Select(title="quantity", value=next(iter(names)), options=options, width=300)
    # a slider of a single step is an error in Bokeh
    length = Slider(
        title="length (NMA units)", start=lengths[0], end=max(lengths[-1], lengths[0] + 1), value=lengths[-1], width=300
    )
    panel = _panel("every H-bond of a chain", "H-bond, from the head", None, "right")
    panel.yaxis.axis_label = names[quantity.value]
    sources = []
    for model in models:
        table, notes = _chain_table(ds, model, tuple(names)), _chain_notes(ds, model)
        y, note = table.get(start, []), notes.get(start.partition("|")[2], "")
        colour = model_style(model).colour
        data: dict[str, Any] = {
            "x": [i + 1 for i in range(len(y))],
            "y": y,
            "line": y,
            "note": [note] * len(y),
            "fill": ["white" if note else colour] * len(y),
        }
        spread = _chain_table(ds, model, [name for name in names if f"{name}_spread" in ds], "_spread")
        source = ColumnDataSource(data | _ends(np.array(y), np.array(spread.get(start, np.full(len(y), np.nan)))))
        sources.append((source, {**table, "colour": colour, "notes": notes, "spread": spread}))
        lines[model] += _line(panel, source, model, aside=spread_offsets(ds, next(iter(names))).get(model))
    args = {
        "sources": sources,
        "quantity": quantity,
        "choices": list(choices),
        "length": length,
        "panels": [panel],
        "labels": names,
    }
    swap = CustomJS(args=args, code=_ALONG)
    for widget in (quantity, length, *choices):
        widget.js_on_change("value", swap)
    return column(wrapping(quantity, length), panel, sizing_mode="stretch_width")


def _panel(title: str, words: str, like: Any, toolbar: Literal["right"] | None) -> Any:
    shared = {} if like is None else {"y_range": like.y_range, "x_range": like.x_range}
    panel = figure(
        title=title,
        height=330,
        min_width=_PANEL,
        sizing_mode="stretch_width",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        toolbar_location=toolbar,
        **shared,
    )
    panel.xaxis.axis_label = words
    panel.xgrid.visible = False
    panel.add_tools(HoverTool(tooltips=_HOVER))
    return panel


def _line(panel: Any, source: ColumnDataSource, model: str, *, aside: float | None) -> list[GlyphRenderer[Any]]:
    """A line with its points; of an ensemble with bars, that far beside the points."""
    style = model_style(model)
    whiskers = []
    if aside is not None:
        x = dodge("x", aside)
        look: Any = {"source": source, "color": style.colour, "alpha": 0.6, "name": model}
        whiskers = [panel.segment(x, "low", x, "high", line_width=1.5, **look)]
        whiskers += [panel.scatter(x, end, marker="dash", size=7, line_width=1.5, **look) for end in ("low", "high")]
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
    return [*whiskers, line, points]


def _source(table: Mapping[str, Any], key: str) -> ColumnDataSource:
    found = table.get(key, {"y": [], "line": [], "note": [], "fill": [], "low": [], "high": []})
    return ColumnDataSource({"x": table["x"] if found["y"] else [], **found})


def _tables(ds: xr.Dataset) -> dict[tuple[str, str], dict[str, Any]]:
    """By model and position: the lengths, and for every quantity and system its values, notes and fills."""
    values = ds[[name for name in QUANTITIES if name in ds]].assign(increment=growth(ds)["increment"])
    values = values.transpose("model", "position", *_CHOICES, "length", ...)
    notes = _notes(ds).transpose("model", *_CHOICES, "length")
    # a quantity without spreads has them missing
    missing = values * np.nan
    spreads = {
        name: ds.get(f"{name}_spread", missing[name]).transpose(*missing[name].dims) for name in missing.data_vars
    }
    ensembles = with_spread(ds)
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for at_model, model in enumerate(map(str, ds["model"].values)):
        colour = model_style(model).colour
        for at_position, position in enumerate(map(str, ds["position"].values)):
            table: dict[str, Any] = {"x": [int(length) for length in ds["length"].values]}
            for name in QUANTITIES:
                array = values[name].values[at_model, at_position]
                for place in np.ndindex(array.shape[:-1]):
                    if np.isfinite(array[place]).any():
                        note = [str(text) for text in notes.values[(at_model, *place)]]
                        spread = spreads[name].values[(at_model, at_position, *place)]
                        rings = np.array(["near-ring" in text for text in note])
                        table[_key(ds, name, place)] = {
                            "y": _numbers(array[place]),
                            # a ring is no longer chain of the same kind: no line leads to it
                            "line": _numbers(np.where(rings, np.nan, array[place])),
                            "note": note,
                            "fill": ["white" if text else colour for text in note],
                            **(_ends(array[place], spread) if model in ensembles else {}),
                        }
            tables[model, position] = table
    return tables


def _ends(values: np.ndarray[Any, Any], spread: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    """Where bars begin and end."""
    return {"low": _numbers(values - spread), "high": _numbers(values + spread)}


def _notes(ds: xr.Dataset) -> xr.DataArray:
    """What is to be said of a point: saddle, near-ring."""
    saddle, ring = ds["saddle"].values == 1, ds["near_ring"].values == 1
    words = np.select([saddle & ring, saddle, ring], ["saddle and near-ring", "saddle", "near-ring"], "")
    return ds["saddle"].copy(data=words.astype(object))


def _reference_table(ds: xr.Dataset, reference: str, known: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Reference values by position; beside own minima those of the first geometry that has some."""
    empty = {position: {"x": [int(n) for n in ds["length"].values]} for position in map(str, ds["position"].values)}
    known = known.sel(model=reference).reindex(length=ds["length"].values)
    tables: dict[str, dict[str, Any]] = empty
    for position in set(empty) & set(map(str, known["position"].values)):
        for place in np.ndindex(tuple(ds.sizes[dim] for dim in _CHOICES)):
            labels = {dim: str(ds[dim].values[at]) for dim, at in zip(_CHOICES, place, strict=True)}
            geometry = _geometry(known, labels)
            labels |= {"geometry": geometry, "position": position}
            if any(label not in known[dim].values for dim, label in labels.items()):
                continue
            for name in QUANTITIES:
                if name in known and bool(known[name].sel(labels).notnull().any()):
                    values = known[name].sel(labels).values
                    note = [f"at the geometries of {geometry}"] * len(values)
                    tables[position][_key(ds, name, place)] = {
                        "y": _numbers(values),
                        "line": _numbers(values),
                        "note": note,
                        "fill": ["black"] * len(values),
                    }
    return tables


def _geometry(known: xr.Dataset, labels: Mapping[str, str]) -> str:
    """Where the reference is: at the chosen geometry, or, beside own minima, at the first that has values."""
    if labels["geometry"] != "own":
        return labels["geometry"]
    rest = {dim: label for dim, label in labels.items() if dim != "geometry"}
    if any(label not in known[dim].values for dim, label in rest.items()):
        return "own"
    there = known["cooperative_energy"].sel(rest).notnull()
    has = there.any([dim for dim in there.dims if dim != "geometry"]).values
    return str(known["geometry"].values[int(np.argmax(has))])


def _chain_table(ds: xr.Dataset, model: str, names: Sequence[str], suffix: str = "") -> dict[str, list[float]]:
    table: dict[str, list[float]] = {}
    for name in names:
        array = ds[f"{name}{suffix}"].sel(model=model).transpose(*_CHOICES, "length", "hbond").values
        for place in np.ndindex(array.shape[:-2]):
            for at, length in enumerate(ds["length"].values.tolist()):
                values = array[(*place, at)][: length - 1]
                if np.isfinite(values).any():
                    table[f"{_key(ds, name, place)}|{length}"] = _numbers(values)
    return table


def _chain_notes(ds: xr.Dataset, model: str) -> dict[str, str]:
    """What is to be said of a whole chain, by its labels and length, where there is something."""
    notes = _notes(ds).sel(model=model).transpose(*_CHOICES, "length").values
    return {
        f"{_key(ds, '', place).removeprefix('|')}|{length}": str(notes[(*place, at)])
        for place in np.ndindex(notes.shape[:-1])
        for at, length in enumerate(ds["length"].values.tolist())
        if notes[(*place, at)]
    }


def _key(ds: xr.Dataset, name: str, place: tuple[int, ...]) -> str:
    return "|".join([name, *(str(ds[dim].values[at]) for dim, at in zip(_CHOICES, place, strict=True))])


def _numbers(values: np.ndarray[Any, Any]) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
