"""Architectures: one file each with a function ``build``, and the environment that its workers need.  Torch-free.

A file says ``build(spec: NetworkSpec) -> Backbone`` (:mod:`hbcoop_dist.learning.networks.network`); nothing else
of it is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["ARCHITECTURES", "Architecture", "builder_of", "check_options"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where an architecture is, and what it needs.

    Attributes
    ----------
    module : str
        With the function ``build``.
    requires, packages : tuple of str
        Importable modules it needs, and distributions whose versions decide its numbers.
    environment : str
        Python environment of its workers, as in `ModelCard.environment`.
    licence, citation : str
        Of its code.
    options : mapping
        Defaults of the options that it has beside the fields of `NetworkSpec`, by name; of plain types.
    least : mapping
        Smallest values of those options that have one.
    unused : tuple of str
        Fields of a campaign's architecture that mean nothing to it.
    even : tuple of str
        Fields of a campaign's architecture that have to be even numbers.
    hops : tuple of int
        How far the energy of an atom sees, in neighbours of neighbours: so many for every layer, and so many besides.
    """

    module: str
    requires: tuple[str, ...]
    packages: tuple[str, ...]
    environment: str
    licence: str
    citation: str
    options: Mapping[str, Any] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    even: tuple[str, ...] = ()
    hops: tuple[int, int] = (1, 0)


ARCHITECTURES = MappingProxyType(
    {
        "mace": Architecture(
            module="hbcoop_dist.learning.networks.architectures.mace",
            requires=("torch", "mace"),
            packages=("torch", "e3nn", "mace-torch"),
            environment="main",
            licence="MIT (mace-torch)",
            citation="Batatia et al., NeurIPS 2022, arXiv:2206.07697",
        ),
        "allegro": Architecture(
            module="hbcoop_dist.learning.networks.architectures.allegro",
            requires=("torch", "nequip", "allegro"),
            packages=("torch", "e3nn", "nequip", "nequip-allegro"),
            environment="allegro",
            licence="MIT (nequip, nequip-allegro)",
            citation="Musaelian et al., Nat. Commun. 2023, 14, 579, doi:10.1038/s41467-023-36329-y",
            options={"tensor_channels": 8, "latent_width": 32, "parity": True},
            least={"tensor_channels": 1, "latent_width": 1},
            unused=("correlation",),
            even=("channels",),
            hops=(0, 1),
        ),
        "dimenet++": Architecture(
            module="hbcoop_dist.learning.networks.architectures.dimenetpp",
            requires=("torch", "torch_geometric"),
            packages=("torch", "torch-geometric"),
            environment="main",
            licence="MIT (torch-geometric)",
            citation="Gasteiger et al., arXiv:2011.14115",
            options={
                "int_emb_size": 16,
                "basis_emb_size": 8,
                "out_emb_channels": 32,
                "num_spherical": 4,
                "envelope_exponent": 5,
                "num_before_skip": 1,
                "num_after_skip": 1,
                "num_output_layers": 2,
            },
            least={
                "int_emb_size": 1,
                "basis_emb_size": 1,
                "out_emb_channels": 1,
                "num_spherical": 2,
                "envelope_exponent": 1,
                "num_before_skip": 0,
                "num_after_skip": 0,
                "num_output_layers": 0,
            },
            unused=("max_ell", "hidden_ell", "correlation"),
        ),
    }
)


def builder_of(name: str) -> Callable[..., Any]:
    """The function that builds an architecture.

    Raises
    ------
    ValueError
        When there is none of that name; the message lists those there are.
    """
    build: Callable[..., Any] = importlib.import_module(_known(name).module).build
    return build


def check_options(name: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse what an architecture does not have.

    Parameters
    ----------
    name : str
    given : mapping
        Fields that a user wrote, and their values.
    options : mapping
        Options that a user wrote.

    Raises
    ------
    ValueError
        When the architecture is not known, a field means nothing to it or has to be even, or an option is not one of
        its own, of another type or too small.
    """
    found = _known(name)
    if idle := sorted(set(given) & set(found.unused)):
        raise ValueError(f"architecture {name}: expected no {', '.join(idle)}, which it does not have, found it")
    if odd := [field for field in found.even if given.get(field, 0) % 2]:
        raise ValueError(f"architecture {name}: {odd[0]}: expected an even number, found {given[odd[0]]}")
    for option, value in options.items():
        if option not in found.options:
            known = ", ".join(found.options) or "none"
            raise ValueError(f"architecture {name}: expected options among {known}, found {option}")
        kind = type(found.options[option])
        if not (type(value) is kind or (kind is float and type(value) is int)):
            raise ValueError(f"architecture {name}: option {option}: expected {kind.__name__}, found {value!r}")
        if option in found.least and value < found.least[option]:
            least = found.least[option]
            raise ValueError(f"architecture {name}: option {option}: expected {least} or more, found {value}")


def _known(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, found {name!r}")
    return ARCHITECTURES[name]
