"""Find architectures and long-range schemes by name without importing torch, and check their options.

A component is declared by plain data: where its implementation is, what it needs, and the pydantic model of its
options. Other distributions add declarations through the entry-point groups ``hbcoop_dist.architectures`` and
``hbcoop_dist.schemes``; the name of the entry point is the name in campaigns, and the module that it points to must be
importable without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar

from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.options import (
    AllegroOptions,
    ChargeEquilibrationOptions,
    ComponentOptions,
    DimeNetOptions,
    EuclideanAttentionOptions,
    LatentEwaldOptions,
    parse_options,
)

ARCHITECTURE_GROUP = "hbcoop_dist.architectures"
SCHEME_GROUP = "hbcoop_dist.schemes"
_PACKAGE = "hbcoop_dist.learning.networks"


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


ARCHITECTURES: Mapping[str, ArchitectureDeclaration] = MappingProxyType(
    {
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
)
"""Built-in architectures by name."""

SCHEMES: Mapping[str, SchemeDeclaration] = MappingProxyType(
    {
        "none": SchemeDeclaration(f"{_PACKAGE}.schemes.base:NoScheme"),
        "charge-embedding": SchemeDeclaration(
            f"{_PACKAGE}.schemes.charge_embedding:TotalChargeEmbedding",
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
)
"""Built-in long-range schemes by name."""

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
