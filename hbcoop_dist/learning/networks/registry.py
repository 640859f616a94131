"""Architectures and long-range schemes: their declarations and options, found by name without importing torch.

A component is declared by plain data: where its implementation is, what it needs, and the pydantic model of its
options. A built-in one is declared here, below the model of its options; its implementation is a file of
``architectures`` or ``schemes``. Other distributions add declarations through the entry-point groups
``hbcoop_dist.architectures`` and ``hbcoop_dist.schemes``; the name of the entry point is the name in campaigns, and the
module that it points to must be importable without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hbcoop_dist.learning.networks.hyperparameters import NetworkShape

ARCHITECTURE_GROUP = "hbcoop_dist.architectures"
SCHEME_GROUP = "hbcoop_dist.schemes"
_PACKAGE = "hbcoop_dist.learning.networks"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Constraint = Literal["global", "fragment"]


class ComponentOptions(BaseModel):
    """Options of a component; subclasses add fields with their defaults and bounds.

    Values are not coerced: ``1`` is not a boolean and ``2.0`` is not an integer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def for_network(self, shape: NetworkShape) -> Self:
        """Return the options for a network, with the defaults that depend on its shape filled in.

        Parameters
        ----------
        shape : NetworkShape

        Raises
        ------
        ValueError
            When an option does not fit the network; the message names option, expected and found.
        """
        del shape
        return self


def _require_layer(option: str, layer: int, shape: NetworkShape) -> None:
    if layer >= shape.n_layers:
        raise ValueError(f"option {option}: expected an integer from 0 to {shape.n_layers - 1}, found {layer}")


@dataclass(frozen=True, slots=True)
class ArchitectureDeclaration:
    """Declaration of an architecture.

    Attributes
    ----------
    implementation : str
        ``module:function`` of the builder ``(spec: NetworkSpec) -> Backbone``, imported by workers only.
    requires : tuple of str
        Importable modules that it needs.
    packages : tuple of str
        Distributions whose versions decide its numbers.
    licence, citation : str
        Of its code.
    environment : str
        Python environment of its workers; see `hbcoop_dist.models.base.ModelCard`.
    options : subclass of ComponentOptions
        Model of the options that it has beside the fields of `NetworkSpec`.
    unused : tuple of str
        Fields of a campaign's architecture that it does not have.
    even : tuple of str
        Fields of a campaign's architecture that must be even numbers.
    hops_per_layer, extra_hops : int
        Receptive field of the energy of an atom, in neighbours of neighbours: per layer, and in addition.
    """

    implementation: str
    requires: tuple[str, ...]
    packages: tuple[str, ...]
    licence: str
    citation: str
    environment: str = "main"
    options: type[ComponentOptions] = ComponentOptions
    unused: tuple[str, ...] = ()
    even: tuple[str, ...] = ()
    hops_per_layer: int = 1
    extra_hops: int = 0

    def hops(self, layers: int) -> int:
        """Return the receptive field of a network of so many layers, in neighbours of neighbours."""
        return self.hops_per_layer * layers + self.extra_hops


@dataclass(frozen=True, slots=True)
class SchemeDeclaration:
    """Declaration of a long-range scheme.

    Attributes
    ----------
    implementation : str
        ``module:Class`` of a `hbcoop_dist.learning.networks.schemes.base.Scheme`, imported by workers only.
    options : subclass of ComponentOptions
        Model of its options; its constructor gets an instance.
    citation : str
        Publication of the method.
    """

    implementation: str
    options: type[ComponentOptions] = ComponentOptions
    citation: str = ""


class AllegroOptions(ComponentOptions):
    """Options of the architecture ``allegro``."""

    tensor_channels: Count = Field(default=8, description="features of each irreducible representation of a pair")
    latent_width: Count = Field(default=32, description="width of the hidden layer of the latent networks")
    parity: bool = Field(default=True, description="whether features of both parities are tracked")


