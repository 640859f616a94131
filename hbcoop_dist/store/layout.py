"""The axes of a store as data: what is asked for decides every shape, and two layouts can be joined.

Nothing here touches a disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.cooperativity.equation import FRAGMENTS
from hbcoop_dist.store.errors import StoreError
from hbcoop_dist.store.schema import DIMS, LABEL_DIMS, STATIC_VARIABLES, Kind, Variable
from hbcoop_dist.structures import CAPPINGS, CONFORMERS, PATTERNS, conformers_of, position_of
from hbcoop_dist.structures.chains import CAP_WATERS, POSITIONS, Capping, Pattern
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

Label = str | int
Labels = tuple[Label, ...]

_NMA = MOLECULE_NUMBERS["nma"]
_WATER = MOLECULE_NUMBERS["water"]
_ASKED = {"model": "models", "pattern": "patterns", "length": "lengths", "capping": "cappings"}
_ASKED |= {"geometry": "geometries", "rotamer": "rotamers"}


def n_atoms(length: int, capping: str) -> int:
    """Atoms of a chain of `length` units, with its cap waters if it has them."""
    return len(_NMA) * length + (CAP_WATERS * len(_WATER) if capping == "water" else 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """Labels along every axis of a store that a campaign decides; the others follow from these.

    Attributes
    ----------
    models, patterns, cappings, geometries, rotamers : tuple of str
        In the order of the axis, without repeats.
    lengths : tuple of int
        At least 2; kept in ascending order.
    """

    models: tuple[str, ...]
    patterns: tuple[str, ...]
    lengths: tuple[int, ...]
    cappings: tuple[str, ...]
    geometries: tuple[str, ...] = ("own",)
    rotamers: tuple[str, ...] = ("default",)
    # with thousands of models, a scan of the axis for every record would grow with their square
    _places: Mapping[str, Mapping[Label, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in _ASKED.values():
            labels = tuple(getattr(self, name))
            if not labels or len(set(labels)) != len(labels) or "" in labels:
                raise StoreError(f"{name}: expected one or more different labels, found {labels}")
            object.__setattr__(self, name, labels)
        object.__setattr__(self, "lengths", tuple(sorted(int(length) for length in self.lengths)))
        if self.lengths[0] < 2:
            raise StoreError(f"lengths: expected at least 2 units, found {self.lengths[0]}")
        for name, known in (("patterns", PATTERNS), ("cappings", CAPPINGS)):
            if unknown := [label for label in getattr(self, name) if label not in known]:
                raise StoreError(f"{name}: expected {', '.join(known)}, found {', '.join(map(str, unknown))}")
        dims = (*_ASKED, "conformer")
        places = {dim: {label: place for place, label in enumerate(self.labels(dim))} for dim in dims}
        object.__setattr__(self, "_places", places)

    def labels(self, dim: str) -> tuple[Label, ...]:
        """Labels along `dim`, in order."""
        if dim in _ASKED:
            return cast(tuple[Label, ...], getattr(self, _ASKED[dim]))
        longest = self.lengths[-1]
        if dim == "hbond":
            return tuple(range(1, longest))
        if dim == "atom":
            return tuple(range(max(n_atoms(longest, capping) for capping in self.cappings)))
        fixed = {"position": POSITIONS, "fragment": FRAGMENTS, "xyz": ("x", "y", "z"), "conformer": CONFORMERS}
        return fixed[dim]

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Sizes of the axes named by `dims`."""
        return tuple(len(self.labels(dim)) for dim in dims)

    def extent(self, dim: str, labels: Mapping[str, Label]) -> int:
        """How far along `dim` the value of one cell (or isolated dimer) may reach."""
        length = cast(int, labels.get("length", 2))
        if dim == "hbond":
            return length - 1
        if dim == "atom":
            return n_atoms(length, str(labels.get("capping", "none")))
        return len(self.labels(dim))

    def index(self, kind: Kind, labels: Mapping[str, Label]) -> tuple[int, ...]:
        """Where a cell or isolated dimer stands along its label dims.

        Raises
        ------
        StoreError
            When the dims are not those of `kind`, or a label is not on its axis.
        """
        dims = LABEL_DIMS[kind]
        if set(labels) != set(dims):
            raise StoreError(f"labels: expected {', '.join(dims)}, found {', '.join(labels) or 'none'}")
        return tuple(self.place(dim, labels[dim]) for dim in dims)

    def place(self, dim: str, label: Label) -> int:
        """Where a label stands on the axis of a label dim; `StoreError` when it does not."""
        place = self._places[dim].get(label)
        if place is None:
            raise StoreError(f"{dim}: expected one of {', '.join(map(str, self.labels(dim)))}, found {label!r}")
        return place

    def cells(self, kind: Kind = "cell") -> list[Labels]:
        """Labels of every cell or isolated dimer, in the order of `CELL_DIMS` or `DIMER_DIMS`, last dim fastest."""
        return list(product(*(self.labels(dim) for dim in LABEL_DIMS[kind])))

    def union(self, other: Layout) -> Layout:
        """This layout and what `other` has beyond it: lengths sorted, everything else appended."""
        joined = {name: tuple(dict.fromkeys((*getattr(self, name), *getattr(other, name)))) for name in _ASKED.values()}
        return Layout(**joined)

    @classmethod
    def from_labels(cls, labels: Mapping[str, Sequence[Label]]) -> Layout:
        """The layout whose axes carry `labels`, dim by dim, as read from a store."""
        return cls(**{name: tuple(labels[dim]) for dim, name in _ASKED.items()})  # type: ignore[arg-type]


