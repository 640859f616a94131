"""Relaxed structures of the QMOF database, from whichever of its three copies is there."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from hbcoop_dist.generalization.readers.file_index import Index, file_index
from hbcoop_dist.generalization.reading import ReadError

if TYPE_CHECKING:
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
