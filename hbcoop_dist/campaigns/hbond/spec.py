"""The campaign spec: what a user writes in YAML, checked before anything runs, and the cells it stands for.

Read a campaign file; every complaint names file, line, field, what was expected and what was found.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from hbcoop_dist.campaigns.spec_fields import CappingEntry, ComplexEntry, Frozen, Lengths, ModelEntry
from hbcoop_dist.core.resources import find_file
from hbcoop_dist.core.yaml_source import YamlError, place_of, read_model
from hbcoop_dist.models import registry
from hbcoop_dist.models.families.ase_calculator import files_beside
from hbcoop_dist.optimize.external.availability import (
    FLOOR,
    PAPER_TOLERANCE,
    Optimiser,
    forces_dtype,
    not_installed,
    not_minimised,
)
from hbcoop_dist.references import bundled_geometries
from hbcoop_dist.structures import Chain, Rotamer, conformers_of, rotamers_of
from hbcoop_dist.structures.chains import Capping, Pattern

LOWEST = "lowest"
"""Rotamers that are chosen by energy, model by model and unit by unit (`rotamers`)."""
T = TypeVar("T")


Force = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


Engine = Literal["own", "openmm"]

OPENMM_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"constraint": "torsions", "max_force": 0.03, "max_calls": 5000, "tolerance": PAPER_TOLERANCE}
)
"""Of ``engine: openmm``: the published protocol, and what of it float32 can reach (`with_openmm`)."""


class Minimize(Frozen):
    """How geometries are minimised."""

    engine: Engine = Field(
        default="own", description="own, or openmm: OpenMM's minimiser on openmm-ml's float32 forces, as in the paper"
    )
    max_force: float = Field(
        default=1.0e-5, gt=0, allow_inf_nan=False, strict=True, description="largest force left on an atom, eV/A"
    )
    rms_force: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, strict=True, description="RMS over force components, eV/A"
    )
    tolerance: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, strict=True, description="of OpenMM's minimiser: RMS force, kJ/mol/nm"
    )
    constraint: Literal["mirror", "torsions", "none"] = "mirror"
    max_calls: int = Field(default=500, ge=1, description="force calls before giving up")
    optimiser: Optimiser = Field(default="tree", description="ours (tree), or another package's as a cross-check")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_engine(cls, value: Any) -> Any:
        return {**OPENMM_DEFAULTS, **value} if isinstance(value, Mapping) and value.get("engine") == "openmm" else value

    @field_validator("rms_force", "tolerance", "constraint", "optimiser", mode="after")
    @classmethod
    def _of_engine(cls, value: Any, info: ValidationInfo) -> Any:
        name, openmm = str(info.field_name), info.data.get("engine") == "openmm"
        if name == "tolerance" and (value is not None) != openmm:
            raise ValueError(f"expected it beside engine openmm, and only there, found {value}")
        allowed = {"rms_force": None, "constraint": "torsions", "optimiser": "tree"}
        if openmm and name in allowed and value != allowed[name]:
            instead = {"rms_force": "tolerance (kJ/mol/nm)", "optimiser": "none (it has its own)"}
            raise ValueError(f"expected {instead.get(name, allowed[name])} beside engine openmm, found {value}")
        return value

    @field_validator("optimiser", mode="after")
    @classmethod
    def _installed(cls, optimiser: Optimiser) -> Optimiser:
        if reason := not_installed(optimiser):
            raise ValueError(reason)
        return optimiser

    @property
    def protocol(self) -> dict[str, object]:
        """What of it decides a result; how many calls are granted does not."""
        # what the other engine has no use for stays out, as it did from stores before there was another
        unused = {"engine", "tolerance"} if self.engine == "own" else {"optimiser", "rms_force"}
        return self.model_dump(exclude={"max_calls", *unused})


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _rotamer_rule(value: Any) -> dict[str, str]:
    """``default``, ``lowest``, ``"cis-N, trans-C"`` or a mapping by unit type, as one canonical mapping."""
    if value == "default":
        return {"all": str(Rotamer())}
    if value == LOWEST:
        return {"all": LOWEST}
    if isinstance(value, str):
        return {"all": str(Rotamer.parse(value))}
    if isinstance(value, Mapping) and value:
        rule = {str(kind): Rotamer.parse(str(text)) for kind, text in value.items()}
        rotamers_of(rule, 2)
        return {kind: str(rotamer) for kind, rotamer in {**rule, "all": rule.get("all", Rotamer())}.items()}
    raise ValueError(f'expected default, lowest, "cis-N, trans-C" or a mapping by unit type, found {value!r}')


ModelItem = Annotated[ModelEntry, BeforeValidator(_named)]
CappingItem = Annotated[CappingEntry, BeforeValidator(_named)]
RotamerRule = Annotated[dict[str, str], BeforeValidator(_rotamer_rule)]


class CampaignSpec(Frozen):
    """A hydrogen-bond campaign, as written in YAML (design, section 7)."""

    campaign: str = Field(min_length=1)
    kind: Literal["hbond"] = "hbond"
    models: Annotated[tuple[ModelItem, ...], BeforeValidator(_listed)] = Field(min_length=1)
    patterns: Annotated[tuple[Pattern, ...], BeforeValidator(_listed)] = Field(("arc",), min_length=1)
    lengths: Lengths = Field(default=(), validate_default=False)
    capping: Annotated[tuple[CappingItem, ...], BeforeValidator(_listed)] = Field(
        (CappingEntry(name="none"),), min_length=1
    )
    geometry: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(("own",), min_length=1)
    rotamer: Annotated[tuple[RotamerRule, ...], BeforeValidator(_listed)] = Field(
        ({"all": str(Rotamer())},), min_length=1
    )
    minimize: Minimize = Minimize()
    systems: Annotated[tuple[ComplexEntry, ...], BeforeValidator(_listed)] = ()

    @model_validator(mode="after")
    def _something_asked(self) -> CampaignSpec:
        if not self.lengths and not self.systems:
            raise ValueError("expected lengths, or systems, found neither")
        return self

    @field_validator("models", "capping", "systems", mode="after")
    @classmethod
    def _unique_names(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return _unique(items, [item.name for item in items])

    @field_validator("patterns", mode="after")
    @classmethod
    def _unique_values(cls, items: tuple[str, ...]) -> tuple[str, ...]:
        return _unique(items, list(items))

    @field_validator("geometry", mode="after")
    @classmethod
    def _unique_geometries(cls, items: tuple[str, ...]) -> tuple[str, ...]:
        return _unique(items, [PurePath(item).name for item in items])

    @field_validator("rotamer", mode="after")
    @classmethod
    def _unique_rotamers(cls, items: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
        return _unique(items, [rotamer_label(item) for item in items])

    @field_validator("rotamer", mode="after")
    @classmethod
    def _lowest_of_own(cls, items: tuple[dict[str, str], ...], info: ValidationInfo) -> tuple[dict[str, str], ...]:
        given = [name for name in info.data.get("geometry", ()) if name != "own"]
        if given and any(rotamer_label(item) == LOWEST for item in items):
            raise ValueError(
                f"expected geometry own beside {LOWEST} (given ones have their rotamers), found {', '.join(given)}"
            )
        return items

    @model_validator(mode="after")
    def _lenders_have_minima(self) -> CampaignSpec:
        if self.lenders and "own" not in self.geometry:
            raise ValueError(
                f"expected geometry own beside {', '.join(self.lenders)}, whose minima are to be taken, found none"
            )
        without = [
            entry.name for entry in self.models if entry.name in self.lenders and not entry.card().abilities.forces
        ]
        if without:
            raise ValueError(f"geometry: expected models with forces, which have minima, found {', '.join(without)}")
        return self

    @model_validator(mode="after")
    def _systems_are_relaxed_by_us(self) -> CampaignSpec:
        if self.minimize.engine != "own" and any(entry.geometry == "free" for entry in self.systems):
            raise ValueError(f"expected systems of geometry fixed beside engine {self.minimize.engine}, found free")
        return self

    @model_validator(mode="after")
    def _lenders_are_asked_for(self) -> CampaignSpec:
        absent = [name for name in self.geometry if name in registry.cards() and name not in self.lenders]
        if absent:
            raise ValueError(
                f"expected {', '.join(absent)} among the models of the campaign, whose minima are to be taken, found "
                f"{', '.join(entry.name for entry in self.models)}; a folder of that name is written ./{absent[0]}"
            )
        return self

    @property
    def lenders(self) -> tuple[str, ...]:
        """Models of the campaign whose own minima are a geometry for all."""
        names = {entry.name for entry in self.models}
        return tuple(name for name in self.geometry if name in names)

    @field_validator("minimize", mode="after")
    @classmethod
    def _engine_runs_models(cls, minimize: Minimize, info: ValidationInfo) -> Minimize:
        cards = [entry.card() for entry in info.data.get("models", ())] if minimize.engine == "openmm" else []
        if reasons := [reason for card in cards if (reason := not_minimised(card))]:
            raise ValueError(f"engine openmm: {'; '.join(dict.fromkeys(reasons))}")
        if minimize.max_force < FLOOR and any(forces_dtype(card) == "float32" for card in cards):
            raise ValueError(
                f"max_force: expected at least {FLOOR} eV/A beside engine openmm, whose forces are float32, "
                f"found {minimize.max_force}"
            )
        return minimize

    @property
    def protocol(self) -> dict[str, object]:
        """What decides the meaning of every number of a store: it may not change within one."""
        return {"kind": self.kind, "minimize": self.minimize.protocol}

    @property
    def rotamer_labels(self) -> tuple[str, ...]:
        """One label per rotamer rule, as on the store's rotamer axis."""
        return tuple(rotamer_label(rule) for rule in self.rotamer)

    @property
    def geometry_labels(self) -> tuple[str, ...]:
        """One label per geometry, as on the store's axis: ``own``, the name of a model, or that of a folder."""
        return tuple(PurePath(name).name for name in self.geometry)


