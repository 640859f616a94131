"""References of the user's own: a CSV file, one row per hydrogen bond, beside or instead of what the package holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.references.bundled import REFERENCE_DIMS, reference_energies
from hbcoop_dist.structures.chains import POSITIONS

_LABELS = {
    "model": None,
    "pattern": ("arc", "linear"),
    "length": None,
    "capping": ("none", "water"),
    "position": POSITIONS,
}
_OPTIONAL = {"geometry": "unnamed", "rotamer": "cis-N, trans-C"}
_VALUE = "cooperative_energy"
_OTHERS = (
    "cooperative_energy_electronic",
    "cooperative_energy_geometric",
    "interaction_energy",
    "interaction_energy_dimer",
)
_SHORTEST = 2
_SAME = 0.005
"""kcal/mol; a bundled value that somebody rounded and wrote down is still that value."""


class ReferenceTableError(ValueError):
    """A CSV of references that cannot be used; the message names file, line, field, what was expected and found."""


def read_references(path: str | Path) -> xr.Dataset:
    """Bundled references and those of a CSV file, labelled alike.

    Parameters
    ----------
    path : str or Path
        Comma-separated with a heading: ``model`` (any name, say ``ccsd(t):cbs``), ``pattern``, ``length``, ``capping``,
        ``position`` and ``cooperative_energy`` (kcal/mol); ``geometry`` (the label of a bundled set or of a store's
        axis, where the values are at those very geometries), ``rotamer``, the parts of the cooperative energy and
        interaction energies where they are known. Other columns, such as a source, are left alone.

    Returns
    -------
    xarray.Dataset
        As `reference_energies` gives it; its attribute ``source`` names the file.

    Raises
    ------
    ReferenceTableError
        When the file is missing, a column is, a value is none of those possible, a place is there twice, or it is one
        that has another value in the package.
    """
    rows, bundled = _checked(Path(path)), reference_energies()
    _check_bundled(Path(path), rows, bundled)
    names = [_VALUE, *(name for name in _OTHERS if name in rows)]
    dims = list(REFERENCE_DIMS)
    own = rows.set_index(dims)[names].to_xarray()
    own = own.reindex(position=[name for name in POSITIONS if name in own["position"].values]).transpose(*dims)
    own["status"] = _status(own[_VALUE])
    # a bundled value is not touched by what was rounded from it
    found = bundled.combine_first(own).transpose(*dims)
    found["status"] = _status(found[_VALUE])
    found = found.reindex(position=[name for name in POSITIONS if name in found["position"].values]).transpose(*dims)
    for name in found.data_vars:
        if name != "status":
            found[name].attrs["units"] = "kcal/mol"
    return found.assign_attrs(source=Path(path).name)


def _check_bundled(path: Path, rows: pd.DataFrame, bundled: xr.Dataset) -> None:
    """Two values under one name would let a report say one thing and mean another."""
    for name in (name for name in (_VALUE, *_OTHERS) if name in rows):
        known = bundled[name].to_series().dropna()
        for at, row in rows.iterrows():
            labels = tuple(row[dim] for dim in REFERENCE_DIMS)
            if labels in known.index and abs(row[name] - known[labels]) > _SAME:
                raise ReferenceTableError(
                    f"{path}, row {int(str(at)) + 1}, {name}: expected {known[labels]:.3f}, which {row['model']} has "
                    f"in the package for {', '.join(map(str, labels[1:]))}, found {row[name]:g}; to add yours beside "
                    f"it, give the model another name, e.g. mine:{row['model']}"
                )


def _status(energy: xr.DataArray) -> xr.DataArray:
    known = energy.notnull().any("position")
    return known.copy(data=np.where(known.values, "done", "pending").astype(object))


def _checked(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise ReferenceTableError(f"{path}: expected a CSV file, found none") from None
    except IsADirectoryError:
        raise ReferenceTableError(f"{path}: expected a CSV file, found a folder") from None
    except (ValueError, OSError) as error:
        raise ReferenceTableError(f"{path}: expected a CSV file with a heading, found {error}") from None
    if lacking := [name for name in (*_LABELS, _VALUE) if name not in rows]:
        raise ReferenceTableError(
            f"{path}: expected the columns {', '.join((*_LABELS, _VALUE))}, found no {', '.join(lacking)} among "
            f"{', '.join(map(str, rows.columns))}"
        )
    if rows.empty:
        raise ReferenceTableError(f"{path}: expected a row per hydrogen bond, found a heading only")
    for name, default in _OPTIONAL.items():
        rows[name] = rows[name].fillna(default) if name in rows else default
    for at, row in rows.iterrows():
        _check_row(f"{path}, row {int(str(at)) + 1}", row)
    rows["length"] = rows["length"].astype(int)
    for name in (_VALUE, *(name for name in _OTHERS if name in rows)):
        rows[name] = rows[name].astype(float)
    twice = rows.duplicated(list(REFERENCE_DIMS), keep=False)
    if twice.any():
        places = ", ".join(str(at + 1) for at in np.flatnonzero(twice.to_numpy()))
        raise ReferenceTableError(f"{path}: expected every place once, found one several times in rows {places}")
    return rows


def _check_row(where: str, row: pd.Series) -> None:
    for name, known in _LABELS.items():
        if known is not None and row[name] not in known:
            raise ReferenceTableError(f"{where}, {name}: expected one of {', '.join(known)}, found {_told(row[name])}")
    if pd.isna(row["model"]):
        raise ReferenceTableError(f"{where}, model: expected a name, found none")
    for name in ("length", _VALUE, *(name for name in _OTHERS if name in row and pd.notna(row[name]))):
        value = pd.to_numeric(row[name], errors="coerce")
        if not np.isfinite(value):
            raise ReferenceTableError(f"{where}, {name}: expected a number, found {_told(row[name])}")
    if float(row["length"]) != int(float(row["length"])) or float(row["length"]) < _SHORTEST:
        raise ReferenceTableError(
            f"{where}, length: expected a whole number from {_SHORTEST} on, found {row['length']}"
        )


def _told(value: Any) -> str:
    """An empty field is NaN to pandas, and nothing to who left it empty."""
    return "none" if pd.isna(value) else str(value)
