"""Architectures: one file each with a function ``build``, and the environment that its workers need.  Torch-free.

A file says ``build(spec: NetworkSpec) -> Backbone`` (:mod:`hbcoop_dist.generalization.network`); nothing else of it is
called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["ARCHITECTURES", "Architecture", "builder_of"]


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
    """

    module: str
    requires: tuple[str, ...]
    packages: tuple[str, ...]
    environment: str
    licence: str
    citation: str


ARCHITECTURES = MappingProxyType(
    {
        "mace": Architecture(
            module="hbcoop_dist.generalization.architectures.mace",
            requires=("torch", "mace"),
            packages=("torch", "e3nn", "mace-torch"),
            environment="main",
            licence="MIT (mace-torch)",
            citation="Batatia et al., NeurIPS 2022, arXiv:2206.07697",
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
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, found {name!r}")
    build: Callable[..., Any] = importlib.import_module(ARCHITECTURES[name].module).build
    return build
