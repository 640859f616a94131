"""The spec of a generalization campaign: what a user writes in YAML, checked before anything runs, and its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from hbcoop_dist.campaigns.spec_fields import (
    CampaignError,
    CampaignSpec,
    Frozen,
    as_list,
    name_only,
    names_of,
    read_spec,
    require_unique,
    resolve_path,
)
from hbcoop_dist.core.yaml_source import place_of
from hbcoop_dist.learning.datasets.frames import LABEL_KEYS, NUMERIC_LABELS
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import (
    architecture_names,
    check_architecture,
    find_architecture,
    scheme_names,
    scheme_options,
)
from hbcoop_dist.models import registry

CELL_DIMS = ("dataset", "split", "architecture", "scheme", "seed")
SPLITS = ("random", "size", "cluster", "maxsep_paper", "maxsep_fps")
Split = Literal["random", "size", "cluster", "maxsep_paper", "maxsep_fps"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Molecules = Annotated[int, Field(ge=1, le=64)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]

READING = ("labels", "require", "skip_incomplete", "neutral_molecules")
"""Fields of a set that say how its files are read, beside units."""


def _default(entry: type[Frozen], name: str) -> Any:
    return entry.model_fields[name].default


def _unsaid(value: Any) -> bool:
    return not value


LabelKeys = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]


def _a_label(name: str) -> str:
    # names become parts of file names: of networks, and of a report's figures
    if name.startswith(".") or any(separator in name for separator in "/\\"):
        raise ValueError(f"expected a name without slashes that begins with no dot, found {name!r}")
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_a_label)]


class DatasetEntry(Frozen):
    """A labelled set: generated and labelled by a teacher, or read from files."""

    name: Name
    generate: Literal["ionic", "neutral", "nma", "charge-states"] | None = Field(
        default=None, description="which structures are made"
    )
    teacher: str = Field(default="gfn2-xtb", description="model that labels them")
    size: int | None = Field(default=None, ge=4, description="structures generated, or the most drawn from files")
    seed: int = Field(default=0, ge=0, description="of what is generated, or taken")
    molecules: Annotated[tuple[Molecules, ...], BeforeValidator(as_list)] = Field(
        default=(), description="numbers of molecules of what is generated, which take turns"
    )
    cutoff: Positive = Field(default=4.5, description="A; molecules are put within it and beyond it")
    largest_leak: Weight | None = Field(
        default=None, description="e; labels in which the teacher shares more charge over more than 4 A are dropped"
    )
    level_of_theory: str = Field(default="unknown", description="of the labels in files")
    licence: str = Field(default="unknown", description="of files")
    source: str = Field(default="unknown", description="what to cite for files")
    energy_unit: Literal["eV", "Hartree", "kcal/mol", "kJ/mol"] = Field(default="eV", description="in files")
    length_unit: Literal["Angstrom", "Bohr"] = Field(default="Angstrom", description="in files")
    files: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(), description="extended XYZ, ASE databases, LMDBs or trajectories, folders of them, QMOF databases"
    )
    # what has not been asked for is in no key, and in no definition of a store: those from before it was there hold
    labels: Annotated[Mapping[str, LabelKeys], Field(exclude_if=_unsaid)] = Field(
        default_factory=dict, description="names that labels have in files, where they are not the usual ones"
    )
    require: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(exclude_if=_unsaid)] = Field(
        default=(), description="labels without which a structure in files is of no use"
    )
    skip_incomplete: Annotated[bool, Field(exclude_if=_unsaid)] = Field(
        default=False, description="leave out what cannot be used in files, and count it; else it is an error"
    )
    neutral_molecules: Annotated[bool, Field(exclude_if=_unsaid)] = Field(
        default=False, description="every molecule in files is neutral, so bonds tell which there are"
    )
    largest_train: Annotated[int | None, Field(exclude_if=_unsaid)] = Field(
        default=None, ge=1, description="atoms up to which the split by size trains; else it halves the set"
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatasetEntry:
        if (self.generate is None) == (not self.files):
            raise ValueError("expected either generate or files, found " + ("both" if self.files else "neither"))
        if self.generate is not None and self.size is None:
            raise ValueError("expected size, the number of structures to generate, found none")
        # a store keeps every field of its campaigns, said or not, and reads them again
        if self.files and self.teacher != _default(DatasetEntry, "teacher"):
            raise ValueError("expected no teacher beside files, which have their labels, found one")
        if not self.files and (odd := [name for name in READING if name in self.model_fields_set]):
            raise ValueError(f"expected {', '.join(odd)} beside files only, found generate")
        if (
            self.generate in ("ionic", "charge-states")
            and (card := registry.cards().get(self.teacher))
            and card.family != "xtb"
        ):
            raise ValueError(
                f"expected gfn2-xtb or gfn1-xtb to label ions, found {self.teacher}, for neutral molecules"
            )
        return self

    @field_validator("labels", "require", mode="after")
    @classmethod
    def _labels(cls, value: Any, info: ValidationInfo) -> Any:
        known = LABEL_KEYS if info.field_name == "labels" else NUMERIC_LABELS
        if unknown := sorted(set(value).difference(known)):
            raise ValueError(f"expected labels among {', '.join(known)}, found {', '.join(unknown)}")
        return value

    @field_validator("teacher", mode="after")
    @classmethod
    def _known(cls, teacher: str) -> str:
        if teacher not in registry.cards():
            raise ValueError(f"expected a registered model, found {teacher!r}; see hbcoop models list")
        return teacher


class ArchitectureEntry(Frozen):
    """A network without its long-range scheme."""

    name: Name
    architecture: str = Field(default="mace", description="family of networks; left out, the name says it")
    cutoff: Positive = Field(default=4.0, description="of one layer, A")
    layers: int = Field(default=2, ge=1, le=8, description="how often atoms gather from their neighbours")
    channels: int = Field(default=16, ge=1, le=512)
    max_ell: int = Field(default=2, ge=0, le=4, description="of the edges' spherical harmonics")
    hidden_ell: int = Field(default=1, ge=0, le=3, description="of the features that layers hand on")
    correlation: int = Field(default=2, ge=1, le=4, description="body order of a layer, less one")
    radial: int = Field(default=6, ge=1, le=32, description="radial basis functions")
    # not in the keys of networks without any: those trained before there were options stay valid
    options: Mapping[str, float | int | str | bool | list[int]] = Field(
        default_factory=dict, exclude_if=lambda options: not options, description="those of the architecture alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _called_so(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "architecture" in value or not isinstance(value.get("name"), str):
            return value
        name = value["name"]
        # mace-3 is a mace; a name that says none is more often mistyped than meant
        said = name if name in architecture_names() else name.partition("-")[0]
        if said not in architecture_names():
            known = ", ".join(architecture_names())
            raise ValueError(
                f"expected one of {known}, one of them with a hyphen and more, or an architecture beside the name, "
                f"found {name!r}"
            )
        return {**value, "architecture": said}

    @model_validator(mode="after")
    def _has_them(self) -> ArchitectureEntry:
        written = {name: getattr(self, name) for name in self.model_fields_set}
        check_architecture(self.architecture, written, self.options)
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is written can be read again, and what means nothing decides no key."""
        unused = find_architecture(self.architecture).unused
        return {name: value for name, value in handler(self).items() if name not in unused}


