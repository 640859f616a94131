"""Plan of a campaign of complexes: relaxations and fragment energies, one batch per model and complex."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ase.data import chemical_symbols

from hbcoop_dist.campaigns.complexes.spec import ComplexCell, ComplexesSpec, Relaxation, read_complexes
from hbcoop_dist.campaigns.kind import Plan
from hbcoop_dist.campaigns.model_tasks import MODEL, find_sources, model_text, with_model
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.tasks import Batch, canonical_json, content_key
from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.structures.structure import Complex, Molecules

PROTOCOL_VERSION = 3
"""Raised whenever a worker would return another number for the same key."""

NO_TOPOLOGY = (
    "this model reads atoms by their place in NMA and water, so A, B and C must each be one such molecule with its "
    "atoms in the order of NMA_ATOMS or WATER_ATOMS (hbcoop_dist.structures)"
)

Kind = Literal["relax", "energies"]


@dataclass(frozen=True, slots=True)
class ComplexTask:
    """One computation for a complex, or for its pair A, B alone.

    Attributes
    ----------
    key : str
    kind : {"relax", "energies"}
    model : str
    complex : Complex
    geometry : str or None
        Key of the relaxation whose geometry the energies are taken at; None for that of the file.
    fragments : tuple of tuple of int
    """

    key: str
    kind: Kind
    model: str
    complex: Complex
    geometry: str | None = None
    fragments: tuple[Molecules, ...] = ()

    @property
    def leader(self) -> str | None:
        """Key of the relaxation that it stays with when a batch is split."""
        return self.geometry

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.complex.n_atoms

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs."""
        return () if self.geometry is None else (self.geometry,)


@dataclass(frozen=True, slots=True)
class ComplexCellTasks:
    """Tasks of a cell.

    Attributes
    ----------
    complex, pair : ComplexTask
        Fragment energies of the complex, and of A and B alone; the same task where nothing is minimised.
    relaxed : tuple of ComplexTask
        The relaxations before them.
    """

    complex: ComplexTask
    pair: ComplexTask
    relaxed: tuple[ComplexTask, ...]

    @property
    def tasks(self) -> tuple[ComplexTask, ...]:
        """Every task, each once, relaxations first."""
        return tuple({task.key: task for task in (*self.relaxed, self.complex, self.pair)}.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key."""
        return tuple(task.key for task in self.tasks)

    @property
    def final_key(self) -> str:
        """Key of the fragment energies of the complex."""
        return self.complex.key


ComplexesPlan = Plan[ComplexesSpec, ComplexCell, ComplexTask, ComplexCellTasks]


def make_plan(spec: ComplexesSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> ComplexesPlan:
    """Expand a campaign into its plan.

    Raises
    ------
    ComplexError
        When the file of a complex cannot be read, or A and B are not atoms of it.
    ModelError
        When a checkpoint that the spec names does not exist, or is not what it should be.
    """
    sources, absent = find_sources(spec.models, elsewhere)
    complexes = read_complexes(spec.complexes)
    cells = tuple(ComplexCell(entry.name, one.name, one) for entry in spec.models for one in complexes)
    cell_tasks: dict[ComplexCell, ComplexCellTasks] = {}
    skipped: dict[ComplexCell, str] = {}
    for cell in cells:
        reason = absent.get(cell.model) or unsuitable(sources[cell.model].card, cell.structure)
        if reason:
            skipped[cell] = reason
        else:
            cell_tasks[cell] = _tasks_of(sources[cell.model], cell.structure, spec.minimize)
    tasks: dict[str, ComplexTask] = {}
    batches = []
    for cell, needed in cell_tasks.items():
        # models that differ only in the weights of their energy parts share tasks
        members = tuple(task for task in needed.tasks if task.key not in tasks)
        tasks.update((task.key, task) for task in members)
        if members:
            batches.append(Batch(f"{cell.model} complex {cell.complex}", cell.model, members))
    return Plan(spec, cells, sources, skipped, tasks, tuple(batches), cell_tasks, {}, device, frozenset(elsewhere))


def unsuitable(card: ModelCard, complex_: Complex) -> str:
    """Return why a model cannot run a complex; empty when it can."""
    if card.abilities.needs_topology and "other" in complex_.structure.kinds:
        return NO_TOPOLOGY
    if complex_.free and not card.abilities.forces:
        return "it has no forces, so it relaxes nothing: geometry fixed takes the file's"
    unknown = sorted(set(complex_.structure.numbers.tolist()) - set(card.about.elements))
    return f"elements {', '.join(chemical_symbols[z] for z in unknown)} are not declared by its card" if unknown else ""


def _tasks_of(source: ModelSource, complex_: Complex, minimize: Relaxation) -> ComplexCellTasks:
    points = tuple(dict.fromkeys(molecules for molecules in complex_.fragments.values() if molecules))
    if not complex_.free:
        energies = _energies(source, complex_, points, None)
        return ComplexCellTasks(energies, energies, ())
    pair = complex_.pair()
    relaxed = [_relaxation(source, structure, minimize) for structure in (complex_, pair)]
    alone: tuple[Molecules, ...] = ((0, 1), (0,), (1,))
    return ComplexCellTasks(
        _energies(source, complex_, points, relaxed[0]), _energies(source, pair, alone, relaxed[1]), tuple(relaxed)
    )


def _relaxation(source: ModelSource, complex_: Complex, minimize: Relaxation) -> ComplexTask:
    text = _text("relax", complex_, force={"max_force": minimize.max_force, "rms_force": minimize.rms_force})
    return ComplexTask(_key(text, source), "relax", source.card.name, complex_)


def _energies(
    source: ModelSource, complex_: Complex, fragments: tuple[Molecules, ...], relaxed: ComplexTask | None
) -> ComplexTask:
    geometry = None if relaxed is None else relaxed.key
    text = _text("energies", complex_, geometry=geometry, fragments=[list(molecules) for molecules in fragments])
    return ComplexTask(_key(text, source), "energies", source.card.name, complex_, geometry, fragments)


def _text(kind: Kind, complex_: Complex, **rest: object) -> str:
    return canonical_json(
        {"version": PROTOCOL_VERSION, "kind": kind, "model": MODEL, "marked": complex_.digest, **rest}
    )


def _key(text: str, source: ModelSource) -> str:
    return content_key(with_model(text, model_text(source)))


def describe_plan(plan: ComplexesPlan) -> str:
    """Describe a plan, one line per model and reason."""
    running = Counter(cell.model for cell in plan.cell_tasks)
    skipped = Counter((cell.model, reason) for cell, reason in plan.skipped.items())
    lines = [plan.headline]
    width = max(len(entry.name) for entry in plan.spec.models)
    for entry in plan.spec.models:
        if running[entry.name]:
            lines.append(f"  {entry.name:<{width}}  {running[entry.name]:4d} complexes")
        lines += [
            f"  {name:<{width}}  {count:4d} complexes skipped: {reason}"
            for (name, reason), count in skipped.items()
            if name == entry.name
        ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RelaxedResult:
    """Complex after a free minimisation.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    energy : float
        eV.
    max_force, rms_force : float
        Largest force on an atom and RMS over force components, eV/A.
    force_calls : int
    """

    positions: FloatArray
    energy: float
    max_force: float
    rms_force: float
    force_calls: int
