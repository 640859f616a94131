"""Look at files of labelled structures: what is recognised, what a campaign would get, and what it would leave out.

Row by row, and of each no more is kept than goes into counts and ranges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.connectivity import Parentage
from hbcoop_dist.learning.datasets.frames import KEYS, Frame, ReadError, Reading, read_frame
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.datasets.readers.known_sets import KnownSet, known_set
from hbcoop_dist.learning.datasets.readers.shards import Shards
from hbcoop_dist.learning.datasets.set_reader import LeftOut, drawn

UNITS = {"energy": "eV/atom", "forces": "eV/A", "charges": "e", "dipole": "e A", "interaction_energy": "eV"}

_PARENTS = 1_000_000
"""Distinct parents that are counted; beyond them there are more."""


@dataclass(slots=True)
class LabelRange:
    """A label as it was found.

    Attributes
    ----------
    label, unit : str
        Energies are per atom, forces and dipoles by component.
    keys : Counter of str
        Names under which it was found, and in how many structures.
    others : Counter of str
        Other names under which it could have been taken.
    count : int
        Structures that have it.
    least, largest : float
    """

    label: str
    unit: str
    keys: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    count: int = 0
    least: float = float("inf")
    largest: float = float("-inf")

    def add(self, values: NDArray[np.float64]) -> None:
        """Count one more structure."""
        self.count += 1
        self.least = min(self.least, float(values.min()))
        self.largest = max(self.largest, float(values.max()))


@dataclass(slots=True)
class SetReport:
    """What files of labelled structures hold; counts are of structures that were looked at and can be used.

    Attributes
    ----------
    form : str
        Their format, in words.
    files, bytes, structures : int
        Of them all.
    looked_at, usable : int
    left_out : LeftOut
        What cannot be used, and why.
    elements : Counter of int
        Structures with this atomic number.
    charges : Counter of int
    spins : Counter of int
        Multiplicities; those that do not say theirs are not in it.
    sizes : Counter of int
        Structures of so many atoms.
    periodic : int
    labels : dict of str to LabelRange
    domains, parents : Counter of str
    more_parents : bool
        Whether there are more than were counted.
    other_keys : Counter of str
        Names in the files that no label has.
    known : KnownSet or None
    """

    form: str
    files: int
    bytes: int
    structures: int
    looked_at: int = 0
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
    known: KnownSet | None = None


def check_set(paths: Sequence[Path | str], reading: Reading | None = None, sample: int | None = None) -> SetReport:
    """Look at files.

    Parameters
    ----------
    paths : sequence of path
        Files and folders of one set.
    reading : Reading, optional
        Which labels are meant, and in which units.
    sample : int, optional
        So many structures, drawn at random, are looked at; all without it.

    Raises
    ------
    ReadError
        When the files themselves are not what can be read; structures that cannot be used are counted.
    """
    shards, how = Shards(paths), reading or Reading()
    size = sum(_size(file) for file in shards.files)
    report = SetReport("", len(shards.files), size, len(shards))
    for rows, number in shards.rows(drawn(len(shards), sample, 0)):
        report.form = rows.form
        report.looked_at += 1
        try:
            frame = Frame(rows.atoms(number), rows.path, rows.place(number), how)
            if report.known is None:
                report.known = known_set(set(_names(frame)))
            _count_keys(report, frame)
            structure, parentage = read_frame(frame)
        except ReadError as error:
            report.left_out.add(error)
            continue
        _count(report, frame, structure, parentage)
    return report


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in (path.rglob("*") if path.is_dir() else [path]) if part.is_file())


def _names(frame: Frame) -> Iterator[str]:
    """Names of what a frame holds beside its geometry."""
    results = {} if frame.atoms.calc is None else frame.atoms.calc.results
    for place in (frame.atoms.arrays, frame.atoms.info, results):
        yield from (name for name, value in place.items() if value is not None)


def _count_keys(report: SetReport, frame: Frame) -> None:
    names = set(_names(frame)) - {"numbers", "positions"}
    taken: set[str] = set()
    for label in KEYS:
        found, candidates = frame.find(label), {*KEYS[label], *frame.reading.names(label)}
        taken |= candidates
        if label in report.labels and found is not None:
            report.labels[label].keys[found[0]] += 1
            report.labels[label].others.update(names & candidates - {found[0]})
    report.other_keys.update(names - taken)


def _count(report: SetReport, frame: Frame, structure: LabelledStructure, parentage: Parentage) -> None:
    report.usable += 1
    report.elements.update({int(z) for z in structure.numbers})
    report.charges[structure.charge] += 1
    # shown, and read by no campaign: one that makes no sense spoils nothing
    with suppress(ReadError):
        if (spin := frame.whole("spin", ())) is not None:
            report.spins[int(spin)] += 1
    report.sizes[len(structure)] += 1
    report.periodic += structure.cell is not None
    report.domains[structure.domain] += 1
    parent = parentage.given or parentage.smiles or parentage.bonded
    if parent in report.parents or len(report.parents) < _PARENTS:
        report.parents[parent] += 1
    else:
        report.more_parents = True
    values = {
        "energy": np.array([structure.energy / len(structure)]),
        "forces": structure.forces,
        "charges": structure.charges,
        "dipole": structure.dipole,
        "interaction_energy": None
        if structure.interaction_energy is None
        else np.array([structure.interaction_energy]),
    }
    for label, value in values.items():
        if value is not None:
            report.labels[label].add(value)
