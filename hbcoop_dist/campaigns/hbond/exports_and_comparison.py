"""Exports of stores of hydrogen-bonded chains, and the comparison of two of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hbcoop_dist.campaigns.kind import Comparison, Exporter
from hbcoop_dist.structures.chains import CELL_DIMS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_QUANTITIES = {"cooperative_energy": "kcal/mol", "interaction_energy": "kcal/mol", "distance_on": "A"}


def exporters() -> dict[str, Exporter]:
    """Return the formats by suffix."""
    return {
        ".csv": Exporter(_table_writer(_write_csv), "H-bonds"),
        ".parquet": Exporter(_table_writer(_write_parquet), "H-bonds"),
        ".json": Exporter(_write_leaderboard, "leaderboard"),
        ".xyz": Exporter(_write_geometries, "geometries"),
        ".extxyz": Exporter(_write_geometries, "geometries"),
    }


def _table_writer(write: Callable[[pd.DataFrame, Path], None]) -> Callable[[xr.Dataset, Path], str]:
    def write_table(ds: xr.Dataset, path: Path) -> str:
        from hbcoop_dist.analysis.exports import tidy

        table = tidy(ds)
        write(table, path)
        return f"{len(table)} H-bonds"

    return write_table


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    try:
        table.to_parquet(path, index=False)
    except ImportError:
        raise ValueError(f"expected pyarrow to be installed for {path}, found none") from None


def _write_leaderboard(ds: xr.Dataset, path: Path) -> str:
    from hbcoop_dist.analysis.exports import leaderboard

    path.write_text(json.dumps(leaderboard(ds), indent=1, allow_nan=False))
    return f"{ds.sizes['model']} models"


def _write_geometries(ds: xr.Dataset, path: Path) -> str:
    from ase.io import write

    from hbcoop_dist.analysis.exports import geometries

    frames = list(geometries(ds))
    write(path, frames, format="extxyz")
    return f"{len(frames)} geometries"


def compare_stores(first: xr.Dataset, second: xr.Dataset, pairs: Mapping[str, str]) -> Comparison:
    """Compare two stores H-bond by H-bond.

    Parameters
    ----------
    first, second : xarray.Dataset
    pairs : mapping of str to str
        Models of the first store, and those of the second that they are compared with.
    """
    from hbcoop_dist.analysis.comparisons import compare

    differences = compare(first, second, {other: model for model, other in pairs.items()})
    energies = differences["cooperative_energy"].abs()
    return Comparison(tuple(_lines(differences)), float(energies.max()), "kcal/mol")


def _lines(differences: pd.DataFrame) -> list[str]:
    from hbcoop_dist.analysis.comparisons import largest

    lines = []
    for model, rows in differences.groupby("model", sort=False):
        in_both = rows["cooperative_energy"].notna()
        line = f"{model}: {int(in_both.sum())} H-bonds done in both"
        for name, own, other in (("A", "first", "second"), ("B", "second", "first")):
            # an H-bond that is not done in one store and absent from the other is in neither
            only = (rows[f"status_{own}"] == "done") & rows[f"status_{other}"].isna()
            line += f", {int(only.sum())} only in {name}" if only.any() else ""
        changed = rows["status_first"].notna() & rows["status_second"].notna()
        changed &= rows["status_first"] != rows["status_second"]
        statuses = zip(rows.loc[changed, "status_first"], rows.loc[changed, "status_second"], strict=True)
        for (before, after), count in Counter(statuses).items():
            line += f", {count} {before} in A and {after} in B"
        lines.append(line)
        for name, unit in _QUANTITIES.items() if in_both.any() else ():
            worst = largest(rows, name).iloc[0]
            at = ", ".join(f"{worst[dim]}" for dim in CELL_DIMS[1:]) + f", H-bond {worst['hbond']}"
            lines.append(f"  {name.replace('_', ' ')}: largest difference {worst[name]:+.2g} {unit} ({at})")
    return lines
