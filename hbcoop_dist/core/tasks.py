"""Tasks, their content-hash keys and the batches they travel in: plain frozen data, no torch, no I/O.

A key hashes what decides a result and what a planner without any MLFF package knows: the checkpoint, float type,
protocol and structure.  Equal keys are one task, whoever asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, Protocol

from typing_extensions import TypeVar

from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.complexes import Complex
from hbcoop_dist.structures.fragments import Molecules

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.hbond.spec import Minimize
    from hbcoop_dist.models.sources import ModelSource

PROTOCOL_VERSION = 3
"""Raised whenever the engine would give another number for the same key."""

LADDER = 6
"""Longest chain that longer ones start from; its geometry and Hessian travel."""

WHOLE_HESSIAN = 4
"""Longest chain whose whole out-of-plane Hessian is computed; longer ones start from it."""

Kind = Literal["monomer", "candidate", "minimise", "relax", "energies"]


@dataclass(frozen=True, slots=True)
class Requirements:
    """Software and hardware that running a task needs.

    Attributes
    ----------
    modules : tuple of str
        Modules that must be importable; the planner looks for them without importing them.
    packages : tuple of str
        Distributions whose versions decide the numbers and are recorded with every result.
    environment : str
        Python environment of the workers: ``main`` is ``requirements.lock``, any other NAME is
        ``environments/NAME.txt``. The pools of a cluster profile name the environments they provide.
    gpu : bool
        Whether a GPU code path exists; without one the task runs on the CPU wherever it is sent.
    """

    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: str = "main"
    gpu: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to compute.

    Attributes
    ----------
    key : str
    kind : {"monomer", "candidate", "minimise", "relax", "energies"}
        A candidate is minimised for its energy alone, by which rotamers are chosen; a marked system is relaxed in
        Cartesian coordinates.
    model : str
    system : Chain or Complex
    monomers : tuple of str
        Keys of the monomer of every unit (a minimisation starts from them).
    seeds : tuple of (str, Chain)
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
    system: Chain | Complex
    monomers: tuple[str, ...] = ()
    seeds: tuple[tuple[str, Chain], ...] = ()
    geometry: str | None = None
    given: Structure | None = None
    fragments: tuple[Molecules, ...] | None = None

    @property
    def chain(self) -> Chain:
        """The system of a task that only chains have."""
        assert isinstance(self.system, Chain)
        return self.system

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs, each once."""
        own = (self.geometry,) if self.geometry else ()
        return tuple(dict.fromkeys((*self.monomers, *(key for key, _ in self.seeds), *own)))


class AnyTask(Protocol):
    """What it takes to hand a task out, whatever kind of campaign it is of."""

    @property
    def key(self) -> str: ...

    @property
    def geometry(self) -> str | None:
        """Key of the task that it stays with when its batch is split."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs, each once."""
        ...


AnyTaskT = TypeVar("AnyTaskT", bound=AnyTask, default=Task)


@dataclass(frozen=True, slots=True)
class Batch(Generic[AnyTaskT]):
    """Tasks of one model that one worker does in one go, in order."""

    name: str
    model: str
    tasks: tuple[AnyTaskT, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys needed from outside the batch."""
        own = {task.key for task in self.tasks}
        return tuple(dict.fromkeys(key for task in self.tasks for key in task.inputs if key not in own))

    def part(self, name: str, tasks: Iterable[AnyTaskT]) -> Batch[AnyTaskT]:
        """Some of its tasks, under another name."""
        return replace(self, name=name, tasks=tuple(tasks))


MODEL, GEOMETRY = "@model", "@geometry"
"""Stand in a task's content for what only its model decides, so that models share the rest of the text."""


def key_of(text: str, model: str, geometry: str = "") -> str:
    """Key of a task: hash (32 hex digits of sha256) of its content in canonical JSON.

    Parameters
    ----------
    text : str
        From `minimise_text` or `energies_text`.
    model : str
        From `model_text`.
    geometry : str
        Key of the minimisation whose geometry an energies task takes.
    """
    whole = text.replace(f'"{GEOMETRY}"', f'"{geometry}"').replace(f'"{MODEL}"', model)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def _canonical(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def model_text(source: ModelSource) -> str:
    """What of a model decides a result."""
    return _canonical(
        {
            "family": source.card.family,
            "checkpoint": source.identity,
            "dtype": source.card.abilities.dtype,
            "options": {name: str(value) for name, value in sorted(source.card.options.items())},
        }
    )


def minimise_text(kind: Kind, system: Chain, minimize: Minimize) -> str:
    """Content of a minimisation (or of a monomer with its Hessian), its model left open."""
    return _canonical(
        {
            "version": PROTOCOL_VERSION,
            "kind": kind,
            "model": MODEL,
            "minimize": minimize.protocol,
            "system": system.as_data(),
        }
    )


def energies_text(given: Structure | None, fragments: tuple[Molecules, ...] | None) -> str:
    """Content of fragment energies at a given geometry, or at a minimised one, which is left open like the model."""
    place: object = GEOMETRY
    if given is not None:
        place = {"numbers": given.numbers.tolist(), "positions": given.positions.tolist()}
    return _canonical(
        {
            "version": PROTOCOL_VERSION,
            "kind": "energies",
            "model": MODEL,
            "geometry": place,
            "fragments": None if fragments is None else [list(molecules) for molecules in fragments],
        }
    )
