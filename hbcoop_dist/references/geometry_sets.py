"""Read reference sets: geometries minimised elsewhere, as a folder of .xyz files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hbcoop_dist.structures import Chain, Structure

Label = tuple[tuple[str, ...], str]
"""Conformers and capping of a chain."""


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
