"""Reference data: bundled geometries of NMA chains at minima of named models, their MP2 energies, and tables of users.

The bundled energies are stored in parts (Hartree-Fock, same-spin and opposite-spin correlation), from which HF, RI-MP2,
SCS-MP2 and SOS-MP2 follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.cooperativity.equation import FRAGMENTS, cooperativity_from_points
from hbcoop_dist.models.published_models import COUNTERPOISE, FROZEN_CORE, SPIN_SCALED
from hbcoop_dist.structures import CAPPINGS, PATTERNS, Chain, Rotamer, Structure, position_of
from hbcoop_dist.structures.chains import POSITIONS

REFERENCE_DIMS = ("model", "pattern", "length", "capping", "geometry", "rotamer", "position")
"""Dims of `reference_energies`, in order."""

VALUES = (
    "cooperative_energy",
    "cooperative_energy_electronic",
    "cooperative_energy_geometric",
    "interaction_energy",
    "interaction_energy_dimer",
)
"""Variables of `reference_energies`, kcal/mol."""

PARTS = ("hf", "same_spin", "opposite_spin")
"""Columns of ``fragments.csv`` that add up to an energy, eV."""

_FOLDER = Path(__file__).resolve().parent
_LEVEL_AND_HBOND = [
    "pattern",
    "length",
    "capping",
    "geometry",
    "rotamer",
    "hbond",
    "basis",
    "frozen_core",
    "counterpoise",
]
_METHODS = {"hf": (0.0, 0.0), **SPIN_SCALED}
Label = tuple[tuple[str, ...], str]
"""Conformers and capping of a chain."""
_ENERGY = "cooperative_energy"
_CHOICES = {"pattern": PATTERNS, "capping": CAPPINGS, "position": POSITIONS}
_REQUIRED = ("model", "pattern", "length", "capping", "position", _ENERGY)
_DEFAULTS = {"geometry": "unnamed", "rotamer": "cis-N, trans-C"}
_SHORTEST = 2
_ROUNDING = 0.005
"""kcal/mol; a bundled value that was rounded to two decimals differs by no more."""


def bundled_geometries() -> tuple[str, ...]:
    """Names of the bundled sets of geometries, which the field ``geometry`` of a campaign accepts.

    Returns
    -------
    tuple of str
        Sorted names, e.g. ``nma-so3lr``.
    """
    return tuple(sorted(folder.name for folder in (_FOLDER / "geometries").iterdir() if folder.is_dir()))


def bundled_geometry(name: str) -> Path | None:
    """Folder of a bundled set of geometries.

    Parameters
    ----------
    name : str

    Returns
    -------
    Path or None
        None when no bundled set has that name.
    """
    return _FOLDER / "geometries" / name if name in bundled_geometries() else None


def reference_energies() -> xr.Dataset:
    """Cooperative energies of quantum-chemical models at the bundled geometries, labelled as in a store.

    Returns
    -------
    xarray.Dataset
        The variables `VALUES`, kcal/mol, over `REFERENCE_DIMS`, and ``status`` (``done`` or ``pending``) over the same
        dims without position. Models have the names that a campaign uses, e.g. ``rimp2:cc-pvtz:frozen-core``.

    Notes
    -----
    Eq. 1 of Feng, Xu and Huang (2025) applied to the fragment energies of ``fragments.csv``.
    """
    return _energies().copy(deep=True)


def reference_runs() -> pd.DataFrame:
    """Provenance of the bundled energies.

    Returns
    -------
    pandas.DataFrame
        One row per level and chain: wall time (seconds), machine, versions, date and task key.
    """
    return pd.read_csv(_FOLDER / "runs.csv")


def published_values() -> pd.DataFrame:
    """Values from the literature.

    Returns
    -------
    pandas.DataFrame
        One row per value: source, quantity, model, labels, ``low``, ``high`` (equal for a single value) and unit.

    Notes
    -----
    The quantum-chemical values of Feng, Xu and Huang (2025) belong to geometries at wB97X-D/cc-pVTZ; the text calls the
    energies RI-MP2 or SCS-MP2/aug-cc-pVTZ.
    """
    return pd.read_csv(_FOLDER / "published.csv")


def ordered_positions(values: xr.Dataset) -> xr.Dataset:
    """Sort a dataset over `REFERENCE_DIMS` from head to tail, and transpose it to their order.

    Parameters
    ----------
    values : xarray.Dataset

    Returns
    -------
    xarray.Dataset
    """
    positions = [name for name in POSITIONS if name in values["position"].values]
    return values.reindex(position=positions).transpose(*REFERENCE_DIMS, missing_dims="ignore")


def with_status(values: xr.Dataset) -> xr.Dataset:
    """Add the variable ``status``: ``done`` where any position has a cooperative energy, ``pending`` elsewhere.

    Parameters
    ----------
    values : xarray.Dataset
        With ``cooperative_energy`` over `REFERENCE_DIMS`.

    Returns
    -------
    xarray.Dataset
    """
    done = values["cooperative_energy"].notnull().any("position")
    return values.assign(status=(done.dims, np.where(done.values, "done", "pending").astype(object)))


@cache
def _energies() -> xr.Dataset:
    fragments = pd.read_csv(_FOLDER / "fragments.csv")
    rows = [row for _, group in fragments.groupby(_LEVEL_AND_HBOND, sort=False) for row in _rows(group)]
    values = ordered_positions(pd.DataFrame(rows).set_index(list(REFERENCE_DIMS)).to_xarray())
    for name in VALUES:
        values[name].attrs["units"] = "kcal/mol"
    return with_status(values)


def _rows(fragments: pd.DataFrame) -> list[dict[str, object]]:
    """Values of one H-bond at one level, one row per method and position; `fragments` holds the ten points of Eq. 1."""
    first = fragments.iloc[0]
    energies = fragments.set_index("fragment").loc[list(FRAGMENTS), list(PARTS)].to_numpy()
    length, hbond = int(first["length"]), int(first["hbond"])
    labels = {name: first[name] for name in ("pattern", "capping", "geometry", "rotamer")} | {"length": length}
    positions = [name for name in POSITIONS if position_of(name, length) == hbond]
    rows: list[dict[str, object]] = []
    for method, (same_spin, opposite_spin) in _METHODS.items():
        result = cooperativity_from_points(energies @ np.array([1.0, same_spin, opposite_spin]))
        values = (result.total, result.electronic, result.geometric, result.interaction, result.interaction_dimer)
        row = labels | {"model": _model_name(method, first)} | dict(zip(VALUES, values, strict=True))
        rows += [row | {"position": position} for position in positions]
    return rows


def _model_name(method: str, level: pd.Series) -> str:
    flags = [FROZEN_CORE] if level["frozen_core"] and method != "hf" else []
    flags += [COUNTERPOISE] if level["counterpoise"] else []
    return ":".join([method, str(level["basis"]), *flags])


class ReferenceSetError(ValueError):
    """A folder that is no reference set; the message names the file."""


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Geometries of chains by conformers and capping; the rotamers are those of the files.

    Attributes
    ----------
    name : str
        The folder, as it was given.
    structures : mapping of Label to Structure
        Positions in A.
    chains : mapping of Label to Chain
        With the rotamers perceived in the files.
    """

    name: str
    structures: Mapping[Label, Structure]
    chains: Mapping[Label, Chain]

    def structure(self, chain: Chain) -> Structure:
        """Geometry of a chain.

        Parameters
        ----------
        chain : Chain

        Returns
        -------
        Structure

        Raises
        ------
        KeyError
            When the set has no chain of these conformers and capping.
        """
        return self.structures[_label(chain)]

    def missing(self, chain: Chain) -> str:
        """Describe which geometries of a cell the set lacks.

        Parameters
        ----------
        chain : Chain
            The complex; the isolated dimers of all its H-bonds are needed too.

        Returns
        -------
        str
            Comma-separated; empty when the set has them all in the right rotamers.
        """
        needed = [chain, *(chain.dimer(hbond) for hbond in range(1, chain.length))]
        missing = [_description(_label(part)) for part in needed if _label(part) not in self.structures]
        missing += [
            f"{_description(_label(part))} in rotamers {_rotamers(part)} (it has {_rotamers(chain_of_set)})"
            for part in needed
            if (chain_of_set := self.chains.get(_label(part))) and chain_of_set.rotamers != part.rotamers
        ]
        return ", ".join(dict.fromkeys(missing))


