"""Spec of a hydrogen-bond campaign: the fields of the YAML file, and the cells that they ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from hbcoop_dist.campaigns.spec_fields import (
    CampaignError,
    CampaignSpec,
    Frozen,
    Models,
    StrictPositive,
    as_list,
    name_only,
    read_spec,
    require_unique,
    resolve_path,
)
from hbcoop_dist.core.yaml_source import place_of
from hbcoop_dist.models import registry
from hbcoop_dist.optimize.constraints import Constraint
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
from hbcoop_dist.structures.chains import Capping, Pattern, rotamer_label

LOWEST = "lowest"
"""Rotamers chosen by energy for each model and unit (`rotamer_search`)."""
MAX_LENGTH = 200

Engine = Literal["own", "openmm"]

OPENMM_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"max_force": 0.03, "max_calls": 5000, "tolerance": PAPER_TOLERANCE}
)
"""Defaults of ``engine: openmm``: the published protocol, as far as float32 forces can reach it."""
_LABELS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {"patterns": str, "geometry": lambda folder: PurePath(folder).name, "rotamer": rotamer_label, "constraint": str}
)
"""Labels in the store of the items of fields whose items have no name."""


class Minimize(Frozen):
    """How geometries are minimised."""

    engine: Engine = Field(
        default="own", description="own, or openmm: OpenMM's minimiser on openmm-ml's float32 forces, as in the paper"
    )
    max_force: StrictPositive = Field(default=1.0e-5, description="largest force left on an atom, eV/A")
    rms_force: StrictPositive | None = Field(default=None, description="RMS over force components, eV/A")
    tolerance: StrictPositive | None = Field(default=None, description="of OpenMM's minimiser: RMS force, kJ/mol/nm")
    max_calls: int = Field(default=500, ge=1, description="force calls before giving up")
    optimiser: Optimiser = Field(default="tree", description="ours (tree), or another package's as a cross-check")

    @model_validator(mode="before")
    @classmethod
    def _engine_defaults(cls, value: Any) -> Any:
        return {**OPENMM_DEFAULTS, **value} if isinstance(value, Mapping) and value.get("engine") == "openmm" else value

    @field_validator("rms_force", "tolerance", "optimiser", mode="after")
    @classmethod
    def _fits_engine(cls, value: Any, info: ValidationInfo) -> Any:
        name, openmm = str(info.field_name), info.data.get("engine") == "openmm"
        if name == "tolerance" and (value is not None) != openmm:
            raise ValueError(f"expected it beside engine openmm, and only there, found {value}")
        allowed = {"rms_force": None, "optimiser": "tree"}
        if openmm and name in allowed and value != allowed[name]:
            instead = {"rms_force": "tolerance (kJ/mol/nm)", "optimiser": "none (it has its own)"}
            raise ValueError(f"expected {instead[name]} beside engine openmm, found {value}")
        return value

    @field_validator("optimiser", mode="after")
    @classmethod
    def _installed(cls, optimiser: Optimiser) -> Optimiser:
        if reason := not_installed(optimiser):
            raise ValueError(reason)
        return optimiser

    @property
    def protocol(self) -> dict[str, object]:
        """The fields that decide a result; the number of calls granted does not."""
        # fields of the other engine stay out, so that each engine's keys depend on its own fields only
        unused = {"engine", "tolerance"} if self.engine == "own" else {"optimiser", "rms_force"}
        return self.model_dump(exclude={"max_calls", *unused})


def _expand_lengths(value: Any) -> Any:
    """Expand a number, a range ``"2..12"`` (both ends included), or a list of either."""
    lengths: list[Any] = []
    for item in value if isinstance(value, list) else [value]:
        match = re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*", item) if isinstance(item, str) else None
        if match:
            first, last = int(match[1]), int(match[2])
            if last > MAX_LENGTH:
                raise ValueError(f"expected lengths from 2 to {MAX_LENGTH}, found {item!r}")
            if first > last:
                raise ValueError(f'expected a range like "2..12", found {item!r}')
            lengths += range(first, last + 1)
        elif isinstance(item, int) and not isinstance(item, bool):
            lengths.append(item)
        else:
            raise ValueError(f'expected whole numbers or ranges like "2..12", found {item!r}')
    if not lengths or min(lengths) < 2 or max(lengths) > MAX_LENGTH:
        raise ValueError(f"expected lengths from 2 to {MAX_LENGTH}, found {value!r}")
    return sorted(set(lengths))


Lengths = Annotated[tuple[int, ...], BeforeValidator(_expand_lengths)]


class CappingEntry(Frozen):
    """A capping, for all lengths of the campaign or only for some."""

    name: Capping
    lengths: Lengths | None = None


def _rotamer_rule(value: Any) -> dict[str, str]:
    """Return ``default``, ``lowest``, ``"cis-N, trans-C"`` or a mapping by unit type as one canonical mapping."""
    if value == "default":
        return {"all": str(Rotamer())}
    if value == LOWEST:
        return {"all": LOWEST}
    if isinstance(value, str):
        return {"all": str(Rotamer.parse(value))}
    if isinstance(value, Mapping) and value:
        rule = {str(unit_type): Rotamer.parse(str(text)) for unit_type, text in value.items()}
        rotamers_of(rule, 2)
        return {unit_type: str(rotamer) for unit_type, rotamer in {**rule, "all": rule.get("all", Rotamer())}.items()}
    raise ValueError(f'expected default, lowest, "cis-N, trans-C" or a mapping by unit type, found {value!r}')


CappingItem = Annotated[CappingEntry, BeforeValidator(name_only)]
RotamerRule = Annotated[dict[str, str], BeforeValidator(_rotamer_rule)]


class HBondSpec(CampaignSpec):
    """Hydrogen-bond campaign, as written in YAML."""

    kind: Literal["hbond"] = "hbond"
    models: Models = Field(min_length=1)
    patterns: Annotated[tuple[Pattern, ...], BeforeValidator(as_list)] = Field(("arc",), min_length=1)
    lengths: Lengths = Field(min_length=1)
    capping: Annotated[tuple[CappingItem, ...], BeforeValidator(as_list)] = Field(
        (CappingEntry(name="none"),), min_length=1
    )
    geometry: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(("own",), min_length=1)
    rotamer: Annotated[tuple[RotamerRule, ...], BeforeValidator(as_list)] = Field(
        ({"all": str(Rotamer())},), min_length=1
    )
    constraint: Annotated[tuple[Constraint, ...], BeforeValidator(as_list)] = Field(
        ("torsions",),
        min_length=1,
        description="torsions: phi1 and phi2 are held, as in the paper; mirror: planar; none",
    )
    minimize: Minimize = Minimize()

    @field_validator("models", "capping", "patterns", "geometry", "rotamer", "constraint", mode="after")
    @classmethod
    def _unique(cls, items: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        label = _LABELS.get(str(info.field_name), attrgetter("name"))
        return require_unique(items, [label(item) for item in items])

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
    def _geometry_models_have_minima(self) -> HBondSpec:
        models = self.geometry_models
        if models and "own" not in self.geometry:
            raise ValueError(
                f"expected geometry own beside {', '.join(models)}, whose minima are to be taken, found none"
            )
        without = [entry.name for entry in self.models if entry.name in models and not entry.card().abilities.forces]
        if without:
            raise ValueError(f"geometry: expected models with forces, which have minima, found {', '.join(without)}")
        absent = [name for name in self.geometry if name in registry.cards() and name not in models]
        if absent:
            raise ValueError(
                f"expected {', '.join(absent)} among the models of the campaign, whose minima are to be taken, found "
                f"{', '.join(entry.name for entry in self.models)}; a folder of that name is written ./{absent[0]}"
            )
        return self

    @model_validator(mode="after")
    def _openmm_holds_torsions(self) -> HBondSpec:
        if self.minimize.engine == "openmm" and self.constraint != ("torsions",):
            raise ValueError(f"constraint: expected torsions beside engine openmm, found {', '.join(self.constraint)}")
        return self

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
    def geometry_models(self) -> tuple[str, ...]:
        """Models of the campaign whose own minima are a geometry of all models."""
        names = {entry.name for entry in self.models}
        return tuple(name for name in self.geometry if name in names)

    @property
    def protocol(self) -> dict[str, object]:
        """Kind of campaign and how geometries are minimised; the constraint is a label of every cell."""
        return {"kind": self.kind, "minimize": self.minimize.protocol}

    @property
    def rotamer_labels(self) -> tuple[str, ...]:
        """One label per rotamer rule, as on the rotamer axis of the store."""
        return tuple(rotamer_label(rule) for rule in self.rotamer)

    @property
    def geometry_labels(self) -> tuple[str, ...]:
        """One label per geometry: ``own``, the name of a model, or that of a folder."""
        return tuple(PurePath(name).name for name in self.geometry)


@dataclass(frozen=True, slots=True)
class Cell:
    """One (model, pattern, length, capping, geometry, rotamer, constraint) and the chain that it stands for."""

    model: str
    pattern: Pattern
    length: int
    capping: Capping
    geometry: str
    rotamer: str
    constraint: Constraint
    chain: Chain = field(hash=False)  # follows from the labels, and costs ten times as much to hash

    @property
    def source(self) -> str:
        """Name of the source that computes it."""
        return self.model

    @property
    def by_energy(self) -> bool:
        """Whether its rotamers are chosen by energy; `chain` has the default ones until they are."""
        return self.rotamer == LOWEST

    def __str__(self) -> str:
        extra = f", {self.constraint}" if self.geometry == "own" else f", geometry {self.geometry}"
        return f"{self.model}, {self.pattern}, n = {self.length}, capping {self.capping}{extra} ({self.rotamer})"


def cells_of(spec: HBondSpec) -> tuple[Cell, ...]:
    """Return every cell of a spec, models first; the models share the chains of their cells."""
    places = list(_places(spec))
    return tuple(Cell(model.name, *place) for model in spec.models for place in places)


def _places(spec: HBondSpec) -> Iterator[tuple[Pattern, int, Capping, str, str, Constraint, Chain]]:
    """Yield the labels of cells but for the model, and their chains."""
    for geometry, constraint in product(spec.geometry_labels, spec.constraint):
        for rule, label in zip(spec.rotamer, spec.rotamer_labels, strict=True):
            rotamers = {} if label == LOWEST else {kind: Rotamer.parse(text) for kind, text in rule.items()}
            for capping in spec.capping:
                for pattern in spec.patterns:
                    for length in _lengths(spec, capping):
                        chain = Chain(conformers_of(pattern, length), rotamers_of(rotamers, length), capping.name)
                        yield pattern, length, capping.name, geometry, label, constraint, chain


def _lengths(spec: HBondSpec, capping: CappingEntry) -> Sequence[int]:
    return spec.lengths if capping.lengths is None else capping.lengths


def load_spec(path: Path) -> HBondSpec:
    """Read a campaign file of this kind; its paths become relative to the file.

    Raises
    ------
    CampaignError
        When the file is not YAML, a field is wrong, or a folder of geometries does not exist.
    """
    spec = read_spec(path, HBondSpec)
    models = tuple(entry.resolved(path.resolve().parent) for entry in spec.models)
    geometry = tuple(_resolve_geometry(path, name, spec.geometry_models) for name in spec.geometry)
    return spec.model_copy(update={"models": models, "geometry": geometry})


def _resolve_geometry(path: Path, name: str, models: Collection[str]) -> str:
    """Return ``own``, a model or a bundled set as it is, and the path of a folder."""
    base, bundled = path.resolve().parent, bundled_geometries()
    if name == "own" or name in models:
        return name
    if name in bundled:
        if (base / name).is_dir():
            raise CampaignError(
                f"{place_of(path, 'geometry')}: expected {name} to be the set that comes with the package, found a "
                "folder of that name beside the file too; give the folder another name"
            )
        return name
    folder = resolve_path(base, name)
    if not Path(folder).is_dir():
        raise CampaignError(
            f"{place_of(path, 'geometry')}: expected own, a model of the campaign, a set that comes with the package "
            f"({', '.join(bundled)}), or a folder of .xyz files, found no {folder}"
        )
    return folder