class SchemeEntry(Frozen):
    """A long-range scheme and its options."""

    name: Name
    scheme: str = "none"
    options: Mapping[str, float | int | str | bool | list[int]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _called_so(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "scheme" not in value and value.get("name") in scheme_names():
            return {**value, "scheme": value["name"]}
        return value

    @model_validator(mode="after")
    def _said(self) -> SchemeEntry:
        known = ", ".join(scheme_names())
        if "scheme" not in self.model_fields_set:
            raise ValueError(f"expected one of {known}, or a scheme beside the name, found {self.name!r}")
        if self.scheme not in scheme_names():
            raise ValueError(f"scheme: expected one of {known}, found {self.scheme!r}")
        return self


class Training(Frozen):
    """How every network is trained: the same number of steps for all."""

    steps: int = Field(default=1200, ge=1)
    batch_size: int = Field(default=8, ge=1, description="structures of a step")
    learning_rate: Positive = 0.01
    last_learning_rate: Positive = Field(default=1.0e-4, description="at the last step; cosine in between")
    energy_weight: Weight = Field(default=1.0, description="of squared errors per atom, 1/eV^2")
    forces_weight: Weight = Field(default=1.0, description="A^2/eV^2")
    charges_weight: Weight = Field(default=0.0, description="1/e^2; of schemes that have charges to compare")
    averaging: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the parameters' moving average; 0 for none"
    )
    largest_gradient: Positive = Field(default=10.0, description="norm above which a gradient is scaled down")
    validate_every: int = Field(default=100, ge=1, description="steps")
    validation: float = Field(
        default=0.1, gt=0, lt=0.5, description="part of the training structures kept for validation"
    )
    dtype: Literal["float32", "float64"] = "float32"


Labels = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class Exclusion(Frozen):
    """Networks left out: those that have one of the labels named here in every axis named here."""

    dataset: Labels = ()
    split: Annotated[tuple[Split, ...], BeforeValidator(as_list)] = ()
    architecture: Labels = ()
    scheme: Labels = ()
    seed: Annotated[tuple[Seed, ...], BeforeValidator(as_list)] = ()

    @model_validator(mode="after")
    def _of_something(self) -> Exclusion:
        if not any(getattr(self, dim) for dim in CELL_DIMS):
            raise ValueError(f"expected one of {', '.join(CELL_DIMS)}, found none, which would leave nothing")
        return self

    def excludes(self, cell: TrainingCell) -> bool:
        """Whether a cell is one of them."""
        named = [(getattr(self, dim), label) for dim, label in cell.labels.items()]
        return all(label in labels for labels, label in named if labels)


DatasetItem = Annotated[DatasetEntry, BeforeValidator(name_only)]
ArchitectureItem = Annotated[ArchitectureEntry, BeforeValidator(name_only)]
SchemeItem = Annotated[SchemeEntry, BeforeValidator(name_only)]


class GeneralizationSpec(CampaignSpec):
    """Generalization campaign, as written in YAML."""

    kind: Literal["generalization"]
    datasets: Annotated[tuple[DatasetItem, ...], BeforeValidator(as_list)] = Field(min_length=1)
    splits: Annotated[tuple[Split, ...], BeforeValidator(as_list)] = Field(default=("random",), min_length=1)
    architectures: Annotated[tuple[ArchitectureItem, ...], BeforeValidator(as_list)] = Field(
        default=(ArchitectureEntry(name="mace"),), min_length=1
    )
    schemes: Annotated[tuple[SchemeItem, ...], BeforeValidator(as_list)] = Field(
        default=(SchemeEntry(name="none", scheme="none"),), min_length=1
    )
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(as_list)] = Field(default=(0,), min_length=1)
    training: Training = Training()
    exclude: Annotated[tuple[Exclusion, ...], BeforeValidator(as_list)] = Field(
        default=(), description="networks of the product that are not asked for"
    )

    @field_validator("exclude", mode="after")
    @classmethod
    def _excludes_what_is_there(cls, items: tuple[Exclusion, ...], info: ValidationInfo) -> tuple[Exclusion, ...]:
        # fields that are wrong themselves are not among the data, and complained of already
        for dim, field in zip(CELL_DIMS, ("datasets", "splits", "architectures", "schemes", "seeds"), strict=True):
            there = [getattr(item, "name", item) for item in info.data.get(field, ())]
            asked = [label for one in items for label in getattr(one, dim)]
            if there and (foreign := [str(label) for label in asked if label not in there]):
                raise ValueError(f"expected {dim} among {', '.join(map(str, there))}, found {', '.join(foreign)}")
        return items

    @model_validator(mode="after")
    def _leaves_some(self) -> GeneralizationSpec:
        if not cells_of(self):
            raise ValueError("exclude: expected some networks to be left, found none")
        return self

    @field_validator("datasets", "architectures", "schemes", mode="after")
    @classmethod
    def _unique_names(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return require_unique(items, [item.name for item in items])

    @field_validator("splits", "seeds", mode="after")
    @classmethod
    def _unique_values(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return require_unique(items, [str(item) for item in items])

    @property
    def protocol(self) -> dict[str, object]:
        """What decides the meaning of every number of a store: it may not change within one."""
        return {"kind": self.kind, "training": self.training.model_dump(mode="json")}

    def definitions(self) -> dict[str, dict[str, str]]:
        """What every label of an axis stands for, as canonical JSON, by axis."""
        entries: dict[str, tuple[Any, ...]] = {
            "dataset": self.datasets,
            "architecture": self.architectures,
            "scheme": self.schemes,
        }
        return {
            dim: {item.name: item.model_dump_json(exclude={"name"}) for item in items} for dim, items in entries.items()
        }


@dataclass(frozen=True, slots=True)
class TrainingCell:
    """One network to train and test, and the labels it has in the store."""

    dataset: str
    split: str
    architecture: str
    scheme: str
    seed: int

    @property
    def labels(self) -> dict[str, str | int]:
        """Labels by dim, in the order of `CELL_DIMS`."""
        return {dim: getattr(self, dim) for dim in CELL_DIMS}

    @property
    def source(self) -> str:
        """Name of the source that trains it."""
        return self.architecture

    @property
    def name(self) -> str:
        """Labels joined to one word, for file names."""
        return "-".join(str(getattr(self, dim)) for dim in CELL_DIMS)

    def __str__(self) -> str:
        return f"{self.dataset}, split {self.split}, {self.architecture} with {self.scheme}, seed {self.seed}"


def cells_of(spec: GeneralizationSpec) -> tuple[TrainingCell, ...]:
    """Every cell a spec asks for; those of one split follow one another."""
    return tuple(_cells(spec))


def _cells(spec: GeneralizationSpec) -> Iterator[TrainingCell]:
    for dataset in spec.datasets:
        for split, seed in product(spec.splits, spec.seeds):
            for architecture, scheme in product(spec.architectures, spec.schemes):
                cell = TrainingCell(dataset.name, split, architecture.name, scheme.name, seed)
                if not any(one.excludes(cell) for one in spec.exclude):
                    yield cell


def requested_by_specs(specs: Sequence[Mapping[str, Any]]) -> Callable[[tuple[Any, ...]], bool]:
    """Return whether any of these campaigns, read as plain data, asks for the network with these labels."""
    grids = [grid for spec in specs if (grid := _grid(spec)) is not None]

    def requested(labels: tuple[Any, ...]) -> bool:
        return any(
            all(label in allowed for label, allowed in zip(labels, axes, strict=True))
            and not any(_excluded(labels, exclusion) for exclusion in exclusions)
            for axes, exclusions in grids
        )

    return requested


def _grid(spec: Mapping[str, Any]) -> tuple[tuple[frozenset[Any], ...], list[Mapping[str, Any]]] | None:
    try:
        axes = (
            names_of(spec["datasets"]),
            frozenset(spec["splits"]),
            names_of(spec["architectures"]),
            names_of(spec["schemes"]),
            frozenset(spec["seeds"]),
        )
        return axes, list(spec.get("exclude", ()))
    except (KeyError, TypeError):
        return None


def _excluded(labels: tuple[Any, ...], exclusion: Mapping[str, Any]) -> bool:
    named = [(exclusion.get(dim), label) for dim, label in zip(CELL_DIMS, labels, strict=True)]
    return all(label in excluded for excluded, label in named if excluded)


def load_spec(path: Path) -> GeneralizationSpec:
    """Read a campaign file of this kind; its paths become relative to the file.

    Raises
    ------
    CampaignError
        When the file is not YAML, a field is wrong, or a file or folder of a set does not exist.
    """
    spec = read_spec(path, GeneralizationSpec)
    _check_scheme_options(path, spec)
    base = path.resolve().parent
    datasets = []
    for entry in spec.datasets:
        files = tuple(resolve_path(base, file) for file in entry.files)
        if absent := [file for file in files if not Path(file).exists()]:
            raise CampaignError(
                f"{place_of(path, 'datasets')}: set {entry.name}: expected files, found no {', '.join(absent)}"
            )
        datasets.append(entry.model_copy(update={"files": files}))
    return spec.model_copy(update={"datasets": tuple(datasets)})


def _check_scheme_options(path: Path, spec: GeneralizationSpec) -> None:
    """Refuse options that a scheme does not have, or that do not fit one of the networks."""
    for entry in spec.schemes:
        for network in spec.architectures:
            shape = NetworkShape(2, network.channels, network.layers, network.radial, network.cutoff, elements=(1, 8))
            try:
                scheme_options(entry.scheme, entry.options, shape)
            except ValueError as error:
                raise CampaignError(f"{place_of(path, 'schemes')}: {entry.name}: {error}") from None