class DimeNetOptions(ComponentOptions):
    """Options of the architecture ``dimenet++``, by the names of PyTorch Geometric."""

    int_emb_size: Count = Field(default=16, description="width of the messages inside an interaction block")
    basis_emb_size: Count = Field(default=8, description="width of the embedded basis functions")
    out_emb_channels: Count = Field(default=32, description="width of the output blocks")
    num_spherical: Annotated[int, Field(ge=2)] = Field(default=4, description="spherical harmonics")
    envelope_exponent: Count = Field(default=5, description="shape of the smooth cutoff")
    num_before_skip: NonNegative = Field(default=1, description="residual layers before the skip connection")
    num_after_skip: NonNegative = Field(default=1, description="residual layers after the skip connection")
    num_output_layers: NonNegative = Field(default=2, description="hidden layers of the output blocks")


class LatentEwaldOptions(ComponentOptions):
    """Options of the scheme ``les``."""

    sigma: Positive = Field(default=1.0, description="screening length, A")
    self_energy: bool = Field(default=False, description="whether the term ke q_i^2 / (sqrt(2 pi) sigma) is added")
    charge_sum: Literal["free", "constrained"] = Field(
        default="free", description="whether charges are shifted equally until they sum to the total charge"
    )
    charge_constraint: Constraint = Field(
        default="global",
        description="whether constrained charges sum to the charge of the structure or of each molecule; only the "
        "latter keeps the energy of distant molecules additive",
    )
    hidden: NonNegative = Field(default=0, description="hidden width of the readouts, one per layer; 0: linear")


class ChargeEquilibrationOptions(ComponentOptions):
    """Options of the scheme ``celli``."""

    charge_constraint: Constraint = Field(
        default="global",
        description="whether the charge of the structure or of each molecule is given; with global, charge leaks "
        "between molecules of different electronegativity at any distance",
    )
    layer: NonNegative | None = Field(
        default=None,
        description="layer (from 0) after which electronegativities are read and charges embedded; default: the last "
        "but one",
    )
    embed_charges: bool = Field(default=True, description="whether a function of the charge is added to the features")
    charge_loss: bool = Field(default=True, description="whether reference charges enter the loss")
    hidden: Count | None = Field(default=None, description="width of hidden layers; default: the network's channels")

    def for_network(self, shape: NetworkShape) -> Self:
        layer = max(shape.n_layers - 2, 0) if self.layer is None else self.layer
        _require_layer("layer", layer, shape)
        return self.model_copy(update={"layer": layer, "hidden": self.hidden or shape.channels})


class EuclideanAttentionOptions(ComponentOptions):
    """Options of the scheme ``efa``."""

    layers: list[NonNegative] | None = Field(
        default=None, description="layers (from 0) after which atoms gather; default: all"
    )
    frequencies: Count = Field(
        default=8,
        description="number K of frequencies, max_frequency k / K for k = 1 .. K; 0 never decays and is left out",
    )
    max_frequency: Positive = Field(default=0.5, description="highest frequency, 1/A")
    largest: Positive = Field(
        default=20.0, description="width, A, up to which all structures share one quadrature rule"
    )
    tolerance: Positive = Field(default=1e-3, description="bound of the error of an average over directions")
    values: Count | None = Field(default=None, description="width of the gathered features; default: the channels")

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        from hbcoop_dist.learning.networks.schemes.sphere_quadrature import choose_degree

        choose_degree(self.max_frequency * self.largest, self.tolerance)
        return self

    def for_network(self, shape: NetworkShape) -> Self:
        layers = sorted(set(range(shape.n_layers) if self.layers is None else self.layers))
        for layer in layers:
            _require_layer("layers", layer, shape)
        return self.model_copy(update={"layers": layers, "values": self.values or shape.channels})


