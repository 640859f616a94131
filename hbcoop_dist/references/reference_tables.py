"""Read a user's own reference energies from a CSV file and merge them with the bundled ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.references.bundled import REFERENCE_DIMS, VALUES, ordered_positions, reference_energies, with_status
from hbcoop_dist.structures import CAPPINGS, PATTERNS
from hbcoop_dist.structures.chains import POSITIONS

_ENERGY = "cooperative_energy"
_CHOICES = {"pattern": PATTERNS, "capping": CAPPINGS, "position": POSITIONS}
_REQUIRED = ("model", "pattern", "length", "capping", "position", _ENERGY)
_DEFAULTS = {"geometry": "unnamed", "rotamer": "cis-N, trans-C"}
_SHORTEST = 2
_ROUNDING = 0.005
"""kcal/mol; a bundled value that was rounded to two decimals differs by no more."""


class ReferenceTableError(ValueError):
    """A CSV file of references that cannot be used; the message names file, row, column, expected and found value."""


def read_references(path: str | Path) -> xr.Dataset:
    """Read reference energies from a CSV file and merge them with the bundled ones.

    Parameters
    ----------
    path : str or Path
        Comma-separated with a heading. Required columns: ``model`` (any name, e.g. ``ccsd(t):cbs``), ``pattern``,
        ``length``, ``capping``, ``position`` and ``cooperative_energy`` (kcal/mol). Optional columns: ``geometry`` (a
        bundled set, or a label of the store's geometry axis, when the values belong to those very geometries),
        ``rotamer``, and the other variables of `reference_energies`. Other columns are ignored.

    Returns
    -------
    xarray.Dataset
        Variables and dims of `reference_energies`; the attribute ``source`` is the name of the file. Bundled values
        stay as they are.

    Raises
    ------
    ReferenceTableError
        When the file or a required column is missing, a value is invalid, the same labels occur twice, or a value
        differs by more than rounding from the bundled value with the same labels.
    """
    path = Path(path)
    rows, bundled = _checked_rows(path), reference_energies()
    _check_bundled(path, rows, bundled)
    own = rows.set_index(list(REFERENCE_DIMS))[_value_columns(rows)].to_xarray()
    merged = with_status(ordered_positions(bundled.drop_vars("status").combine_first(own)))
    for name in VALUES:
        merged[name].attrs["units"] = "kcal/mol"
    return merged.assign_attrs(source=path.name)


def _value_columns(rows: pd.DataFrame) -> list[str]:
    return [name for name in VALUES if name in rows]


def _check_bundled(path: Path, rows: pd.DataFrame, bundled: xr.Dataset) -> None:
    """Refuse a value that contradicts the bundled value with the same labels."""
    for name in _value_columns(rows):
        values = bundled[name].to_series().dropna()
        for index, row in rows.iterrows():
            labels = tuple(row[dim] for dim in REFERENCE_DIMS)
            if labels in values.index and abs(row[name] - values[labels]) > _ROUNDING:
                raise ReferenceTableError(
                    f"{path}, row {int(str(index)) + 1}, {name}: expected {values[labels]:.3f}, which {row['model']} "
                    f"has in the package for {', '.join(map(str, labels[1:]))}, found {row[name]:g}; to add yours "
                    f"beside it, give the model another name, e.g. mine:{row['model']}"
                )


def _checked_rows(path: Path) -> pd.DataFrame:
    """Rows of a file with valid labels and values; missing optional labels have their defaults."""
    try:
        rows = pd.read_csv(path, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise ReferenceTableError(f"{path}: expected a CSV file, found none") from None
    except IsADirectoryError:
        raise ReferenceTableError(f"{path}: expected a CSV file, found a folder") from None
    except (ValueError, OSError) as error:
        raise ReferenceTableError(f"{path}: expected a CSV file with a heading, found {error}") from None
    if missing := [name for name in _REQUIRED if name not in rows]:
        raise ReferenceTableError(
            f"{path}: expected the columns {', '.join(_REQUIRED)}, found no {', '.join(missing)} among "
            f"{', '.join(map(str, rows.columns))}"
        )
    if rows.empty:
        raise ReferenceTableError(f"{path}: expected a row per hydrogen bond, found a heading only")
    for name, default in _DEFAULTS.items():
        rows[name] = rows[name].fillna(default) if name in rows else default
    for index, row in rows.iterrows():
        _check_row(f"{path}, row {int(str(index)) + 1}", row)
    rows = rows.astype({"length": int} | dict.fromkeys(_value_columns(rows), float))
    duplicates = rows.duplicated(list(REFERENCE_DIMS), keep=False).to_numpy()
    if duplicates.any():
        numbers = ", ".join(str(index + 1) for index in np.flatnonzero(duplicates))
        raise ReferenceTableError(f"{path}: expected the labels of every row once, found the same in rows {numbers}")
    return rows


def _check_row(place: str, row: pd.Series) -> None:
    for name, choices in _CHOICES.items():
        if row[name] not in choices:
            raise ReferenceTableError(
                f"{place}, {name}: expected one of {', '.join(choices)}, found {_shown(row[name])}"
            )
    if pd.isna(row["model"]):
        raise ReferenceTableError(f"{place}, model: expected a name, found none")
    optional = [name for name in VALUES if name != _ENERGY and name in row and pd.notna(row[name])]
    for name in ("length", _ENERGY, *optional):
        if not np.isfinite(pd.to_numeric(row[name], errors="coerce")):
            raise ReferenceTableError(f"{place}, {name}: expected a number, found {_shown(row[name])}")
    length = float(row["length"])
    if length != int(length) or length < _SHORTEST:
        raise ReferenceTableError(
            f"{place}, length: expected a whole number from {_SHORTEST} on, found {row['length']}"
        )


def _shown(value: object) -> str:
    # pandas reads an empty field as NaN
    return "none" if pd.isna(value) else str(value)  # type: ignore[call-overload]
