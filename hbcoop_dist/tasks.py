"""Tasks, their content-hash keys and the batches they travel in: plain frozen data, no torch, no I/O.

A key hashes what decides a result and what a planner without any MLFF package knows: the checkpoint, float type,
protocol and structure.  Equal keys are one task, whoever asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hbcoop_dist.campaign import Minimize
from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.structures import Structure, System
from hbcoop_dist.structures.fragments import Molecules

PROTOCOL_VERSION = 2
"""Raised whenever the engine would give another number for the same key."""

LADDER = 6
"""Longest chain that longer ones start from; its geometry and Hessian travel."""

WHOLE_HESSIAN = 4
"""Longest chain whose whole out-of-plane Hessian is computed; longer ones start from it."""

Kind = Literal["monomer", "minimise", "energies"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as the planner knows it: its card, the hash of its checkpoint, and where that lies (None: embedded)."""

    card: ModelCard
    identity: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to compute.

    Attributes
    ----------
    key : str
    kind : {"monomer", "minimise", "energies"}
    model : str
    system : System
    monomers : tuple of str
        Keys of the monomer of every unit (a minimisation starts from them).
    seeds : tuple of (str, System)
        Keys and systems of the shorter chains a minimisation starts from, shortest first.
    geometry : str or None
        Key of the minimisation whose geometry an energies task takes.
    given : Structure or None
        The geometry itself, when it comes from a reference set.
    fragments : tuple of tuple of int or None
        The fragments of an energies task; None for every distinct one.
    """

    key: str
    kind: Kind
    model: str
    system: System
    monomers: tuple[str, ...] = ()
    seeds: tuple[tuple[str, System], ...] = ()
    geometry: str | None = None
    given: Structure | None = None
    fragments: tuple[Molecules, ...] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs, each once."""
        own = (self.geometry,) if self.geometry else ()
        return tuple(dict.fromkeys((*self.monomers, *(key for key, _ in self.seeds), *own)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks of one model that one worker does in one go, in order."""

    name: str
    model: str
    tasks: tuple[Task, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys needed from outside the batch."""
        own = {task.key for task in self.tasks}
        return tuple(dict.fromkeys(key for task in self.tasks for key in task.inputs if key not in own))

    @property
    def n_atoms(self) -> int:
        """Atoms of all the structures the batch minimises or evaluates."""
        return sum(task.system.n_atoms for task in self.tasks if task.kind != "energies" or task.geometry is None)


def content_key(content: Mapping[str, object]) -> str:
    """Hash (32 hex digits of sha256) of plain data in canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def model_part(source: ModelSource) -> dict[str, object]:
    """What of a model decides a result."""
    return {
        "family": source.card.family,
        "checkpoint": source.identity,
        "dtype": source.card.dtype,
        "options": {name: str(value) for name, value in sorted(source.card.options.items())},
    }


def minimise_key(source: ModelSource, kind: Kind, system: System, minimize: Minimize) -> str:
    """Key of a minimisation (or of a monomer with its Hessian)."""
    content = {
        "version": PROTOCOL_VERSION,
        "kind": kind,
        "model": model_part(source),
        "minimize": minimize.model_dump(),
        "system": system.as_data(),
    }
    return content_key(content)


def energies_key(source: ModelSource, geometry: str | Structure, fragments: tuple[Molecules, ...] | None) -> str:
    """Key of fragment energies at a minimised geometry (its key) or at a given one (its positions)."""
    if isinstance(geometry, Structure):
        place: object = {"numbers": geometry.numbers.tolist(), "positions": geometry.positions.tolist()}
    else:
        place = geometry
    content = {
        "version": PROTOCOL_VERSION,
        "kind": "energies",
        "model": model_part(source),
        "geometry": place,
        "fragments": None if fragments is None else [list(molecules) for molecules in fragments],
    }
    return content_key(content)
