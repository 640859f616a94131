"""Survey files of labelled structures: recognised labels, usable structures, and public sets that many people use.

Rows are read one by one, and only counts and ranges are kept of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.yaml_source import read_mapping
from hbcoop_dist.learning.datasets.connectivity import ParentClues
from hbcoop_dist.learning.datasets.file_rows import Shards
from hbcoop_dist.learning.datasets.frames import LABEL_KEYS, Frame, ReadError, ReadOptions, read_frame
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.datasets.set_files import LeftOut, draw_rows

UNITS = {"energy": "eV/atom", "forces": "eV/A", "charges": "e", "dipole": "e A", "interaction_energy": "eV"}

_MOST_PARENTS = 1_000_000
"""Distinct parents that are counted."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public set that is recognised by the keys of its rows.

    Attributes
    ----------
    name : str
    keys : frozenset of str
        Keys that all its rows have.
    licence, citation, level_of_theory : str
    page : str
        Address of the set and its terms.
    notes : tuple of str
        Caveats.
    """

    name: str
    keys: frozenset[str]
    licence: str
    citation: str
    level_of_theory: str
    page: str
    notes: tuple[str, ...] = ()


def _read_public_sets() -> tuple[PublicSet, ...]:
    entries: Mapping[str, Any] = read_mapping(Path(__file__).with_name("public_sets.yaml")).content
    return tuple(
        PublicSet(name, **{**facts, "keys": frozenset(facts["keys"]), "notes": tuple(facts["notes"])})
        for name, facts in entries.items()
    )


PUBLIC_SETS = _read_public_sets()


def recognise(keys: Collection[str]) -> PublicSet | None:
    """Return the public set whose rows have these keys, or None."""
    return next((public for public in PUBLIC_SETS if public.keys.issubset(keys)), None)


@dataclass(slots=True)
class LabelRange:
    """Occurrence and range of a label.

    Attributes
    ----------
    label, unit : str
        Energies are per atom, forces and dipoles by component.
    keys : Counter of str
        Keys under which it was found, with the number of structures.
    alternatives : Counter of str
        Other keys present that could hold it.
    count : int
        Structures that have it.
    least, largest : float
    """

    label: str
    unit: str
    keys: Counter[str] = field(default_factory=Counter)
    alternatives: Counter[str] = field(default_factory=Counter)
    count: int = 0
    least: float = float("inf")
    largest: float = float("-inf")

    def add(self, values: FloatArray) -> None:
        """Include the values of one more structure."""
        self.count += 1
        self.least = min(self.least, float(values.min()))
        self.largest = max(self.largest, float(values.max()))


@dataclass(slots=True)
class SetReport:
    """Contents of files of labelled structures; counts are of usable structures among those examined.

    Attributes
    ----------
    form : str
        Format, in words.
    files, bytes, structures : int
        Totals.
    examined, usable : int
    left_out : LeftOut
        Unusable structures by reason.
    elements : Counter of int
        Structures by atomic number.
    charges : Counter of int
        Structures by total charge, e.
    spins : Counter of int
        Structures by multiplicity; those without one are not counted.
    sizes : Counter of int
        Structures by number of atoms.
    periodic : int
    labels : dict of str to LabelRange
    domains, parents : Counter of str
    more_parents : bool
        Whether there are more parents than were counted.
    other_keys : Counter of str
        Keys in the files that belong to no label.
    public_set : PublicSet or None
    """

    form: str
    files: int
    bytes: int
    structures: int
    examined: int = 0
    usable: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    elements: Counter[int] = field(default_factory=Counter)
    charges: Counter[int] = field(default_factory=Counter)
    spins: Counter[int] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    periodic: int = 0
    labels: dict[str, LabelRange] = field(
        default_factory=lambda: {label: LabelRange(label, unit) for label, unit in UNITS.items()}
    )
    domains: Counter[str] = field(default_factory=Counter)
    parents: Counter[str] = field(default_factory=Counter)
    more_parents: bool = False
    other_keys: Counter[str] = field(default_factory=Counter)
    public_set: PublicSet | None = None


def check_set(paths: Sequence[Path | str], options: ReadOptions | None = None, sample: int | None = None) -> SetReport:
    """Survey files.

    Parameters
    ----------
    paths : sequence of path
        Files and folders of one set.
    options : ReadOptions, optional
    sample : int, optional
        Number of structures, drawn at random, to examine; all by default.

    Returns
    -------
    SetReport
        Structures that cannot be used are counted in it.

    Raises
    ------
    ReadError
        When a file itself cannot be read.
    """
    shards, chosen = Shards(paths), options or ReadOptions()
    size = sum(_size(file) for file in shards.files)
    report = SetReport("", len(shards.files), size, len(shards))
    for rows, number in shards.rows(draw_rows(len(shards), sample, 0)):
        report.form = rows.form
        report.examined += 1
        try:
            frame = Frame(rows.atoms(number), rows.path, rows.position(number), chosen)
            if report.public_set is None:
                report.public_set = recognise(set(_keys(frame)))
            _count_keys(report, frame)
            structure, clues = read_frame(frame)
        except ReadError as error:
            report.left_out.add(error)
            continue
        _count_structure(report, frame, structure, clues)
    return report


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in (path.rglob("*") if path.is_dir() else [path]) if part.is_file())


def _keys(frame: Frame) -> Iterator[str]:
    """Keys of everything in a frame beside its geometry."""
    results = {} if frame.atoms.calc is None else frame.atoms.calc.results
    for mapping in (frame.atoms.arrays, frame.atoms.info, results):
        yield from (key for key, value in mapping.items() if value is not None)


def _count_keys(report: SetReport, frame: Frame) -> None:
    keys = set(_keys(frame)) - {"numbers", "positions"}
    label_keys: set[str] = set()
    for label in LABEL_KEYS:
        entry, candidates = frame.find(label), {*LABEL_KEYS[label], *frame.options.keys_of(label)}
        label_keys |= candidates
        if label in report.labels and entry is not None:
            report.labels[label].keys[entry[0]] += 1
            report.labels[label].alternatives.update(keys & candidates - {entry[0]})
    report.other_keys.update(keys - label_keys)


def _count_structure(report: SetReport, frame: Frame, structure: LabelledStructure, clues: ParentClues) -> None:
    report.usable += 1
    report.elements.update({int(z) for z in structure.numbers})
    report.charges[structure.charge] += 1
    # shown only, not read by campaigns, so an invalid spin does not make the structure unusable
    with suppress(ReadError):
        if (spin := frame.integers("spin", ())) is not None:
            report.spins[int(spin)] += 1
    report.sizes[len(structure)] += 1
    report.periodic += structure.cell is not None
    report.domains[structure.domain] += 1
    parent = clues.parent or clues.smiles or clues.connectivity
    if parent in report.parents or len(report.parents) < _MOST_PARENTS:
        report.parents[parent] += 1
    else:
        report.more_parents = True
    for label, found in report.labels.items():
        value = structure.energy / len(structure) if label == "energy" else getattr(structure, label)
        if value is not None:
            found.add(np.asarray(value))
