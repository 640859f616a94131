"""Spec of a campaign of complexes: any cluster of molecules in which a pair A, B is marked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hbcoop_dist.campaigns.spec_fields import (
    CampaignSpec,
    Frozen,
    Models,
    as_list,
    read_spec,
    require_unique,
    resolve_path,
)
from hbcoop_dist.structures.complexes import Complex


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

    max_force: float = Field(
        default=1.0e-5, gt=0, allow_inf_nan=False, strict=True, description="largest force left on an atom, eV/A"
    )
    rms_force: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, strict=True, description="RMS over force components, eV/A"
    )
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