ARCHITECTURES: Mapping[str, ArchitectureDeclaration] = {
    "mace": ArchitectureDeclaration(
        implementation=f"{_PACKAGE}.architectures.mace:MaceBackbone",
        requires=("torch", "mace"),
        packages=("torch", "e3nn", "mace-torch"),
        licence="MIT (mace-torch)",
        citation="Batatia et al., NeurIPS 2022, arXiv:2206.07697",
    ),
    "allegro": ArchitectureDeclaration(
        implementation=f"{_PACKAGE}.architectures.allegro:AllegroBackbone",
        requires=("torch", "nequip", "allegro"),
        packages=("torch", "e3nn", "nequip", "nequip-allegro"),
        licence="MIT (nequip, nequip-allegro)",
        citation="Musaelian et al., Nat. Commun. 2023, 14, 579, doi:10.1038/s41467-023-36329-y",
        environment="allegro",
        options=AllegroOptions,
        unused=("correlation",),
        even=("channels",),
        hops_per_layer=0,
        extra_hops=1,
    ),
    "dimenet++": ArchitectureDeclaration(
        implementation=f"{_PACKAGE}.architectures.dimenetpp:DimeNetBackbone",
        requires=("torch", "torch_geometric"),
        packages=("torch", "torch-geometric"),
        licence="MIT (torch-geometric)",
        citation="Gasteiger et al., arXiv:2011.14115",
        options=DimeNetOptions,
        unused=("max_ell", "hidden_ell", "correlation"),
    ),
}
"""Built-in architectures by name."""

SCHEMES: Mapping[str, SchemeDeclaration] = {
    "none": SchemeDeclaration(f"{_PACKAGE}.schemes.base:NoScheme"),
    "charge-embedding": SchemeDeclaration(
        f"{_PACKAGE}.schemes.base:TotalChargeEmbedding",
        citation="Unke et al., Nat. Commun. 2021, 12, 7273, doi:10.1038/s41467-021-27504-0",
    ),
    "les": SchemeDeclaration(
        f"{_PACKAGE}.schemes.les:LatentEwald",
        LatentEwaldOptions,
        "Cheng, npj Comput. Mater. 2025, 11, 80; Kim, King, Zhong and Cheng, Nat. Commun. 2025, 16, 8763",
    ),
    "celli": SchemeDeclaration(
        f"{_PACKAGE}.schemes.celli:ChargeEquilibration", ChargeEquilibrationOptions, "Sanocki and Zavadlav (2026)"
    ),
    "efa": SchemeDeclaration(
        f"{_PACKAGE}.schemes.efa:EuclideanAttention",
        EuclideanAttentionOptions,
        "Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024)",
    ),
}
"""Built-in long-range schemes by name."""

OptionsT = TypeVar("OptionsT", bound=ComponentOptions)
DeclarationT = TypeVar("DeclarationT", ArchitectureDeclaration, SchemeDeclaration)


def architecture_names() -> tuple[str, ...]:
    """Return the names of all architectures, the built-in ones first; nothing is imported."""
    return _names(ARCHITECTURES, ARCHITECTURE_GROUP)


def scheme_names() -> tuple[str, ...]:
    """Return the names of all long-range schemes, the built-in ones first; nothing is imported."""
    return _names(SCHEMES, SCHEME_GROUP)


def find_architecture(name: str) -> ArchitectureDeclaration:
    """Return the declaration of an architecture.

    Raises
    ------
    ValueError
        When no architecture has that name (the message lists all names), or its entry point is unusable.
    """
    return _find("architecture", name, ARCHITECTURES, ARCHITECTURE_GROUP, ArchitectureDeclaration)


def find_scheme(name: str) -> SchemeDeclaration:
    """Return the declaration of a long-range scheme.

    Raises
    ------
    ValueError
        When no scheme has that name (the message lists all names), or its entry point is unusable.
    """
    return _find("scheme", name, SCHEMES, SCHEME_GROUP, SchemeDeclaration)


def architecture_options(name: str, values: Mapping[str, Any]) -> ComponentOptions:
    """Validate the options of an architecture.

    Parameters
    ----------
    name : str
    values : mapping
        Options as written in a campaign.

    Raises
    ------
    ValueError
        When there is no such architecture, or an option is unknown or out of bounds.
    """
    return parse_options(f"architecture {name}", find_architecture(name).options, values)


