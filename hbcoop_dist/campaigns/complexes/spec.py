"""Spec of a campaign of complexes and the files of their structures: clusters of molecules with a marked pair A, B."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from hbcoop_dist.campaigns.spec_fields import (
    CampaignError,
    CampaignSpec,
    Frozen,
    Models,
    StrictPositive,
    as_list,
    read_spec,
    require_unique,
    resolve_path,
)
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.geometry import kind_in_order, relative_distances
from hbcoop_dist.structures.structure import Complex

BOND = 1.25
"""Atoms nearer than this many times the sum of their covalent radii are bonded; a short O..H bridge is at 1.5."""


def _atom_indices(value: Any) -> tuple[int, ...]:
    """Expand atoms counted from 0, alone or in ranges ``"0-11"`` (both ends included), to one ascending tuple."""
    atoms: list[int] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", item) if isinstance(item, str) else None
        if match and int(match[1]) <= int(match[2]):
            atoms += range(int(match[1]), int(match[2]) + 1)
        elif type(item) is int and item >= 0:
            atoms.append(item)
        else:
            raise ValueError(f'expected atoms counted from 0, alone or in ranges like "0-11", found {item!r}')
    if not atoms or len(set(atoms)) != len(atoms):
        raise ValueError(f"expected one or more atoms, each once, found {value!r}")
    return tuple(sorted(atoms))


Atoms = Annotated[tuple[int, ...], BeforeValidator(_atom_indices)]


class ComplexEntry(Frozen):
    """One complex: a file, and the atoms of A and B; every other atom belongs to C."""

    name: str = Field(default="", description="label in the store; the file's name unless given")
    file: str = Field(min_length=1)
    A: Atoms
    B: Atoms
    geometry: Literal["fixed", "free"] = Field(default="fixed", description="as in the file, or minimised from there")

    @model_validator(mode="before")
    @classmethod
    def _named_by_file(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and not value.get("name") and isinstance(value.get("file"), str):
            return {**value, "name": PurePath(value["file"]).stem}
        return value


class Relaxation(Frozen):
    """How complexes with ``geometry: free`` are minimised."""

    max_force: StrictPositive = Field(default=1.0e-5, description="largest force left on an atom, eV/A")
    rms_force: StrictPositive | None = Field(default=None, description="RMS over force components, eV/A")
    max_calls: int = Field(default=500, ge=1, description="force calls before giving up")

    @property
    def protocol(self) -> dict[str, object]:
        """The fields that decide a result; the number of calls granted does not."""
        return self.model_dump(exclude={"max_calls"})


class ComplexesSpec(CampaignSpec):
    """Campaign of complexes, as written in YAML."""

    kind: Literal["complexes"] = "complexes"
    models: Models = Field(min_length=1)
    complexes: Annotated[tuple[ComplexEntry, ...], BeforeValidator(as_list)] = Field(min_length=1)
    minimize: Relaxation = Relaxation()

    @field_validator("models", "complexes", mode="after")
    @classmethod
    def _unique_names(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return require_unique(items, [item.name for item in items])

    @property
    def protocol(self) -> dict[str, object]:
        """Kind of campaign and how geometries are minimised."""
        return {"kind": self.kind, "minimize": self.minimize.protocol}


@dataclass(frozen=True, slots=True)
class ComplexCell:
    """One (model, complex)."""

    model: str
    complex: str
    structure: Complex = field(compare=False, repr=False)

    @property
    def source(self) -> str:
        """Name of the source that computes it."""
        return self.model

    def __str__(self) -> str:
        return f"{self.model}, {self.complex}"


def load_spec(path: Path) -> ComplexesSpec:
    """Read a campaign file of this kind; its paths become relative to the file.

    Raises
    ------
    CampaignError
        When the file is not YAML, or a field is wrong.
    """
    spec = read_spec(path, ComplexesSpec)
    base = path.resolve().parent
    models = tuple(entry.resolved(base) for entry in spec.models)
    complexes = tuple(entry.model_copy(update={"file": resolve_path(base, entry.file)}) for entry in spec.complexes)
    return spec.model_copy(update={"models": models, "complexes": complexes})


class ComplexError(CampaignError):
    """A complex of a campaign that cannot be used; the message names the complex, the field and the file."""


def read_complexes(entries: Iterable[ComplexEntry]) -> tuple[Complex, ...]:
    """Read every complex of a campaign.

    Raises
    ------
    ComplexError
        When a file cannot be read, or A and B are not two different sets of its atoms.
    """
    return tuple(_read(entry) for entry in entries)


def _read(entry: ComplexEntry) -> Complex:
    from ase.io import read

    path = Path(entry.file)
    if not path.is_file():
        raise ComplexError(f"complex {entry.name}: expected a file {path}, found none")
    try:
        atoms = read(path, index=-1)
    except Exception as error:  # readers of foreign files may raise anything
        raise ComplexError(
            f"complex {entry.name}: expected a structure that ASE reads in {path}, found "
            f"{type(error).__name__}: {error}"
        ) from error
    if any(atoms.pbc):
        raise ComplexError(f"complex {entry.name}: expected molecules without periodic images in {path}, found a cell")
    if not len(atoms):
        raise ComplexError(f"complex {entry.name}: expected atoms in {path}, found none")
    owner = np.full(len(atoms), 2)
    for index, (name, chosen) in enumerate((("A", entry.A), ("B", entry.B))):
        _require_atoms(entry, name, chosen, len(atoms))
        owner[list(chosen)] = index
    if both := sorted(set(entry.A) & set(entry.B)):
        raise ComplexError(f"complex {entry.name}: expected A and B apart, found atoms {both} in both")
    numbers, positions = np.asarray(atoms.numbers), np.asarray(atoms.positions, dtype=float)
    kinds = tuple(kind_in_order(numbers[owner == part], positions[owner == part]) for part in range(owner.max() + 1))
    structure = Structure(numbers, positions, owner, kinds)
    _require_molecules(entry, structure)
    return Complex(entry.name, structure, entry.geometry == "free")


def _require_molecules(entry: ComplexEntry, structure: Structure) -> None:
    """Refuse a mark that cuts a bond, most often an index that is off by one."""
    bonded = relative_distances(structure.numbers, structure.positions) < BOND
    cut = bonded & (structure.molecules[:, None] < structure.molecules[None])
    if cut.any():
        first, second = (int(atom) for atom in np.argwhere(cut)[0])
        parts = " and ".join("ABC"[structure.molecules[atom]] for atom in (first, second))
        raise ComplexError(
            f"complex {entry.name}: expected no bond between {parts}, found atoms {first} and {second}, "
            f"{np.linalg.norm(structure.positions[first] - structure.positions[second]):.2f} A apart"
        )


def _require_atoms(entry: ComplexEntry, name: str, chosen: Sequence[int], count: int) -> None:
    if outside := [atom for atom in chosen if atom >= count]:
        raise ComplexError(
            f"complex {entry.name}, {name}: expected atoms 0 to {count - 1} of {entry.file}, found {outside[0]}"
        )
