"""Read the QMOF database as it is distributed: a table of properties, and structures apart from it.

``qmof_database`` holds ``qmof.csv`` and ``qmof.json`` (one row a framework, the same in both), and the relaxed
structures three times: ``qmof_structure_data.json`` (with partial charges), ``relaxed_structures.zip`` and, where that
was unpacked, ``relaxed_structures/*.cif``.  A row's columns become ``info`` under their names in the table
(``outputs.pbe.energy_total``, eV).  There are no forces.

The parent of a structure from the CSD is its refcode without the number of the determination (``ABACUF01_FSR``:
``ABACUF``), of any other its name.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbcoop_dist.generalization.readers.qmof_structures import Place, structure_files, structures_in
from hbcoop_dist.generalization.reading import ReadError

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

_TABLES = ("qmof.csv", "qmof.json")
_REFCODE = re.compile(r"([A-Z]{6})(\d{2})?")


def find_qmof(path: Path) -> Place | None:
    """The folder of the table, in a folder or zip file or one folder further down; None where there is none."""
    root: Place = zipfile.Path(path) if path.is_file() else path
    return next(
        (place for place in (root, root / "qmof_database") if any((place / t).is_file() for t in _TABLES)), None
    )


def qmof_parts(folder: Path) -> list[Path]:
    """The files of a QMOF folder that are read: the table, and one copy of the structures; none where it is none."""
    place = find_qmof(folder)
    if not isinstance(place, Path):
        return []
    return [next(place / name for name in _TABLES if (place / name).is_file()), *structure_files(place)]


class QmofRows:
    """Frameworks of a QMOF database whose structures are there, in the order of its table.

    Raises
    ------
    ReadError
        When the table or the structures are not there, or cannot be read.
    """

    form = "QMOF database"

    def __init__(self, path: Path) -> None:
        self.path = path
        place = find_qmof(path)
        if place is None:
            raise ReadError(f"{path}: expected a QMOF database with {' or '.join(_TABLES)}, found neither")
        self._table = _table(place)
        self._structures = structures_in(place)
        there = set(self._structures.names())
        known = [str(name) for name in self._table.index if name in there]
        self._names = known + sorted(there.difference(known))

    def __len__(self) -> int:
        return len(self._names)

    def place(self, number: int) -> str:
        return self._names[number]

    def atoms(self, number: int) -> Atoms:
        name = self._names[number]
        try:
            atoms = self._structures.atoms(name)
        except Exception as error:  # a damaged structure is parsed into whatever, and raises whatever comes of it
            raise ReadError(
                f"{self.path}, {name}: expected a relaxed structure, found: {error!r}", "expected a relaxed structure"
            ) from error
        if name not in self._table.index:
            raise ReadError(
                f"{self.path}, {name}: expected a row in the table of properties, found none",
                "expected a row in the table of properties, found none",
            )
        row = self._table.loc[name].dropna().to_dict()
        if len(atoms) != row.get("info.natoms", len(atoms)):
            raise ReadError(
                f"{self.path}, {name}, info.natoms: expected {row['info.natoms']:g} atoms, found {len(atoms)}",
                "info.natoms: expected another number of atoms",
            )
        atoms.info = {**row, "qmof_id": name, "refcode": _parent(str(row.get("name", name)))}
        return atoms

    def close(self) -> None:
        self._structures.close()


def _table(place: Place) -> pd.DataFrame:
    import pandas as pd

    file = next(place / name for name in _TABLES if (place / name).is_file())
    try:
        with file.open("rb") as opened:
            table = (
                pd.read_csv(opened, low_memory=False)
                if file.name.endswith(".csv")
                else pd.json_normalize(_listed(json.load(opened)))
            ).set_index("qmof_id")
    except (OSError, ValueError, KeyError) as error:
        raise ReadError(f"{file}: expected a table of frameworks by qmof_id, found: {error}") from error
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ReadError(f"{file}, {twice}: expected every framework once, found it again")
    return table


def _listed(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        raise ValueError(f"a {type(content).__name__} in place of a list")
    return content


def _parent(name: str) -> str:
    refcodes = (_REFCODE.fullmatch(part) for part in name.split("_"))
    return next((found.group(1) for found in refcodes if found), name)