def coordinate(layout: Layout, dim: str) -> NDArray[np.generic]:
    """Labels along `dim` as an array of the store's dtype."""
    dtype = np.dtypes.StringDType() if DIMS[dim].dtype == "str" else np.dtype("int64")
    return np.array(layout.labels(dim), dtype=dtype)


def _numbers(length: int, capping: str) -> tuple[list[int], list[int]]:
    molecules = [_NMA] * length + [_WATER] * (CAP_WATERS if capping == "water" else 0)
    numbers = [z for molecule in molecules for z in molecule]
    return numbers, [index for index, molecule in enumerate(molecules) for _ in molecule]


def static_variables(layout: Layout) -> dict[str, NDArray[np.generic]]:
    """Values of every variable of `STATIC_VARIABLES`: they follow from the axes alone.

    Returns
    -------
    dict of str to array
        Shapes are those of the variables' dims in `layout`; what a short chain lacks is missing.
    """
    values = {v.name: v.missing(layout.shape(v.dims)) for v in STATIC_VARIABLES}
    for p, pattern in enumerate(layout.patterns):
        values["hbond_conformer"][p] = conformers_of(cast(Pattern, pattern), layout.lengths[-1])
    for i, length in enumerate(layout.lengths):
        bonds = [position_of(position, length) for position in POSITIONS]
        values["position_hbond"][i] = bonds
        values["units_before"][i] = [bond - 1 for bond in bonds]
        values["units_after"][i] = [length - bond - 1 for bond in bonds]
        for p, pattern in enumerate(layout.patterns):
            conformers = conformers_of(cast(Pattern, pattern), length)
            values["position_conformer"][p, i] = [conformers[bond - 1] for bond in bonds]
        for c, capping in enumerate(layout.cappings):
            numbers, molecules = _numbers(length, cast(Capping, capping))
            values["atomic_number"][i, c, : len(numbers)] = numbers
            values["molecule"][i, c, : len(molecules)] = molecules
    return values


class _Axes(Protocol):
    def labels(self, dim: str) -> tuple[Label, ...]: ...


def chunks_of(variable: Variable, layout: _Axes) -> tuple[int, ...]:
    """One chunk per model: a chunk then has one writer, and a flush rewrites one file per variable."""
    return tuple(1 if dim == "model" else len(layout.labels(dim)) for dim in variable.dims)
