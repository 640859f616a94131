"""Reference sets: geometries minimised elsewhere, read from a folder of .xyz files (a user's own QM geometries)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.perception import PerceptionError, perceive


class ReferenceSetError(ValueError):
    """A folder that is no reference set; the message names the file."""


Label = tuple[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Geometries by conformers and capping; rotamers are those of the files.

    Attributes
    ----------
    name : str
    structures : mapping
        (conformers, capping) -> structure.
    systems : mapping
        (conformers, capping) -> system, with the rotamers of the file.
    files : mapping
        (conformers, capping) -> file it came from.
    """

    name: str
    structures: Mapping[Label, Structure]
    systems: Mapping[Label, Chain]
    files: Mapping[Label, Path]

    def structure(self, system: Chain) -> Structure:
        """The geometry of a system."""
        return self.structures[_label(system)]

    def missing(self, system: Chain) -> str:
        """What a cell would need and the set does not have: the complex or an isolated dimer; empty when complete."""
        wanted = [system, *(system.dimer(bond) for bond in range(1, system.length))]
        lacking = [_words(_label(one)) for one in wanted if _label(one) not in self.structures]
        lacking += [
            f"{_words(_label(one))} in rotamers {_rotamers(one)} (it has {_rotamers(self.systems[_label(one)])})"
            for one in wanted
            if _label(one) in self.systems and self.systems[_label(one)].rotamers != one.rotamers
        ]
        return ", ".join(dict.fromkeys(lacking))


def read_reference_set(folder: str | Path) -> ReferenceSet:
    """Read every .xyz of a folder; what each one is, is read off its coordinates, not its name.

    Parameters
    ----------
    folder : str or Path
        One structure per file (the last, when a file holds several), A.

    Raises
    ------
    ReferenceSetError
        When the folder is missing or empty, a file is not an NMA chain, or two files hold the same one.
    """
    from ase.io import read

    path = Path(folder)
    names = sorted(file for file in path.iterdir() if file.suffix.lower() == ".xyz") if path.is_dir() else []
    if not names:
        raise ReferenceSetError(f"reference set {folder}: expected a folder with .xyz files, found none")
    structures: dict[Label, Structure] = {}
    systems: dict[Label, Chain] = {}
    files: dict[Label, Path] = {}
    for name in names:
        try:
            atoms = read(name, index=-1, format="extxyz")
            structure, system = perceive(np.asarray(atoms.numbers), np.asarray(atoms.positions, dtype=float))
        except PerceptionError as error:
            raise ReferenceSetError(f"{name}: {error}") from None
        except Exception as error:  # noqa: BLE001  a reader of foreign files may raise anything
            what = f"{type(error).__name__}: {error}"
            raise ReferenceSetError(f"{name}: expected an .xyz file, found one that cannot be read ({what})") from None
        label = _label(system)
        if label in files:
            raise ReferenceSetError(
                f"{name}: expected every chain once, found {_words(label)} in {files[label].name} too"
            )
        structures[label], systems[label], files[label] = structure, system, name
    return ReferenceSet(str(folder), structures, systems, files)


def _rotamers(system: Chain) -> str:
    return "; ".join(dict.fromkeys(str(rotamer) for rotamer in system.rotamers))


def _label(system: Chain) -> Label:
    return (tuple(system.conformers), system.capping)


def _words(label: Label) -> str:
    conformers, capping = label
    what = f"{'-'.join(conformers)} chain" if conformers else "monomer"
    return what + (" with water caps" if capping == "water" else "")
