"""Interactive figures of hydrogen-bonded chains: any quantity against length, and along one chain.

All numbers are embedded in the page; a choice of the reader replaces the columns of the data sources, without a server.
The key of a series is its quantity and labels, joined by ``|``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
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
from hbcoop_dist.analysis.selection import done
from hbcoop_dist.core.arrays import FloatArray

MIN_WIDTH = 300
"""Pixels; the least width of a figure, which a telephone held upright has."""
QUANTITIES: Mapping[str, str] = {
    "cooperative_energy": "cooperative energy, kcal/mol",
    "cooperative_energy_electronic": "its electronic part, kcal/mol",
    "cooperative_energy_geometric": "its geometric part, kcal/mol",
    "increment": "cooperative energy per added unit, kcal/mol",
    "interaction_energy": "interaction energy in the complex, kcal/mol",
    "distance_on": "O..N distance, A",
}
"""Axis label of every quantity that can be chosen."""
_DIMS = ("pattern", "capping", "geometry", "rotamer", "constraint")
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
_UPDATE = """
const key = choices.map(choice => choice.value).join("|");
for (const [source, table] of sources) {
  const {y = [], note = y.map(_ => ""), spread = y.map(_ => NaN)} = table.series[key] ?? {};
  source.data = {
    x: table.x.slice(0, y.length), y, note,
    line: y.map((value, i) => table.gaps && note[i].includes("near-ring") ? NaN : value),
    fill: note.map(text => text ? "white" : table.colour),
    low: y.map((value, i) => value - spread[i]), high: y.map((value, i) => value + spread[i]),
  };
}
for (const panel of panels) panel.left[0].axis_label = labels[choices[0].value];
"""
_FILTER_MODELS = """
const ticked = new Set(this.active.map(i => this.labels[i]));
for (const [name, glyphs] of lines) for (const glyph of glyphs) glyph.visible = ticked.has(name);
"""


def legend_checkboxes(colours: Mapping[str, str], name: str, width: int | None = None) -> CheckboxGroup:
    """Checkboxes that are also the legend: one per label, all ticked, each with a dot of its colour.

    Parameters
    ----------
    colours : mapping of str to str
        CSS colour of each label.
    name : str
        Name of the widget.
    width : int, optional
        Pixels.

    Returns
    -------
    CheckboxGroup
    """
    dots = "".join(
        f'label:nth-of-type({place}) span::before {{ content: "\\25CF\\00A0"; color: {colour}; }}\n'
        for place, colour in enumerate(colours.values(), start=1)
    )
    active = list(range(len(colours)))
    return CheckboxGroup(
        labels=list(colours), active=active, stylesheets=[InlineStyleSheet(css=dots)], name=name, width=width
    )


def menu(title: str, options: Sequence[str | tuple[str, str]], value: str, name: str, width: int = 300) -> Select:
    """Drop-down menu.

    Parameters
    ----------
    title : str
        Text above the menu.
    options : sequence of str or tuple of str
        Values, or values with the text shown for each.
    value : str
        The value chosen first.
    name : str
        Name of the widget.
    width : int
        Pixels.

    Returns
    -------
    Select
    """
    choices: list[Any] = list(options)
    return Select(title=title, options=choices, value=value, name=name, width=width)


def wrapping_row(*children: Any, name: str | None = None) -> LayoutDOM:
    """Row whose children wrap onto the next line where the page is too narrow for them.

    Parameters
    ----------
    *children : LayoutDOM
        Children that stretch need a ``min_width``.
    name : str, optional
        Name of the layout.

    Returns
    -------
    LayoutDOM
    """
    return row(*children, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, name=name)


@dataclass(frozen=True, slots=True)
class _SeriesTable:
    """All series of one line of a figure.

    Attributes
    ----------
    x : list of int
        Lengths, or numbers of H-bonds.
    colour : str
        Colour of the line.
    gaps : bool
        Whether the line leaves out near-rings, which are not longer chains of the same kind.
    series : dict
        By key: ``y``, and where there are some ``note`` (flags of each point) and ``spread``.
    """

    x: list[int]
    colour: str
    gaps: bool
    series: dict[str, dict[str, list[Any]]]

    def source(self, key: str) -> ColumnDataSource:
        """Data of one series, as `_UPDATE` computes them in the page."""
        series = self.series.get(key, {"y": []})
        y = np.array(series["y"], dtype=float)
        note, spread = series.get("note", [""] * len(y)), np.array(series.get("spread", [np.nan] * len(y)))
        is_gap = [self.gaps and "near-ring" in text for text in note]
        return ColumnDataSource(
            {
                "x": self.x[: len(y)],
                "y": y.tolist(),
                "note": note,
                "line": np.where(is_gap, np.nan, y).tolist(),
                "fill": ["white" if text else self.colour for text in note],
                "low": (y - spread).tolist(),
                "high": (y + spread).tolist(),
            }
        )


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
    dim_menus = [_dim_menu(done_ds, dim) for dim in _DIMS]
    against_length = _against_length(done_ds, dim_menus, lines, reference, references)
    along_chain = _along_chain(done_ds, dim_menus, lines)
    boxes = legend_checkboxes({model: model_style(model).colour for model in models}, name="model-filter", width=190)
    boxes.js_on_change("active", CustomJS(args={"lines": list(lines.items())}, code=_FILTER_MODELS))
    figures = column(
        wrapping_row(*dim_menus), against_length, along_chain, sizing_mode="stretch_width", min_width=MIN_WIDTH
    )
    return wrapping_row(boxes, figures, name="explorer")


def _dim_menu(ds: xr.Dataset, dim: str) -> Select:
    labels = [str(label) for label in ds[dim].values]
    return menu(dim, labels, labels[0], name=f"choose-{dim}", width=150)


def _against_length(
    ds: xr.Dataset,
    dim_menus: Sequence[Select],
    lines: dict[str, list[GlyphRenderer[Any]]],
    reference: str,
    references: xr.Dataset,
) -> LayoutDOM:
    """One panel per position of the H-bond; the glyphs of each model are added to `lines`."""
    quantity = menu("quantity", list(QUANTITIES.items()), next(iter(QUANTITIES)), name="choose-quantity")
    choices = [quantity, *dim_menus]
    key = _chosen_key(choices)
    lengths = [int(length) for length in ds["length"].values]
    energies = ds.assign(increment=growth(ds)["increment"])
    offsets = spread_offsets(ds, "cooperative_energy")
    panels: list[Any] = []
    sources: list[tuple[ColumnDataSource, _SeriesTable]] = []
    for position in map(str, ds["position"].values):
        is_last = len(panels) + 1 == ds.sizes["position"]
        panel = _panel(f"{position} H-bond", "length (NMA units)", panels[:1], "right" if is_last else None)
        panels.append(panel)
        for model, glyphs in lines.items():
            series = _series(energies.sel(model=model, position=position), list(QUANTITIES))
            table = _SeriesTable(lengths, model_style(model).colour, True, series)
            sources.append((table.source(key), table))
            glyphs.extend(_draw_model(panel, sources[-1][0], model, offset=offsets.get(model)))
        table = _SeriesTable(lengths, "black", False, _reference_series(ds, reference, references, position))
        sources.append((table.source(key), table))
        panel.scatter("x", "y", source=sources[-1][0], marker="dash", size=14, color="black", name=reference)
    panels[0].yaxis.axis_label = QUANTITIES[str(quantity.value)]
    _connect(choices, sources, panels[0], QUANTITIES)
    return column(quantity, wrapping_row(*panels), sizing_mode="stretch_width")


def _along_chain(ds: xr.Dataset, dim_menus: Sequence[Select], lines: dict[str, list[GlyphRenderer[Any]]]) -> LayoutDOM:
    """Every H-bond of a chain of the chosen length; the glyphs of each model are added to `lines`."""
    names = {f"hbond_{name}": label for name, label in QUANTITIES.items() if f"hbond_{name}" in ds}
    first_name = next(iter(names))
    quantity = menu("quantity", list(names.items()), first_name, name="choose-hbond-quantity")
    first, last = int(ds["length"].values[0]), int(ds["length"].values[-1])
    # Bokeh refuses a slider of a single step
    length = Slider(title="length (NMA units)", start=first, end=max(last, first + 1), value=last, width=300)
    choices: list[Select | Slider] = [quantity, *dim_menus, length]
    panel = _panel("every H-bond of a chain", "H-bond, from the head", [], "right")
    panel.yaxis.axis_label = names[first_name]
    offsets = spread_offsets(ds, first_name)
    sources = []
    for model, glyphs in lines.items():
        series = _series(ds.sel(model=model), list(names))
        table = _SeriesTable(list(range(1, last)), model_style(model).colour, False, series)
        sources.append((table.source(_chosen_key(choices)), table))
        glyphs.extend(_draw_model(panel, sources[-1][0], model, offset=offsets.get(model)))
    _connect(choices, sources, panel, names)
    return column(wrapping_row(quantity, length), panel, sizing_mode="stretch_width")


def _chosen_key(choices: Sequence[Select | Slider]) -> str:
    return "|".join(str(choice.value) for choice in choices)


def _connect(
    choices: Sequence[Select | Slider],
    sources: Sequence[tuple[ColumnDataSource, _SeriesTable]],
    panel: Any,
    labels: Mapping[str, str],
) -> None:
    """Update the sources, and the axis label of the panel, when a choice changes; the first one is the quantity."""
    arguments = {
        "choices": list(choices),
        "sources": [(source, asdict(table)) for source, table in sources],
        "panels": [panel],
        "labels": dict(labels),
    }
    update = CustomJS(args=arguments, code=_UPDATE)
    for widget in choices:
        widget.js_on_change("value", update)


def _panel(title: str, x_label: str, shared_with: Sequence[Any], toolbar: Literal["right"] | None) -> Any:
    """An empty panel with the axes of another one, if any."""
    ranges = {name: getattr(other, name) for other in shared_with for name in ("x_range", "y_range")}
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


def _series(ds: xr.Dataset, names: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Series of the quantities of a model along the last dim, length or hbond, by key, without empty ones."""
    series: dict[str, dict[str, list[Any]]] = {}
    flags = _notes(ds).transpose(*_DIMS, "length").values
    for name in names:
        if name not in ds:
            continue
        is_along_chain = "hbond" in ds[name].dims
        dims = (*_DIMS, "length", "hbond") if is_along_chain else (*_DIMS, "length")
        values = ds[name].transpose(*dims).values
        spreads = ds.get(f"{name}_spread", ds[name] * np.nan).transpose(*dims).values
        notes = np.broadcast_to(flags[..., np.newaxis], values.shape) if is_along_chain else flags
        labels = product(*(map(str, ds[dim].values) for dim in dims[:-1]))
        for place, chosen in zip(np.ndindex(values.shape[:-1]), labels, strict=True):
            known = np.flatnonzero(np.isfinite(values[place]))
            if not known.size:
                continue
            kept = (*place, slice(int(known[-1]) + 1))
            columns: dict[str, list[Any]] = {"y": _numbers(values[kept])}
            if any(notes[kept]):
                columns["note"] = notes[kept].tolist()
            if np.isfinite(spreads[kept]).any():
                columns["spread"] = _numbers(spreads[kept])
            series["|".join([name, *chosen])] = columns
    return series


