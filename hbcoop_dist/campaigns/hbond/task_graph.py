"""The tasks of one model before it has a name: what all models share is worked out once, and only keys differ.

A campaign over the checkpoints of a training run asks thousands of models for the same systems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from hbcoop_dist.campaigns.hbond.rotamer_search import candidates
from hbcoop_dist.campaigns.hbond.spec import Cell, Minimize
from hbcoop_dist.core.tasks import (
    LADDER,
    WHOLE_HESSIAN,
    Kind,
    Task,
    energies_text,
    key_of,
    minimise_text,
    model_text,
)
from hbcoop_dist.models.sources import ModelSource
from hbcoop_dist.references import ReferenceSet, bundled_geometries
from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.construction import build
from hbcoop_dist.structures.fragments import Molecules, distinct_fragments

Group = tuple[str, tuple[int, ...]]
"""Name of a batch, and the places of its tasks."""

NO_FORCES = "the model has no forces and so no minima of its own; geometry takes other minima or a folder of .xyz files"

Lent = tuple[str, str]
"""A model, and the text of a minimisation that it does."""


@dataclass(frozen=True, slots=True)
class Step:
    """A `Task` of any model: other tasks are places in the outline, the key is the text that it is hashed from.

    Energies at the minimum of another model say which model, and the text of its minimisation (`lent`).
    """

    text: str
    kind: Kind
    system: Chain
    monomers: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    geometry: int | None = None
    given: Structure | None = None
    fragments: tuple[Molecules, ...] | None = None
    lent: Lent | None = None


@dataclass(frozen=True, slots=True)
class PartSteps:
    """The tasks of one complex or isolated dimer, by their places; its minimisation may be another model's."""

    system: Chain
    minimise: int | None
    energies: tuple[int, ...]
    lent: Lent | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """What one model does in a campaign.

    Attributes
    ----------
    steps : list of Step
        Inputs before what needs them.
    parts : list of PartSteps
        Complexes and isolated dimers, each once.
    cells : dict of int to (int, tuple of int)
        By place of the cell in the grid: its complex and the isolated dimer of every H-bond, as places in `parts`.
    missing : dict of int to str
        Cells that have no geometry, and why.
    questions : dict of int to tuple of int
        Cells whose rotamers are still to be chosen: the places of the candidates that decide.
    """

    steps: list[Step] = field(default_factory=list)
    parts: list[PartSteps] = field(default_factory=list)
    cells: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    questions: dict[int, tuple[int, ...]] = field(default_factory=dict)


def outline(
    grid: Sequence[Cell],
    minimize: Minimize,
    references: Mapping[str, ReferenceSet],
    split_fragments: bool,
    undecided: Mapping[int, str] = MappingProxyType({}),
    lenders: Mapping[str, str] = MappingProxyType({}),
    minimises: bool = True,
) -> Outline:
    """Outline the tasks of the cells of one model; with `split_fragments`, one task per fragment.

    Parameters
    ----------
    grid : sequence of Cell
        All cells of one model, whichever.
    minimize : Minimize
    references : mapping of str to ReferenceSet
        Given geometries by label.
    split_fragments : bool
    undecided : mapping of int to str
        Places of the cells that have no rotamers: none chosen yet (empty), or why there are none.
    lenders : mapping of str to str
        Models whose own minima others take, and why they have none (empty when they have).
    minimises : bool
        Whether the model has forces; one without has no minima of its own.
    """
    draft = _Draft(minimize, references, split_fragments, lenders)
    for place, cell in enumerate(grid):
        if cell.geometry == "own" and not minimises:
            draft.found.missing[place] = NO_FORCES
        elif place not in undecided:
            draft.cell(place, cell)
        elif undecided[place]:
            draft.found.missing[place] = undecided[place]
        else:
            draft.question(place, cell)
    return draft.found


