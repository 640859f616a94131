"""Read the QMOF database as it is distributed: a table of properties, and relaxed structures beside it.

``qmof_database`` contains ``qmof.csv`` and ``qmof.json`` (one row per framework, equal in both), and the relaxed
structures three times: ``qmof_structure_data.json`` (with partial charges), ``relaxed_structures.zip`` and, unpacked,
``relaxed_structures/*.cif``. The columns of a row become ``info`` under their names in the table
(``outputs.pbe.energy_total``, eV). There are no forces.

The parent of a structure from the CSD is its refcode without the number of the determination (``ABACUF01_FSR``:
``ABACUF``), of any other its name.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hbcoop_dist.learning.datasets.ase_files import Index, file_index
from hbcoop_dist.learning.datasets.frames import ReadError, Rows

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

ArchivePath = Path | zipfile.Path
"""A file or folder on disk or in a zip file."""

_TABLES = ("qmof.csv", "qmof.json")
_JSON, _FOLDER, _ZIP = "qmof_structure_data.json", "relaxed_structures", "relaxed_structures.zip"
_BLOCK = 16 * 2**20
_SITE = "_atom_site_"
_REFCODE = re.compile(r"([A-Z]{6})(\d{2})?")


class QmofRows(Rows):
    """Frameworks of a QMOF database that have a structure, in the order of its table.

    Parameters
    ----------
    path : Path
        Folder or zip file.

    Raises
    ------
    ReadError
        When the table or the structures are missing or cannot be read.
    """

    form = "QMOF database"
    entry = "relaxed structure"

    def __init__(self, path: Path) -> None:
        self.path = path
        root = find_qmof(path)
        if root is None:
            raise ReadError(f"{path}: expected a QMOF database with {' or '.join(_TABLES)}, found neither")
        self._table = _read_table(root)
        self._structures = _open_structures(root)
        available: set[str] = set(self._structures.names)
        listed = [str(name) for name in self._table.index if name in available]
        self._names = listed + sorted(available.difference(listed))

    def __len__(self) -> int:
        return len(self._names)

    def position(self, number: int) -> str:
        return self._names[number]

    def _read(self, number: int) -> Atoms:
        name = self._names[number]
        atoms = self._structures.atoms(name)
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


def find_qmof(path: Path) -> ArchivePath | None:
    """Return the folder of the table, in a folder or zip file or one folder below; None when there is none."""
    root: ArchivePath = zipfile.Path(path) if path.is_file() else path
    folders = (root, root / "qmof_database")
    return next((folder for folder in folders if any((folder / table).is_file() for table in _TABLES)), None)


def qmof_files(folder: Path) -> list[Path]:
    """Return the files of a QMOF folder that are read, table first; none when it is not a QMOF folder."""
    root = find_qmof(folder)
    if not isinstance(root, Path):
        return []
    table = next(root / name for name in _TABLES if (root / name).is_file())
    if (data := root / _JSON).is_file():
        return [table, data]
    archives = [file for file in [root / _ZIP] if file.is_file()]
    return [table, *(sorted((root / _FOLDER).glob("*.cif")) or archives)]


def _read_table(root: ArchivePath) -> pd.DataFrame:
    import pandas as pd

    file = next(root / name for name in _TABLES if (root / name).is_file())
    try:
        with file.open("rb") as opened:
            table = (
                pd.read_csv(opened, low_memory=False)
                if file.name.endswith(".csv")
                else pd.json_normalize(json.load(opened))
            ).set_index("qmof_id")
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise ReadError(f"{file}: expected a table of frameworks by qmof_id, found: {error}") from error
    if not table.index.is_unique:
        duplicate = table.index[table.index.duplicated()][0]
        raise ReadError(f"{file}, {duplicate}: expected every framework once, found it again")
    return table


def _parent(name: str) -> str:
    refcodes = (_REFCODE.fullmatch(part) for part in name.split("_"))
    return next((match.group(1) for match in refcodes if match), name)


def _open_structures(root: ArchivePath) -> _JsonStructures | _CifStructures:
    """Open the copy of the structures with charges, else the unpacked one, else the zip file.

    Raises
    ------
    ReadError
        When there is none.
    """
    data, folder, packed = root / _JSON, root / _FOLDER, root / _ZIP
    # not from inside a zip file, where gigabytes would be unpacked again for every structure
    if isinstance(data, Path) and data.is_file():
        return _JsonStructures(data)
    if folder.is_dir():
        return _CifStructures(folder)
    if packed.is_file():
        inner = zipfile.ZipFile(io.BytesIO(packed.read_bytes()) if isinstance(packed, zipfile.Path) else packed)
        subfolder = zipfile.Path(inner, f"{_FOLDER}/")
        return _CifStructures(subfolder if subfolder.exists() else zipfile.Path(inner), inner)
    raise ReadError(f"{root}: expected relaxed structures in {_JSON}, {_FOLDER}/*.cif or {_ZIP}, found none")


class _CifStructures:
    """One CIF file per structure."""

    def __init__(self, folder: ArchivePath, archive: zipfile.ZipFile | None = None) -> None:
        self._archive = archive
        files = folder.iterdir()
        self.names = {file.name.removesuffix(".cif"): file for file in files if file.name.endswith(".cif")}

    def atoms(self, name: str) -> Atoms:
        from ase.io.cif import parse_cif

        with self.names[name].open("rb") as file:
            blocks = list(parse_cif(io.BytesIO(file.read())))
        if len(blocks) != 1:
            raise ValueError(f"{len(blocks)} structures in one CIF")
        atoms: Atoms = blocks[0].get_atoms()
        for tag, values in blocks[0].items():
            # partial charges written by QMOF's own script, whose CIFs list every atom
            if tag.startswith(f"{_SITE}pbe_") and len(values) == len(atoms):
                atoms.set_array(tag.removeprefix(_SITE), np.asarray(values, dtype=float))
        return atoms

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()


class _JsonStructures:
    """A JSON list of structures in pymatgen's format, gigabytes large: indexed once, then read by offset."""

    def __init__(self, path: Path) -> None:
        index = file_index(path, "structures of QMOF", _structure_offsets)
        self.names: dict[str, list[int]] = dict(zip(index["names"].tolist(), index["spans"].tolist(), strict=True))
        self._file = path.open("rb")

    def atoms(self, name: str) -> Atoms:
        from ase import Atoms

        begin, end = self.names[name]
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


def _structure_offsets(path: Path) -> Index:
    """Ids of the structures, and begin and end of each: (structures, 2)."""
    names, spans = [], []
    with path.open("rb") as file:
        for begin, end, entry in _entries(file, path):
            names.append(entry["qmof_id"])
            spans.append((begin, end))
    return {"names": np.array(names, dtype=np.str_), "spans": np.array(spans, dtype=np.int64).reshape(-1, 2)}


def _entries(file: BinaryIO, path: Path) -> Iterable[tuple[int, int, dict[str, Any]]]:
    """Yield the entries of a JSON list, each with the offsets of its first byte and of the one after its last."""
    decoder = json.JSONDecoder()
    # one byte per character, so that positions in the text are offsets in the file
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
