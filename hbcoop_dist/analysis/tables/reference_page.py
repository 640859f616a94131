"""The yardstick as a page of markdown: references by level and geometry, a store's models beside them, wall times."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.reference_levels import beside_models, by_level, wall_times
from hbcoop_dist.references import bundled_geometries

_PARTS = {"cooperative_energy": "all of it", "cooperative_energy_electronic": "electronic part"}
_HEAD = """\
# The yardstick

Cooperative energies (Eq. 1) of arc chains in kcal/mol. Written by `make yardstick` from what the package holds
(`hbcoop_dist/references/`, whose README says how it was computed and how to read it) and from the published store
(`store/README.md`). Basis sets and flags are written as in a campaign: `:cp` is counterpoise. `dimer V` is the
interaction energy of the bare dimer.
"""
_TIMES = "Seconds for the fragments of a chain (SCF and MP2); its isolated dimers are the chain of two.\n"


def yardstick_page(ds: xr.Dataset, geometry: str = "nma-so3lr") -> str:
    """The bundled references, and the models of a store at the geometries of one set and at their own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset with `geometry` beside ``own``.
    geometry : str
        Name of a bundled set of geometries.

    Raises
    ------
    ValueError
        When the store lacks one of the geometries.
    """
    models = beside_models(ds, geometry)
    models.columns = models.columns.map(", ".join)
    pieces = [_HEAD, "## By level of theory and geometry\n"]
    pieces += [piece for name in bundled_geometries() for piece in _levels(name)]
    pieces += [f"## Models at the geometries of {geometry}, and at their own minima\n"]
    pieces += [_markdown(models.rename_axis("model").reset_index()) + "\n"]
    pieces += ["## Wall times\n", _TIMES, _markdown(wall_times().reset_index(), 0) + "\n"]
    return "\n".join(pieces)


def _levels(geometry: str) -> list[str]:
    pieces = []
    for quantity, words in _PARTS.items():
        table = by_level(quantity).loc[geometry]
        for rotamer in table.index.get_level_values("rotamer").unique():
            rows = _markdown(table.loc[rotamer].reset_index())
            pieces.append(f"### {geometry}, rotamer {rotamer}: {words}\n\n{rows}\n")
    return pieces


def _markdown(table: pd.DataFrame, digits: int = 2) -> str:
    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:.{digits}f}"
        return str(value)

    lines = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
