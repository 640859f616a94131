"""What the specs of all kinds of campaigns share: the base class, models, files and lists."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from ase.data import atomic_numbers, chemical_symbols
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hbcoop_dist.core.yaml_source import YamlError, read_model
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, ModelError
from hbcoop_dist.models.families.ase_calculator import DEFAULT_ELEMENTS, calculator_card, files_beside

T = TypeVar("T")
SpecT = TypeVar("SpecT", bound="CampaignSpec")
StrictPositive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class CampaignError(ValueError):
    """A campaign that cannot be used; the message has one line per problem."""


class Frozen(BaseModel):
    """Part of a spec: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CampaignSpec(Frozen):
    """Base class of the specs of all kinds of campaigns."""

    campaign: str = Field(min_length=1)
    kind: str

    @property
    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """Everything that decides the meaning of the numbers of a store; it may not change within one."""

    def to_json(self) -> str:
        """Return the spec as the history of a store keeps it."""
        return self.model_dump_json(exclude_none=True)


def read_spec(path: Path, model: type[SpecT]) -> SpecT:
    """Read a campaign file as a spec.

    Raises
    ------
    CampaignError
        When the file is not YAML, or a field is wrong; the message names file, line and field.
    """
    try:
        return read_model(path, model)
    except YamlError as error:
        raise CampaignError(str(error)) from None


def name_only(value: Any) -> Any:
    """Expand a bare text, the name of an entry, into a mapping."""
    return {"name": value} if isinstance(value, str) else value


def as_list(value: Any) -> Any:
    """Wrap a single value into a list."""
    return value if isinstance(value, list | tuple) else [value]


def require_unique(items: tuple[T, ...], names: Sequence[str]) -> tuple[T, ...]:
    """Return `items`, or raise ValueError when a name occurs more than once."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected every name once, found {', '.join(repeated)} more than once")
    return items


def resolve_path(base: Path, name: str) -> str:
    """Return a path of a campaign file, relative to the folder of the file.

    ``~`` and environment variables are expanded as in a shell; a variable that is not set stays as written.
    """
    return str(base / Path(os.path.expandvars(name)).expanduser())


def _atomic_numbers(value: Any) -> list[int]:
    items = value if isinstance(value, list) else [value]
    numbers = [atomic_numbers.get(item) if isinstance(item, str) else item for item in items]
    if not items or not all(type(z) is int and 0 < z < len(atomic_numbers) for z in numbers):
        raise ValueError(f"expected symbols or atomic numbers of elements, found {value!r}")
    return sorted({int(z) for z in numbers if z is not None})


class ModelEntry(Frozen):
    """Model of a campaign: a registered name, a checkpoint of a known family, or an ASE calculator."""

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
    def _consistent(self) -> ModelEntry:
        of_calculators = [
            name for name in ("kwargs", "elements", "dtype", "atom_energies") if getattr(self, name) is not None
        ]
        if self.calculator is None and of_calculators:
            raise ValueError(f"expected a calculator beside {', '.join(of_calculators)}, found none")
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
        """Return the card of the model; a new checkpoint has its family's card under this name."""
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

    def resolved(self, base: Path) -> ModelEntry:
        """Return the entry with its paths relative to the folder `base` of the campaign file.

        Of the arguments of a calculator only those that name a file in that folder are taken for paths.
        """
        if self.checkpoint is not None:
            return self.model_copy(update={"checkpoint": resolve_path(base, self.checkpoint)})
        if self.kwargs is not None:
            return self.model_copy(update={"kwargs": files_beside(base, self.kwargs)})
        return self


ModelItem = Annotated[ModelEntry, BeforeValidator(name_only)]
Models = Annotated[tuple[ModelItem, ...], BeforeValidator(as_list)]


def names_of(entries: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the names of entries of a spec that is read as plain data."""
    return frozenset(str(entry["name"]) for entry in entries)
