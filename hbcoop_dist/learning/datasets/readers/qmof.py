"""Relaxed structures of the QMOF database, from whichever of its three copies is there.

Read the QMOF database as it is distributed: a table of properties, and structures apart from it.

``qmof_database`` holds ``qmof.csv`` and ``qmof.json`` (one row a framework, the same in both), and the relaxed
structures three times: ``qmof_structure_data.json`` (with partial charges), ``relaxed_structures.zip`` and, where that
was unpacked, ``relaxed_structures/*.cif``.  A row's columns become ``info`` under their names in the table
(``outputs.pbe.energy_total``, eV).  There are no forces.

The parent of a structure from the CSD is its refcode without the number of the determination (``ABACUF01_FSR``:
``ABACUF``), of any other its name.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.readers.text_files import Index, file_index

if TYPE_CHECKING:
    from ase import Atoms
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms


Place = Path | zipfile.Path
"""A file or folder, on disk or in a zip file."""

_DATA, _FOLDER, _ZIP = "qmof_structure_data.json", "relaxed_structures", "relaxed_structures.zip"
_BLOCK = 16 * 2**20
_SITE = "_atom_site_"


class Structures(Protocol):
    """Structures by the ids of the QMOF database."""

    def names(self) -> Iterable[str]: ...
    def atoms(self, name: str) -> Atoms: ...
    def close(self) -> None: ...


def structures_in(place: Place) -> Structures:
    """The copy of the structures that says most: with charges, else unpacked, else in a zip file.

    Raises
    ------
    ReadError
        When there is none.
    """
    data, folder, packed = place / _DATA, place / _FOLDER, place / _ZIP
    # of gigabytes: in a zip file they would be unpacked anew for every structure
    if isinstance(data, Path) and data.is_file():
        return _JsonStructures(data)
    if folder.is_dir():
        return _CifStructures(folder)
    if packed.is_file():
        inner = zipfile.ZipFile(io.BytesIO(packed.read_bytes()) if isinstance(packed, zipfile.Path) else packed)
        inside = zipfile.Path(inner, f"{_FOLDER}/")
        return _CifStructures(inside if inside.exists() else zipfile.Path(inner), inner)
    raise ReadError(f"{place}: expected relaxed structures in {_DATA}, {_FOLDER}/*.cif or {_ZIP}, found none")


def structure_files(place: Path) -> list[Path]:
    """The files of the copy that `structures_in` takes."""
    if (data := place / _DATA).is_file():
        return [data]
    return sorted((place / _FOLDER).glob("*.cif")) or [file for file in [place / _ZIP] if file.is_file()]


class _CifStructures:
    """One CIF a structure."""

    def __init__(self, folder: Place, archive: zipfile.ZipFile | None = None) -> None:
        self._archive = archive
        self._files = {file.name.removesuffix(".cif"): file for file in folder.iterdir() if file.name.endswith(".cif")}

    def names(self) -> Iterable[str]:
        return self._files

    def atoms(self, name: str) -> Atoms:
        from ase.io.cif import parse_cif

        with self._files[name].open("rb") as file:
            blocks = list(parse_cif(io.BytesIO(file.read())))
        if len(blocks) != 1:
            raise ValueError(f"{len(blocks)} structures in one CIF")
        found: Atoms = blocks[0].get_atoms()
        for tag, values in blocks[0].items():
            # partial charges, where QMOF's own script wrote them into its CIFs, all of which list every atom
            if tag.startswith(f"{_SITE}pbe_") and len(values) == len(found):
                found.set_array(tag.removeprefix(_SITE), np.asarray(values, dtype=float))
        return found

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()


class _JsonStructures:
    """A JSON list of structures as pymatgen writes them, gigabytes of it: read through once, then by offset."""

    def __init__(self, path: Path) -> None:
        index = file_index(path, "structures of QMOF", _index)
        self._spans = dict(zip(index["names"].tolist(), index["spans"].tolist(), strict=True))
        self._file = path.open("rb")

    def names(self) -> Iterable[str]:
        return self._spans

    def atoms(self, name: str) -> Atoms:
        from ase import Atoms

        begin, end = self._spans[name]
        self._file.seek(begin)
        structure = json.loads(self._file.read(end - begin))["structure"]
        sites = structure["sites"]
        atoms = Atoms(
            [_element(site) for site in sites],
            [site["xyz"] for site in sites],
            cell=structure["lattice"]["matrix"],
            pbc=True,
        )
        for key in set.intersection(*(set(site.get("properties") or {}) for site in sites)):
            values = [site["properties"][key] for site in sites]
            if None not in values:
                atoms.set_array(key, np.array(values, dtype=float))
        return atoms

    def close(self) -> None:
        self._file.close()


def _element(site: dict[str, Any]) -> str:
    (species,) = site["species"]
    return str(species["element"])


def _index(path: Path) -> Index:
    """Ids of the structures, and where each begins and ends: (structures, 2)."""
    names, spans = [], []
    with path.open("rb") as file:
        for begin, end, entry in _entries(file, path):
            names.append(entry["qmof_id"])
            spans.append((begin, end))
    return {"names": np.array(names, dtype=np.str_), "spans": np.array(spans, dtype=np.int64).reshape(-1, 2)}


def _entries(file: BinaryIO, path: Path) -> Iterable[tuple[int, int, dict[str, Any]]]:
    """Entries of a list, one after the other, each with its first byte and the one after its last."""
    decoder = json.JSONDecoder()
    # a byte a character, so that places in the text are offsets in the file
    text, at, before = file.read(_BLOCK).decode("latin-1"), 0, 0

    def fail(found: str) -> ReadError:
        return ReadError(
            f"{path}, byte {before + at:,}: expected a list of structures with their qmof_id, found {found}"
        )

    at = len(text) - len(text.lstrip())
    if text[at : at + 1] != "[":
        raise fail(repr(text[at : at + 40]))
    at += 1
    while True:
        try:
            while text[at] in " \t\r\n,":
                at += 1
            if text[at] == "]":
                return
            entry, end = decoder.raw_decode(text, at)
        except (IndexError, ValueError) as error:
            more = file.read(_BLOCK).decode("latin-1")
            if not more:
                raise fail(f"the end of the file, or no JSON: {error}") from None
            text, before, at = text[at:] + more, before + at, 0
            continue
        if not isinstance(entry, dict) or "qmof_id" not in entry:
            raise fail(repr(entry)[:60])
        yield before + at, before + end, entry
        at = end


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
