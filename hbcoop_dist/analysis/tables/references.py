"""Tables of models beside references: in a terminal, at shared geometries, and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import RenderableType
from rich.text import Text

from hbcoop_dist.analysis.reference_levels import (
    ComparisonError,
    beside_models,
    by_level,
    same_geometry,
    wall_times,
    with_references,
)
from hbcoop_dist.analysis.selection import DONE
from hbcoop_dist.analysis.tables.columns import Columns, Row, Section, fixed_point, separated
from hbcoop_dist.core.arrays import BoolArray
from hbcoop_dist.references import bundled_geometries
from hbcoop_dist.structures import position_of

_HEAD = """\
# Reference levels

Cooperative energies (Eq. 1) of arc chains in kcal/mol. Written by `make reference-tables` from the references of the
package (`hbcoop_dist/references/`; described in its README) and from the published
store (`store/README.md`). Basis sets and flags are written as in a campaign: `:cp` is counterpoise. `dimer V` is the
interaction energy of the bare dimer.
"""


def same_geometry_tables(ds: xr.Dataset, reference: str, statuses: Collection[str] = DONE) -> list[RenderableType]:
    """Models at each geometry where a reference has results: there, less the reference, and at own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    reference : str
        Model of the store, or level of theory of the bundled references.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ComparisonError
        When there is no such model, or it has no result at a geometry of the store other than ``own``.
    """
    ds = with_references(ds, reference)
    geometries = [str(label) for label in ds["geometry"].values if label != "own"]
    comparisons = [same_geometry(ds, reference, geometry, statuses) for geometry in geometries]
    tables = [_comparison_table(values) for values in comparisons if bool(values["reference"].notnull().any())]
    if not tables:
        labels = ", ".join(geometries) or "none beside own"
        raise ComparisonError(f"expected results of {reference} at a geometry that models share ({labels}), found none")
    return separated(tables)


def _comparison_table(values: xr.Dataset) -> RenderableType:
    chain_dims = ("pattern", "capping", "rotamer")
    bonds = values.stack(bond=(*chain_dims, "position", "length"))
    bonds = bonds.isel(bond=np.flatnonzero(_distinct_bonds(bonds)))
    varying = [dim for dim in chain_dims if values.sizes[dim] > 1]
    sections = []
    for index in range(bonds.sizes["bond"]):
        bond = bonds.isel(bond=index)
        labels = [f"n = {int(bond['length'])}", *(str(bond[dim].values) for dim in ("position", *varying))]
        rows = [
            Row(
                (str(model),),
                tuple(_cell(float(bond[name].sel(model=model))) for name in ("same", "difference", "own")),
            )
            for model in values["model"].values
            if bool(bond["same"].sel(model=model).notnull()) or bool(bond["own"].sel(model=model).notnull())
        ]
        sections.append(Section(f"{', '.join(labels)}: {float(bond['reference']):.2f}", tuple(rows)))
    fixed = [f"{dim} {values[dim].values[0]}" for dim in chain_dims if dim not in varying]
    geometry, reference = values.attrs["geometry"], values.attrs["reference"]
    return Columns(
        f"Cooperative energy at the geometries of {geometry} against {reference}, kcal/mol",
        ("model",),
        ("there", "less reference", "at own minimum"),
        tuple(sections),
        ("; ".join(fixed),) if fixed else (),
    )


def _distinct_bonds(bonds: xr.Dataset) -> BoolArray:
    """Bonds with a reference value, each once, without that of a bare dimer, which has no environment."""
    length, position = bonds["length"].values, bonds["position"].values
    numbers = [position_of(str(name), int(n)) for name, n in zip(position, length, strict=True)]
    others = [dim for dim in ("pattern", "capping", "rotamer") if dim in bonds.coords]
    seen: set[tuple[object, ...]] = set()
    keep = bonds["reference"].notnull().values & ((length > 2) | (bonds["capping"].values != "none"))
    for index, number in enumerate(numbers):
        bond = (int(length[index]), number, *(str(bonds[dim].values[index]) for dim in others))
        keep[index] &= bond not in seen
        seen.add(bond)
    return np.asarray(keep)


def _cell(value: float) -> Text:
    return Text(fixed_point(value)) if np.isfinite(value) else Text("n/a", style="yellow")


_PARTS = {"cooperative_energy": "total", "cooperative_energy_electronic": "electronic part"}
_TIMES = "Seconds for the fragments of a chain (SCF and MP2); its isolated dimers are the chain of two.\n"


def reference_levels_page(ds: xr.Dataset, geometry: str = "nma-so3lr") -> str:
    """Write docs/reference-levels.md: bundled references by level, models beside them, and wall times.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store with the geometries `geometry` and ``own``.
    geometry : str
        Name of a bundled set of geometries.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ValueError
        When the store lacks one of the geometries.
    """
    models = beside_models(ds, geometry)
    models.columns = models.columns.map(", ".join)
    parts = [_HEAD, "## By level of theory and geometry\n"]
    parts += [section for name in bundled_geometries() for section in _level_sections(name)]
    parts += [f"## Models at the geometries of {geometry}, and at their own minima\n"]
    parts += [_markdown(models.rename_axis("model").reset_index()) + "\n"]
    parts += ["## Wall times\n", _TIMES, _markdown(wall_times().reset_index(), 0) + "\n"]
    return "\n".join(parts)


def _level_sections(geometry: str) -> list[str]:
    sections = []
    for quantity, name in _PARTS.items():
        table = by_level(quantity).loc[geometry]
        for rotamer in table.index.get_level_values("rotamer").unique():
            rows = _markdown(table.loc[rotamer].reset_index())
            sections.append(f"### {geometry}, rotamer {rotamer}: {name}\n\n{rows}\n")
    return sections


def _markdown(table: pd.DataFrame, digits: int = 2) -> str:
    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:.{digits}f}"
        return str(value)

    lines = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