class _Draft:
    """An outline as it is drawn up; equal contents fall together."""

    def __init__(
        self,
        minimize: Minimize,
        references: Mapping[str, ReferenceSet],
        split_fragments: bool,
        lenders: Mapping[str, str],
    ) -> None:
        self._minimize, self._references, self._split = minimize, references, split_fragments
        self._lenders = lenders
        self._steps: dict[tuple[str, int | None, Lent | None], int] = {}
        self._parts: dict[tuple[Chain, str], int] = {}
        self._systems: dict[Chain, Chain] = {}
        self.found = Outline()

    def cell(self, place: int, cell: Cell) -> None:
        if missing := self._missing(cell):
            self.found.missing[place] = missing
            return
        whole = self._part(cell.system, cell.geometry)
        dimers = [cell.system.dimer(bond) for bond in range(1, cell.length)]
        self.found.cells[place] = whole, tuple(self._part(dimer, cell.geometry) for dimer in dimers)

    def _missing(self, cell: Cell) -> str:
        """Why a cell has no geometry; empty when it has one."""
        if cell.geometry == "own":
            return ""
        if cell.geometry in self._lenders:
            why = self._lenders[cell.geometry]
            return f"there are no minima of {cell.geometry}: {why}" if why else ""
        missing = self._references[cell.geometry].missing(cell.system)
        if missing and cell.geometry in bundled_geometries():
            # nobody can add to such a set, so that one reason for all its gaps says enough
            return f"the bundled set {cell.geometry} has no such chain"
        return f"reference set {cell.geometry} has no {missing}" if missing else ""

    def question(self, place: int, cell: Cell) -> None:
        self.found.questions[place] = tuple(self._candidate(one) for one in candidates(cell.system.conformers))

    def _candidate(self, system: Chain) -> int:
        monomers = tuple(self._monomer(Chain((), (rotamer,))) for rotamer in system.rotamers)
        dimers = [system.dimer(bond) for bond in range(1, system.length)] if system.length > 2 else []
        seeds = tuple(self._candidate(dimer) for dimer in dict.fromkeys(dimers))
        return self._add(Step(minimise_text("candidate", system, self._minimize), "candidate", system, monomers, seeds))

    def _part(self, system: Chain, geometry: str) -> int:
        if (system, geometry) not in self._parts:
            system = self._systems.setdefault(system, system)
            given = self._references[geometry].structure(system) if geometry in self._references else None
            lent = (geometry, minimise_text("minimise", system, self._minimize)) if geometry in self._lenders else None
            minimised = self._minimisation(system) if geometry == "own" else None
            pieces: list[tuple[Molecules, ...] | None] = [None]
            if self._split:
                pieces = [(molecules,) for molecules in distinct_fragments(build(system))]
            steps = [
                Step(energies_text(given, one), "energies", system, (), (), minimised, given, one, lent)
                for one in pieces
            ]
            places = tuple(self._add(step) for step in steps)
            self.found.parts.append(PartSteps(system, minimised, places, lent))
            self._parts[system, geometry] = len(self.found.parts) - 1
        return self._parts[system, geometry]

    def _minimisation(self, system: Chain) -> int:
        system = self._systems.setdefault(system, system)
        text = minimise_text("minimise", system, self._minimize)
        if (text, None, None) in self._steps:
            return self._steps[text, None, None]
        monomers = tuple(self._monomer(Chain((), (rotamer,))) for rotamer in system.rotamers)
        seeds = tuple(self._minimisation(seed) for seed in _seeds(system))
        return self._add(Step(text, "minimise", system, monomers, seeds))

    def _monomer(self, system: Chain) -> int:
        system = self._systems.setdefault(system, system)
        return self._add(Step(minimise_text("monomer", system, self._minimize), "monomer", system))

    def _add(self, step: Step) -> int:
        known = self._steps.setdefault((step.text, step.geometry, step.lent), len(self.found.steps))
        if known == len(self.found.steps):
            self.found.steps.append(step)
        return known


