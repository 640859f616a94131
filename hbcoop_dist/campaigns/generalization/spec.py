"""Spec of a generalization campaign: the fields of the YAML file, and the networks that they ask for."""

from __future__ import annotations

from collections import Counter
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
"""Dims of networks, the rows of the first table."""

Split = Literal["random", "size", "cluster", "maxsep_paper", "maxsep_fps"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Molecules = Annotated[int, Field(ge=1, le=64)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]

READING_FIELDS = ("labels", "require", "skip_incomplete", "neutral_molecules")
"""Fields of a set, besides units, that decide how its files are read."""


def _is_empty(value: Any) -> bool:
    return not value


LabelKeys = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]


def _check_name(name: str) -> str:
    # names are parts of the file names of networks and of the figures of reports
    if name.startswith(".") or any(separator in name for separator in "/\\"):
        raise ValueError(f"expected a name without slashes that begins with no dot, found {name!r}")
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_check_name)]


class DatasetEntry(Frozen):
    """Labelled set: generated and labelled by a model, or read from files."""

    name: Name
    generate: Literal["ionic", "neutral", "nma", "charge-states"] | None = Field(
        default=None, description="structures to generate"
    )
    teacher: str = Field(default="gfn2-xtb", description="model that labels generated structures")
    size: int | None = Field(
        default=None, ge=4, description="number of generated structures, or the largest number drawn from files"
    )
    seed: int = Field(default=0, ge=0, description="seed of the generation, or of the draw from files")
    molecules: Annotated[tuple[Molecules, ...], BeforeValidator(as_list)] = Field(
        default=(), description="numbers of molecules of generated structures, used in turn"
    )
    cutoff: Positive = Field(default=4.5, description="A; generated molecules lie within it and beyond it")
    largest_leak: Weight | None = Field(
        default=None,
        description="e; structures in which the labelling model shares more charge over more than 4 A are dropped",
    )
    level_of_theory: str = Field(default="unknown", description="level of theory of the labels in files")
    licence: str = Field(default="unknown", description="licence of files")
    source: str = Field(default="unknown", description="publication to cite for files")
    energy_unit: Literal["eV", "Hartree", "kcal/mol", "kJ/mol"] = Field(default="eV", description="unit in files")
    length_unit: Literal["Angstrom", "Bohr"] = Field(default="Angstrom", description="unit in files")
    files: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(), description="extended XYZ, ASE databases, LMDBs or trajectories, folders of them, QMOF databases"
    )
    # empty fields are left out of task keys and of the definitions in stores, so that a new field changes neither
    labels: Annotated[Mapping[str, LabelKeys], Field(exclude_if=_is_empty)] = Field(
        default_factory=dict, description="keys of labels in files, where they are not the usual ones"
    )
    require: Annotated[tuple[str, ...], BeforeValidator(as_list), Field(exclude_if=_is_empty)] = Field(
        default=(), description="labels that every structure in files must have"
    )
    skip_incomplete: Annotated[bool, Field(exclude_if=_is_empty)] = Field(
        default=False,
        description="leave out and count structures in files that cannot be used; otherwise they are an error",
    )
    neutral_molecules: Annotated[bool, Field(exclude_if=_is_empty)] = Field(
        default=False, description="every molecule in files is neutral, so that molecules follow from bonds"
    )
    largest_train: Annotated[int | None, Field(exclude_if=_is_empty)] = Field(
        default=None, ge=1, description="atoms up to which the split by size trains; by default it halves the set"
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatasetEntry:
        if (self.generate is None) == (not self.files):
            raise ValueError("expected either generate or files, found " + ("both" if self.files else "neither"))
        if self.generate is not None and self.size is None:
            raise ValueError("expected size, the number of structures to generate, found none")
        # the history of a store has every field, defaults included, so `model_fields_set` does not separate them
        if self.files and self.teacher != DatasetEntry.model_fields["teacher"].default:
            raise ValueError("expected no teacher beside files, which have their labels, found one")
        if not self.files and (fields := [name for name in READING_FIELDS if name in self.model_fields_set]):
            raise ValueError(f"expected {', '.join(fields)} beside files only, found generate")
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
    def _known_labels(cls, value: Any, info: ValidationInfo) -> Any:
        known = LABEL_KEYS if info.field_name == "labels" else NUMERIC_LABELS
        if unknown := sorted(set(value).difference(known)):
            raise ValueError(f"expected labels among {', '.join(known)}, found {', '.join(unknown)}")
        return value

    @field_validator("teacher", mode="after")
    @classmethod
    def _registered(cls, teacher: str) -> str:
        if teacher not in registry.cards():
            raise ValueError(f"expected a registered model, found {teacher!r}; see hbcoop models list")
        return teacher


class ArchitectureEntry(Frozen):
    """Network without its long-range scheme."""

    name: Name
    architecture: str = Field(default="mace", description="architecture; by default the beginning of the name")
    cutoff: Positive = Field(default=4.0, description="cutoff of one layer, A")
    layers: int = Field(default=2, ge=1, le=8, description="message-passing layers")
    channels: int = Field(default=16, ge=1, le=512)
    max_ell: int = Field(default=2, ge=0, le=4, description="largest degree of the spherical harmonics of edges")
    hidden_ell: int = Field(default=1, ge=0, le=3, description="largest degree of the features between layers")
    correlation: int = Field(default=2, ge=1, le=4, description="body order of a layer minus one")
    radial: int = Field(default=6, ge=1, le=32, description="radial basis functions")
    options: Mapping[str, float | int | str | bool | list[int]] = Field(
        default_factory=dict, exclude_if=_is_empty, description="options that only this architecture has"
    )

    @model_validator(mode="before")
    @classmethod
    def _architecture_from_name(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "architecture" in value or not isinstance(value.get("name"), str):
            return value
        name = value["name"]
        # mace-3 is a mace; there is no default, since a name without an architecture is most likely mistyped
        architecture = name if name in architecture_names() else name.partition("-")[0]
        if architecture not in architecture_names():
            known = ", ".join(architecture_names())
            raise ValueError(
                f"expected one of {known}, one of them with a hyphen and more, or an architecture beside the name, "
                f"found {name!r}"
            )
        return {**value, "architecture": architecture}

    @model_validator(mode="after")
    def _fits_architecture(self) -> ArchitectureEntry:
        written = {name: getattr(self, name) for name in self.model_fields_set}
        check_architecture(self.architecture, written, self.options)
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that the architecture does not have; reading would refuse them, and they decide nothing."""
        unused = find_architecture(self.architecture).unused
        return {name: value for name, value in handler(self).items() if name not in unused}


class SchemeEntry(Frozen):
    """Long-range scheme with its options."""

    name: Name
    scheme: str = "none"
    options: Mapping[str, float | int | str | bool | list[int]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _scheme_from_name(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "scheme" not in value and value.get("name") in scheme_names():
            return {**value, "scheme": value["name"]}
        return value

    @model_validator(mode="after")
    def _known_scheme(self) -> SchemeEntry:
        known = ", ".join(scheme_names())
        if "scheme" not in self.model_fields_set:
            raise ValueError(f"expected one of {known}, or a scheme beside the name, found {self.name!r}")
        if self.scheme not in scheme_names():
            raise ValueError(f"scheme: expected one of {known}, found {self.scheme!r}")
        return self


class Training(Frozen):
    """Training of every network; all have the same number of steps."""

    steps: int = Field(default=1200, ge=1)
    batch_size: int = Field(default=8, ge=1, description="structures per step")
    learning_rate: Positive = 0.01
    last_learning_rate: Positive = Field(default=1.0e-4, description="learning rate of the last step; cosine schedule")
    energy_weight: Weight = Field(default=1.0, description="weight of squared energy errors per atom, 1/eV^2")
    forces_weight: Weight = Field(default=1.0, description="weight of squared force errors, A^2/eV^2")
    charges_weight: Weight = Field(
        default=0.0, description="weight of squared charge errors, 1/e^2, for schemes with charges"
    )
    averaging: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the moving average of the parameters; 0 for none"
    )
    largest_gradient: Positive = Field(default=10.0, description="norm above which gradients are scaled down")
    validate_every: int = Field(default=100, ge=1, description="steps between validations")
    validation: float = Field(
        default=0.1, gt=0, lt=0.5, description="fraction of the training structures for validation"
    )
    dtype: Literal["float32", "float64"] = "float32"


Labels = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class Exclusion(Frozen):
    """Networks to leave out: those that have one of the listed labels on every axis that is listed."""

    dataset: Labels = ()
    split: Annotated[tuple[Split, ...], BeforeValidator(as_list)] = ()
    architecture: Labels = ()
    scheme: Labels = ()
    seed: Annotated[tuple[Seed, ...], BeforeValidator(as_list)] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> Exclusion:
        if not any(getattr(self, dim) for dim in CELL_DIMS):
            raise ValueError(f"expected one of {', '.join(CELL_DIMS)}, found none, which would exclude every network")
        return self

    def excludes(self, cell: TrainingCell) -> bool:
        """Return whether a network is left out.

        Parameters
        ----------
        cell : TrainingCell
        """
        axes = [(getattr(self, dim), label) for dim, label in cell.labels.items()]
        return all(label in excluded for excluded, label in axes if excluded)


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
        default=(), description="networks to leave out of the product of all axes"
    )

    @field_validator("exclude", mode="after")
    @classmethod
    def _labels_exist(cls, items: tuple[Exclusion, ...], info: ValidationInfo) -> tuple[Exclusion, ...]:
        # fields with an error of their own are absent from the data, and reported already
        for dim, field in zip(CELL_DIMS, ("datasets", "splits", "architectures", "schemes", "seeds"), strict=True):
            labels = [getattr(item, "name", item) for item in info.data.get(field, ())]
            excluded = [label for exclusion in items for label in getattr(exclusion, dim)]
            if labels and (unknown := [str(label) for label in excluded if label not in labels]):
                raise ValueError(f"expected {dim} among {', '.join(map(str, labels))}, found {', '.join(unknown)}")
        return items

    @model_validator(mode="after")
    def _has_distinct_cells(self) -> GeneralizationSpec:
        names = Counter(cell.name for cell in cells_of(self))
        if not names:
            raise ValueError("exclude: expected some networks to be left, found none")
        if repeated := [name for name, count in names.items() if count > 1]:
            raise ValueError(
                "expected names of sets, architectures and schemes whose combinations name every network (and its "
                f"file) differently, found {', '.join(repeated)} more than once"
            )
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
        """Kind of campaign and training; they may not change within a store."""
        return {"kind": self.kind, "training": self.training.model_dump(mode="json")}

    def definitions(self) -> dict[str, dict[str, str]]:
        """Return what the labels of the networks stand for: axis -> label -> entry of the spec as JSON, unnamed."""
        entries: dict[str, tuple[Any, ...]] = {
            # content and not location identifies files, so that a store may be continued on another machine
            "dataset": tuple(
                entry.model_copy(update={"files": tuple(Path(file).name for file in entry.files)})
                for entry in self.datasets
            ),
            "architecture": self.architectures,
            "scheme": self.schemes,
        }
        # a label that `exclude` removes from every network is not on the axis of the store
        labels = {dim: {getattr(cell, dim) for cell in cells_of(self)} for dim in entries}
        return {
            dim: {item.name: item.model_dump_json(exclude={"name"}) for item in items if item.name in labels[dim]}
            for dim, items in entries.items()
        }


@dataclass(frozen=True, slots=True)
class TrainingCell:
    """One network to train and evaluate, by its labels in the store."""

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
        """Labels joined by hyphens, for file names."""
        return "-".join(str(getattr(self, dim)) for dim in CELL_DIMS)

    def __str__(self) -> str:
        return f"{self.dataset}, split {self.split}, {self.architecture} with {self.scheme}, seed {self.seed}"


def cells_of(spec: GeneralizationSpec) -> tuple[TrainingCell, ...]:
    """Return every network of a spec; those of one split are neighbours."""
    return tuple(_cells(spec))


def _cells(spec: GeneralizationSpec) -> Iterator[TrainingCell]:
    for dataset in spec.datasets:
        for split, seed in product(spec.splits, spec.seeds):
            for architecture, scheme in product(spec.architectures, spec.schemes):
                cell = TrainingCell(dataset.name, split, architecture.name, scheme.name, seed)
                if not any(exclusion.excludes(cell) for exclusion in spec.exclude):
                    yield cell


def requested_by_specs(specs: Sequence[Mapping[str, Any]]) -> Callable[[tuple[Any, ...]], bool]:
    """Return the function that tests whether any of these campaigns requests the network with given labels.

    Parameters
    ----------
    specs : sequence of mapping
        Specs as plain JSON data; one that lacks an axis requests nothing.

    Returns
    -------
    callable
        Takes the labels of a network in the order of `CELL_DIMS`.
    """
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
        return axes, [dict(exclusion) for exclusion in spec.get("exclude", ())]
    except (KeyError, TypeError, ValueError):
        return None


def _excluded(labels: tuple[Any, ...], exclusion: Mapping[str, Any]) -> bool:
    axes = [(exclusion.get(dim), label) for dim, label in zip(CELL_DIMS, labels, strict=True)]
    return all(label in excluded for excluded, label in axes if excluded)


def load_spec(path: Path) -> GeneralizationSpec:
    """Read a campaign file of this kind; its paths are resolved relative to the folder of the file.

    Parameters
    ----------
    path : Path

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