def check_architecture(name: str, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse fields and options that an architecture does not have.

    Parameters
    ----------
    name : str
    fields : mapping
        Fields that a user wrote in a campaign's architecture, and their values.
    options : mapping
        Options that a user wrote there.

    Raises
    ------
    ValueError
        When there is no such architecture, a field has no meaning for it or must be even, or an option is unknown or
        out of bounds.
    """
    declaration = find_architecture(name)
    if unused := sorted(set(fields) & set(declaration.unused)):
        raise ValueError(f"architecture {name}: expected no {', '.join(unused)}, which it does not have, found it")
    if odd := [field for field in declaration.even if fields.get(field, 0) % 2]:
        raise ValueError(f"architecture {name}: {odd[0]}: expected an even number, found {fields[odd[0]]}")
    architecture_options(name, options)


def scheme_options(name: str, values: Mapping[str, Any], shape: NetworkShape | None = None) -> ComponentOptions:
    """Validate the options of a long-range scheme.

    Parameters
    ----------
    name : str
    values : mapping
        Options as written in a campaign.
    shape : NetworkShape, optional
        The network, against which options are checked as well and from which defaults are filled in.

    Raises
    ------
    ValueError
        When there is no such scheme, or an option is unknown, out of bounds or does not fit the network.
    """
    return parse_options(f"scheme {name}", find_scheme(name).options, values, shape)


def load_implementation(declaration: ArchitectureDeclaration | SchemeDeclaration) -> Any:
    """Import the class or function that a declaration points to; this may import torch.

    Raises
    ------
    ValueError
        When the module has no such name.
    """
    module, _, name = declaration.implementation.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ValueError(
            f"implementation {declaration.implementation}: expected {name} in {module}, found none"
        ) from None


def _names(builtin: Mapping[str, Any], group: str) -> tuple[str, ...]:
    return (*builtin, *sorted({point.name for point in entry_points(group=group)} - set(builtin)))


def _find(
    kind: str, name: str, builtin: Mapping[str, DeclarationT], group: str, declared: type[DeclarationT]
) -> DeclarationT:
    if name in builtin:
        return builtin[name]
    point = next((point for point in entry_points(group=group) if point.name == name), None)
    if point is None:
        raise ValueError(f"{kind}: expected one of {', '.join(_names(builtin, group))}, found {name!r}")
    try:
        declaration = point.load()
    except Exception as error:  # the import of another distribution may raise anything
        raise ValueError(
            f"{kind} {name}: expected entry point {point.value} to be importable, found {type(error).__name__}: {error}"
        ) from error
    if not isinstance(declaration, declared):
        raise ValueError(f"{kind} {name}: expected {point.value} to be a {declared.__name__}, found {declaration!r}")
    return declaration


def parse_options(
    component: str, model: type[OptionsT], values: Mapping[str, Any], shape: NetworkShape | None = None
) -> OptionsT:
    """Validate options.

    Parameters
    ----------
    component : str
        Name of the component in messages, for example ``scheme les``.
    model : subclass of ComponentOptions
    values : mapping
        Options as a user wrote them.
    shape : NetworkShape, optional
        The network, against which options are checked as well and from which defaults are filled in.

    Raises
    ------
    ValueError
        When an option is unknown or out of bounds; the message names component, option, expected and found.
    """
    try:
        options = model.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError(f"{component}: {_problem(model, error)}") from None
    try:
        return options if shape is None else options.for_network(shape)
    except ValueError as error:
        raise ValueError(f"{component}: {error}") from None


def _problem(model: type[ComponentOptions], error: ValidationError) -> str:
    problem = error.errors()[0]
    option = ".".join(map(str, problem["loc"]))
    expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "extra_forbidden":
        return f"expected options among {', '.join(model.model_fields) or 'none'}, found {option}"
    if not option:
        return expected
    return f"option {option}: expected {expected}, found {problem['input']!r}"