def _notes(ds: xr.Dataset) -> xr.DataArray:
    """Flags of every cell as text, empty where none is set."""
    saddle, ring = ds["saddle"].values == 1, ds["near_ring"].values == 1
    texts = np.select([saddle & ring, saddle, ring], ["saddle and near-ring", "saddle", "near-ring"], "")
    return ds["saddle"].copy(data=texts.astype(object))


def _reference_series(
    ds: xr.Dataset, reference: str, references: xr.Dataset, position: str
) -> dict[str, dict[str, list[Any]]]:
    """Series of the reference level by key; at own minima those of the first geometry that has values."""
    level = references.sel(model=reference).reindex(length=ds["length"].values)
    series: dict[str, dict[str, list[Any]]] = {}
    for chosen in product(*(map(str, ds[dim].values) for dim in _DIMS)):
        labels = dict(zip(_DIMS, chosen, strict=True))
        del labels["constraint"]
        labels |= {"geometry": _reference_geometry(level, labels), "position": position}
        if any(label not in level[dim].values for dim, label in labels.items()):
            continue
        for name in QUANTITIES:
            if name in level and bool(level[name].sel(labels).notnull().any()):
                values = level[name].sel(labels).values
                notes = [f"at the geometries of {labels['geometry']}"] * len(values)
                series["|".join([name, *chosen])] = {"y": _numbers(values), "note": notes}
    return series


def _reference_geometry(level: xr.Dataset, labels: Mapping[str, str]) -> str:
    """The chosen geometry or, for own minima, the first geometry at which the reference level has values."""
    others = {dim: label for dim, label in labels.items() if dim != "geometry"}
    if labels["geometry"] != "own" or any(label not in level[dim].values for dim, label in others.items()):
        return labels["geometry"]
    is_known = level["cooperative_energy"].sel(others).notnull()
    by_geometry = is_known.any([dim for dim in is_known.dims if dim != "geometry"]).values
    return str(level["geometry"].values[int(np.argmax(by_geometry))])


def _numbers(values: FloatArray) -> list[float]:
    """Five significant digits, which keep the page small."""
    return [float(f"{value:.5g}") for value in values.tolist()]