def read_reference_set(folder: str | Path) -> ReferenceSet:
    """Read every .xyz file of a folder and perceive from the coordinates which chain it holds.

    Parameters
    ----------
    folder : str or Path
        One chain per file, positions in A; of a file with several frames the last one counts. File names are free.
        ``rotamer="cis-N, trans-C"`` in the comment line names the rotamer that a chain out of the mirror plane was
        minimised from; without it rotamers are perceived.

    Returns
    -------
    ReferenceSet

    Raises
    ------
    ReferenceSetError
        When the folder is missing or empty, a file holds no NMA chain, or two files hold the same one.
    """
    from ase.io import read

    from hbcoop_dist.structures.chain_recognition import PerceptionError, perceive

    path = Path(folder)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".xyz") if path.is_dir() else []
    if not files:
        raise ReferenceSetError(f"reference set {folder}: expected a folder with .xyz files, found none")
    structures: dict[Label, Structure] = {}
    chains: dict[Label, Chain] = {}
    sources: dict[Label, Path] = {}
    for file in files:
        try:
            atoms = read(file, index=-1, format="extxyz")
            structure, chain = perceive(np.asarray(atoms.numbers), np.asarray(atoms.positions, dtype=float))
            if "rotamer" in atoms.info:
                chain = replace(chain, rotamers=(Rotamer.parse(str(atoms.info["rotamer"])),) * chain.length)
        except PerceptionError as error:
            raise ReferenceSetError(f"{file}: {error}") from None
        except Exception as error:  # noqa: BLE001  ASE's readers raise many types for malformed files
            reason = f"{type(error).__name__}: {error}"
            raise ReferenceSetError(
                f"{file}: expected an .xyz file, found one that cannot be read ({reason})"
            ) from None
        label = _label(chain)
        if label in sources:
            raise ReferenceSetError(
                f"{file}: expected every chain once, found {_description(label)} in {sources[label].name} too"
            )
        structures[label], chains[label], sources[label] = structure, chain, file
    return ReferenceSet(str(folder), structures, chains)


def _rotamers(chain: Chain) -> str:
    return "; ".join(dict.fromkeys(str(rotamer) for rotamer in chain.rotamers))


def _label(chain: Chain) -> Label:
    return (tuple(chain.conformers), chain.capping)


def _description(label: Label) -> str:
    conformers, capping = label
    chain = f"{'-'.join(conformers)} chain" if conformers else "monomer"
    return chain + (" with water caps" if capping == "water" else "")


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
