"""Bounded options of the built-in architectures and long-range schemes, as pydantic models that need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hbcoop_dist.learning.networks.hyperparameters import NetworkShape

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


OptionsT = TypeVar("OptionsT", bound=ComponentOptions)


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
    if shape is None:
        return options
    try:
        return options.for_network(shape)
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


def _require_layer(option: str, layer: int, shape: NetworkShape) -> None:
    if layer >= shape.n_layers:
        raise ValueError(f"option {option}: expected an integer from 0 to {shape.n_layers - 1}, found {layer}")


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