def _unique(items: tuple[T, ...], names: list[str]) -> tuple[T, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected every name once, found {', '.join(twice)} more than once")
    return items


@dataclass(frozen=True, slots=True)
class Cell:
    """One (model, pattern, length, capping, geometry, rotamer) and the system it stands for."""

    model: str
    pattern: Pattern
    length: int
    capping: Capping
    geometry: str
    rotamer: str
    system: Chain = field(hash=False)  # follows from the labels, and costs ten times as much to hash

    @property
    def by_energy(self) -> bool:
        """Whether its rotamers are chosen by energy; until they are, `system` has the default ones."""
        return self.rotamer == LOWEST

    @property
    def labels(self) -> dict[str, str | int]:
        """Labels in the store, by dim."""
        return {
            "model": self.model,
            "pattern": self.pattern,
            "length": self.length,
            "capping": self.capping,
            "geometry": self.geometry,
            "rotamer": self.rotamer,
        }

    def __str__(self) -> str:
        extra = "" if self.geometry == "own" else f", geometry {self.geometry}"
        return f"{self.model}, {self.pattern}, n = {self.length}, capping {self.capping}{extra} ({self.rotamer})"


def rotamer_label(rule: Mapping[str, str]) -> str:
    """Label of a rotamer rule: ``cis-N, trans-C``, or ``odd: cis-N, cis-C; all: cis-N, trans-C``."""
    if set(rule) == {"all"}:
        return rule["all"]
    return "; ".join(f"{kind}: {rotamer}" for kind, rotamer in rule.items())


def cells_of(spec: CampaignSpec) -> tuple[Cell, ...]:
    """Every cell a spec asks for, models first; needs no MLFF package. Models share the systems of their cells."""
    places = list(_places(spec))
    return tuple(Cell(model.name, *place) for model in spec.models for place in places)


def _places(spec: CampaignSpec) -> Iterator[tuple[Pattern, int, Capping, str, str, Chain]]:
    """What a cell is besides its model."""
    for geometry in spec.geometry_labels:
        for rule, label in zip(spec.rotamer, spec.rotamer_labels, strict=True):
            parsed = {} if label == LOWEST else {kind: Rotamer.parse(text) for kind, text in rule.items()}
            for capping in spec.capping:
                for pattern in spec.patterns:
                    for length in _lengths(spec, capping):
                        system = Chain(conformers_of(pattern, length), rotamers_of(parsed, length), capping.name)
                        yield pattern, length, capping.name, geometry, label, system


def _lengths(spec: CampaignSpec, capping: CappingEntry) -> Sequence[int]:
    return spec.lengths if capping.lengths is None else capping.lengths


class CampaignError(ValueError):
    """A campaign file that cannot be used; the message has one line per problem."""


def load_campaign(name: str | Path) -> CampaignSpec:
    """Load a campaign by path, or by the name of a bundled one (``quickstart``, ``nma``).

    Parameters
    ----------
    name : str or Path

    Returns
    -------
    CampaignSpec

    Raises
    ------
    CampaignError
        When there is no such file, it is not YAML, or a field is wrong.
    """
    try:
        path = find_file(name, "campaigns")
    except FileNotFoundError as error:
        raise CampaignError(str(error)) from None
    try:
        spec = read_model(path, CampaignSpec)
    except YamlError as error:
        raise CampaignError(str(error)) from None
    return _resolved(spec, path)


def _resolved(spec: CampaignSpec, path: Path) -> CampaignSpec:
    """Paths in a file are relative to the file."""
    base = path.resolve().parent
    models = tuple(_entry_resolved(base, entry) for entry in spec.models)
    geometry = tuple(_geometry(path, name, spec.lenders) for name in spec.geometry)
    systems = tuple(entry.model_copy(update={"file": _absolute(base, entry.file)}) for entry in spec.systems)
    return spec.model_copy(update={"models": models, "geometry": geometry, "systems": systems})


def _geometry(path: Path, name: str, lenders: Collection[str]) -> str:
    """``own``, a model and a bundled set stay what they are; everything else is a folder."""
    base, bundled = path.resolve().parent, bundled_geometries()
    if name == "own" or name in lenders:
        return name
    if name in bundled:
        if (base / name).is_dir():
            raise CampaignError(
                f"{place_of(path, 'geometry')}: expected {name} to be the set that comes with the package, found a "
                "folder of that name beside the file too; give the folder another name"
            )
        return name
    folder = _absolute(base, name)
    if not Path(folder).is_dir():
        raise CampaignError(
            f"{place_of(path, 'geometry')}: expected own, a model of the campaign, a set that comes with the package "
            f"({', '.join(bundled)}), or a folder of .xyz files, found no {folder}"
        )
    return folder


def _entry_resolved(base: Path, entry: ModelEntry) -> ModelEntry:
    """A checkpoint is a path; of a calculator's arguments only what is a file beside the campaign is taken for one."""
    if entry.checkpoint is not None:
        return entry.model_copy(update={"checkpoint": _absolute(base, entry.checkpoint)})
    if entry.kwargs is not None:
        return entry.model_copy(update={"kwargs": files_beside(base, entry.kwargs)})
    return entry


def _absolute(base: Path, name: str) -> str:
    """`~` and environment variables as in a shell; one that is not set stays as written, and is not found so."""
    return str(base / Path(os.path.expandvars(name)).expanduser())