def _seeds(system: Chain) -> tuple[Chain, ...]:
    """Shorter chains a chain starts from, shortest first: its isolated dimers and the two next rungs of the ladder.

    The ladder goes to `LADDER` units whatever lengths were asked for, so a result never depends on the other lengths of
    a spec; beyond it no length waits for another.  Two rungs, because the tail of a linear chain alternates.
    """
    if system.length == 2 and system.capping == "none":
        return ()
    dimers = [system.dimer(bond) for bond in range(1, system.length)]
    top = min(system.length - 1, LADDER)
    lengths = sorted({top - 1, top, *range(WHOLE_HESSIAN - 1, min(top, WHOLE_HESSIAN) + 1)})
    rungs = [system.prefix(length) for length in lengths if 2 <= length <= top]
    return tuple(seed for seed in dict.fromkeys((*dimers, *rungs)) if seed != system)


def lent_key(lent: Lent, sources: Mapping[str, ModelSource]) -> str:
    """Key of a minimisation of another model."""
    return key_of(lent[1], model_text(sources[lent[0]]))


def tasks_of(drawn: Outline, source: ModelSource, sources: Mapping[str, ModelSource]) -> list[Task]:
    """The tasks of one model, place by place; `sources` are those of all models."""
    model, name = model_text(source), source.card.name
    keys: list[str] = []
    seeds: list[tuple[str, Chain]] = []
    tasks: list[Task] = []
    for step in drawn.steps:
        geometry = None if step.geometry is None else keys[step.geometry]
        if step.lent is not None:
            geometry = lent_key(step.lent, sources)
        key = key_of(step.text, model, geometry or "")
        keys.append(key)
        seeds.append((key, step.system))
        tasks.append(
            Task(
                key,
                step.kind,
                name,
                step.system,
                tuple(keys[place] for place in step.monomers),
                tuple(seeds[place] for place in step.seeds),
                geometry,
                step.given,
                step.fragments,
            )
        )
    return tasks


_MONOMERS, _DIMERS, _LONGER, _ENERGIES = 0, 1, LADDER + 1, LADDER + 2
_STAGES = {_MONOMERS: "monomers", _DIMERS: "dimers", _LONGER: "longer", _ENERGIES: "energies"}


def group(drawn: Outline, limit: int) -> tuple[Group, ...]:
    """Group tasks of one stage, stages in order; an energies task rides with the minimisation it needs.

    Parameters
    ----------
    drawn : Outline
    limit : int
        Atoms that the structures of a batch may have together; 0 puts every structure into a batch of its own.
    """
    riders: dict[int, list[int]] = {}
    stages: dict[int, list[list[int]]] = {}
    for place, step in enumerate(drawn.steps):
        if step.kind == "energies" and step.geometry is not None and step.fragments is None:
            riders.setdefault(step.geometry, []).append(place)
        else:
            stages.setdefault(_stage(step), []).append([place])
    found: list[Group] = []
    for stage, units in sorted(stages.items()):
        name = _STAGES.get(stage, f"{stage} units")
        whole = [[*unit, *riders.get(unit[0], [])] for unit in units]
        for number, members in enumerate(_fill(drawn, whole, limit), 1):
            found.append((f"{name} {number}", tuple(members)))
    return tuple(found)


def _stage(step: Step) -> int:
    """Stages follow one another: a rung of the ladder needs the rungs below it, capped or bare."""
    if step.kind == "monomer":
        return _MONOMERS
    if step.kind == "energies":
        return _ENERGIES
    return min(step.system.length, _LONGER) if step.seeds else _DIMERS


def _fill(drawn: Outline, units: list[list[int]], limit: int) -> Iterator[list[int]]:
    members: list[int] = []
    filled = 0
    for unit in units:
        atoms = drawn.steps[unit[0]].system.n_atoms
        if members and filled + atoms > limit:
            yield members
            members, filled = [], 0
        members += unit
        filled += atoms
    if members:
        yield members
