"""One model, one capping, one marked system of a campaign, as a user writes them."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Any, Literal

from ase.data import atomic_numbers, chemical_symbols
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, ModelError
from hbcoop_dist.models.families.ase_calculator import DEFAULT_ELEMENTS, calculator_card
from hbcoop_dist.structures.chains import Capping

MAX_LENGTH = 200


class Frozen(BaseModel):
    """A part of a spec: unchangeable, and unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _expand_lengths(value: Any) -> Any:
    """Lengths may be a number, a range ``"2..12"`` (both ends included), or a list of either."""
    items = value if isinstance(value, list) else [value]
    out: list[Any] = []
    for item in items:
        match = re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*", item) if isinstance(item, str) else None
        if match:
            first, last = int(match[1]), int(match[2])
            if last > MAX_LENGTH:
                raise ValueError(f"expected lengths from 2 to {MAX_LENGTH}, found {item!r}")
            if first > last:
                raise ValueError(f'expected a range like "2..12", found {item!r}')
            out += range(first, last + 1)
        elif isinstance(item, int) and not isinstance(item, bool):
            out.append(item)
        else:
            raise ValueError(f'expected whole numbers or ranges like "2..12", found {item!r}')
    if not out or min(out) < 2 or max(out) > MAX_LENGTH:
        raise ValueError(f"expected lengths from 2 to {MAX_LENGTH}, found {value!r}")
    return sorted(set(out))


Lengths = Annotated[tuple[int, ...], BeforeValidator(_expand_lengths)]


def _atomic_numbers(value: Any) -> list[int]:
    """Elements as symbols or atomic numbers."""
    items = value if isinstance(value, list) else [value]
    numbers = [atomic_numbers.get(item) if isinstance(item, str) else item for item in items]
    if not items or not all(type(z) is int and 0 < z < len(atomic_numbers) for z in numbers):
        raise ValueError(f"expected symbols or atomic numbers of elements, found {value!r}")
    return sorted({int(z) for z in numbers if z is not None})


class ModelEntry(Frozen):
    """One model of a campaign: a registered name, a new checkpoint of a family, or an ASE calculator."""

    name: str = Field(min_length=1)
    family: str | None = None
    checkpoint: str | None = None
    like: str | None = None
    options: dict[str, str | int | float | bool] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    trust: bool = False
    calculator: str | None = None
    kwargs: dict[str, Any] | None = None
    elements: Annotated[tuple[int, ...], BeforeValidator(_atomic_numbers)] | None = None
    dtype: Literal["float64", "float32"] | None = None
    atom_energies: bool | None = None

    @model_validator(mode="after")
    def _known(self) -> ModelEntry:
        mine = [name for name in ("kwargs", "elements", "dtype", "atom_energies") if getattr(self, name) is not None]
        if self.calculator is None and mine:
            raise ValueError(f"expected a calculator beside {', '.join(mine)}, found none")
        if self.calculator is not None and (self.family is not None or self.checkpoint is not None):
            raise ValueError("expected a calculator alone, found family or checkpoint beside it")
        if self.calculator is not None and self.name in registry.cards():
            raise ValueError(f"expected a name of its own for calculator {self.calculator}, found {self.name!r}")
        if self.family is not None and self.checkpoint is None:
            raise ValueError(f"expected a checkpoint beside family {self.family}, found none")
        if self.family is None and (self.sha256 or self.trust or self.like or self.options):
            raise ValueError("expected a family and its checkpoint beside like, options, sha256 or trust, found none")
        try:
            card = self.card()
        except ModelError as error:
            raise ValueError(str(error)) from None
        if missing := sorted({"H", "C", "N", "O"} - {chemical_symbols[z] for z in card.about.elements}):
            raise ValueError(f"expected a model that knows H, C, N and O, found none of {', '.join(missing)}")
        return self

    def card(self) -> ModelCard:
        """The model's card; for a new checkpoint, the family's with this name."""
        if self.calculator is not None:
            return calculator_card(
                self.name,
                self.calculator,
                self.kwargs,
                elements=self.elements or DEFAULT_ELEMENTS,
                dtype=self.dtype or "float64",
                atom_energies=bool(self.atom_energies),
            )
        if self.family is None or self.checkpoint is None:
            return registry.card(self.name)
        return registry.custom_card(
            self.name,
            self.family,
            self.checkpoint,
            like=self.like,
            options=self.options,
            sha256=self.sha256,
            trusted=self.trust,
        )


def _atoms(value: Any) -> tuple[int, ...]:
    """Atoms counted from 0, alone or in ranges ``"0-11"`` (both ends included), as one ascending tuple."""
    items = value if isinstance(value, list | tuple) else [value]
    out: list[int] = []
    for item in items:
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", item) if isinstance(item, str) else None
        if match and int(match[1]) <= int(match[2]):
            out += range(int(match[1]), int(match[2]) + 1)
        elif type(item) is int and item >= 0:
            out.append(item)
        else:
            raise ValueError(f'expected atoms counted from 0, alone or in ranges like "0-11", found {item!r}')
    if not out or len(set(out)) != len(out):
        raise ValueError(f"expected one or more atoms, each once, found {value!r}")
    return tuple(sorted(out))


Atoms = Annotated[tuple[int, ...], BeforeValidator(_atoms)]


class ComplexEntry(Frozen):
    """Any cluster in which a pair is marked: what is neither A nor B is C."""

    name: str = Field(default="", description="label in the store; the file's name unless given")
    file: str = Field(min_length=1)
    A: Atoms
    B: Atoms
    geometry: Literal["fixed", "free"] = Field(default="fixed", description="as in the file, or minimised from there")

    @model_validator(mode="before")
    @classmethod
    def _named_by_file(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("name") and isinstance(value.get("file"), str):
            return {**value, "name": PurePath(value["file"]).stem}
        return value


class CappingEntry(Frozen):
    """One capping, for all lengths of the campaign or only for some."""

    name: Capping
    lengths: Lengths | None = None
