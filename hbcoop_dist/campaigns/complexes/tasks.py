"""What one model does for the marked systems of a campaign: relaxations, fragment energies, one batch each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ase.data import chemical_symbols

from hbcoop_dist.campaigns.hbond.spec import Minimize
from hbcoop_dist.core.tasks import PROTOCOL_VERSION, Batch, Task, key_of, model_text
from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.models.sources import ModelSource
from hbcoop_dist.structures.complexes import Complex
from hbcoop_dist.structures.fragments import Molecules

NO_TOPOLOGY = (
    "this model reads atoms by their place in NMA and water, which a marked system only says where A, B and C are one "
    "such molecule each, atoms in the order of NMA_ATOMS or WATER_ATOMS (hbcoop_dist.structures)"
)


def unsuitable(card: ModelCard, system: Complex) -> str:
    """Why a model cannot do a marked system; empty when it can."""
    if card.abilities.needs_topology and "other" in system.structure.kinds:
        return NO_TOPOLOGY
    if system.free and not card.abilities.forces:
        return "it has no forces, so it relaxes nothing: geometry fixed takes the file's"
    unknown = sorted(set(system.structure.numbers.tolist()) - set(card.about.elements))
    return f"elements {', '.join(chemical_symbols[z] for z in unknown)} are not declared by its card" if unknown else ""


@dataclass(frozen=True, slots=True)
class ComplexCell:
    """One (model, marked system)."""

    model: str
    system: Complex

    @property
    def labels(self) -> tuple[str, str]:
        """Labels in the store: model and system."""
        return self.model, self.system.name

    def __str__(self) -> str:
        return f"{self.model}, {self.system}"


@dataclass(frozen=True, slots=True)
class ComplexTasks:
    """What a marked system needs.

    Attributes
    ----------
    complex, pair : Task
        Fragment energies of the complex, and of A and B alone; the same where nothing is minimised.
    relaxed : tuple of Task
        The minimisations before them.
    """

    complex: Task
    pair: Task
    relaxed: tuple[Task, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task, each once, minimisations first."""
        return tuple({task.key: task for task in (*self.relaxed, self.complex, self.pair)}.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys."""
        return tuple(task.key for task in self.tasks)


def complex_tasks(source: ModelSource, system: Complex, minimize: Minimize) -> ComplexTasks:
    """The tasks of one model and one marked system."""
    points = tuple(dict.fromkeys(molecules for molecules in system.fragments.values() if molecules))
    if not system.free:
        whole = _energies(source, system, points, None)
        return ComplexTasks(whole, whole, ())
    pair = system.pair()
    relaxed = [_relaxation(source, one, minimize) for one in (system, pair)]
    alone: tuple[Molecules, ...] = ((0, 1), (0,), (1,))
    return ComplexTasks(
        _energies(source, system, points, relaxed[0]), _energies(source, pair, alone, relaxed[1]), tuple(relaxed)
    )


def complex_batches(cells: Sequence[tuple[ComplexCell, ComplexTasks]]) -> list[Batch]:
    """One batch per system, since each takes as long as its size says."""
    return [Batch(f"{cell.model} system {cell.system.name}", cell.model, tasks.tasks) for cell, tasks in cells]


def _relaxation(source: ModelSource, system: Complex, minimize: Minimize) -> Task:
    text = _text("relax", system, force={"max_force": minimize.max_force, "rms_force": minimize.rms_force})
    return Task(key_of(text, model_text(source)), "relax", source.card.name, system)


def _energies(source: ModelSource, system: Complex, fragments: tuple[Molecules, ...], relaxed: Task | None) -> Task:
    geometry = None if relaxed is None else relaxed.key
    text = _text("energies", system, geometry=geometry, fragments=[list(molecules) for molecules in fragments])
    given = system.structure if relaxed is None else None
    key = key_of(text, model_text(source))
    return Task(key, "energies", source.card.name, system, geometry=geometry, given=given, fragments=fragments)


def _text(kind: str, system: Complex, **rest: object) -> str:
    content = {"version": PROTOCOL_VERSION, "kind": kind, "model": "@model", "marked": system.digest, **rest}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
