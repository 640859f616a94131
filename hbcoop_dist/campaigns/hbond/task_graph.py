"""Task graph of one model and the results of its tasks: minimisations and fragment energies, every shared task once.

The graph of a model is made before its name is known: all models with the same cells share one, and only the keys
differ, so that a campaign over thousands of checkpoints is planned once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from hbcoop_dist.campaigns.hbond.rotamer_search import candidates
from hbcoop_dist.campaigns.hbond.spec import Cell, Minimize
from hbcoop_dist.campaigns.model_tasks import MODEL, model_text, with_model
from hbcoop_dist.core.arrays import AnyArray, FloatArray
from hbcoop_dist.core.tasks import canonical_json, content_key
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.references import ReferenceSet, bundled_geometries
from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.monomers import build
from hbcoop_dist.structures.structure import Molecules, distinct_fragments

PROTOCOL_VERSION = 3
"""Raised whenever a worker would return another number for the same key."""
SEARCH_VERSION = 1
"""Raised whenever the search of minima in three dimensions may end in another one; planar results are independent."""
LADDER = 6
"""Longest chain that longer ones start from: its geometry and Hessian are kept."""
WHOLE_HESSIAN = 4
"""Longest chain whose complete out-of-plane Hessian is computed; longer chains start from it."""
NO_FORCES = "the model has no forces and so no minima of its own; geometry takes other minima or a folder of .xyz files"
Kind = Literal["monomer", "candidate", "minimise", "energies"]
ModelMinimum = tuple[str, str]
"""Geometry from another model: its name, and the content of the minimisation (`minimise_text`)."""
_GEOMETRY = "@geometry"


@dataclass(frozen=True, slots=True)
class BodyStart:
    """Coordinates and Hessian from which a molecule starts in a chain.

    Attributes
    ----------
    q : (k,) array
        Coordinates of the molecule, A and rad.
    hessian : (k, k) array
        eV/A^2, eV/(A rad) and eV/rad^2.
    """

    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class MonomerResult:
    """Minimised NMA unit, and the Hessians that chains start from.

    Attributes
    ----------
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    force_calls : int
    unit : (n_q, n_q) array or None
        Hessian of the unit in tree coordinates; None when the minimisation failed.
    waters : mapping of str to BodyStart
        Cap waters by name of the body.
    planar : BodyStart or None
        The planar stationary point that the minimum was reached from; None under ``mirror``.
    """

    q: FloatArray
    energy: float
    force_calls: int
    unit: FloatArray | None
    waters: Mapping[str, BodyStart]
    planar: BodyStart | None = None


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """Minimised dimer or trimer whose energy decides which rotamers are lowest.

    Attributes
    ----------
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    force_calls : int
    hessian : (m, m) float32 array or None
        Hessian on the free coordinates; of dimers only.
    """

    q: FloatArray
    energy: float
    force_calls: int
    hessian: AnyArray | None


@dataclass(frozen=True, slots=True)
class MinimumResult:
    """Minimised chain.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    max_force, rms_force : float
        Largest force on an atom and RMS over force components, eV/A.
    steps, force_calls : int
    hessian : (m, m) float32 array or None
        Hessian on the free coordinates, of chains that longer ones start from and of those that did not converge.
    lowest_eigenvalue : float or None
        Lowest eigenvalue of the Hessian that `optimize.lowest_modes` examines, eV/A^2; None where the minimisation did
        not converge to an intact chain.
    lowest_mode : (N, 3) float32 array or None
        Its displacement, of unit norm.
    out_of_plane_hessian : (k, k) float32 array or None
        Under ``mirror``, the Hessian in odd tree coordinates, of short chains.
    search_calls, mode_calls : int
        Force calls besides those of the minimisation: for planar stationary points, other starts and steps down a mode,
        and for the lowest mode.
    others : (k,) array or None
        Energies of other stationary points that were found under the constraint, relative to this one, eV.
    """

    positions: FloatArray
    q: FloatArray
    energy: float
    max_force: float
    rms_force: float
    steps: int
    force_calls: int
    hessian: AnyArray | None = None
    lowest_eigenvalue: float | None = None
    lowest_mode: AnyArray | None = None
    out_of_plane_hessian: AnyArray | None = None
    search_calls: int = 0
    mode_calls: int = 0
    others: FloatArray | None = None

    @property
    def evaluations(self) -> int:
        """Every evaluation of the structure: minimisations, searches and lowest modes."""
        return self.force_calls + self.search_calls + self.mode_calls


@dataclass(frozen=True, slots=True)
class ChainTask:
    """One computation for a chain.

    Attributes
    ----------
    key : str
    kind : {"monomer", "candidate", "minimise", "energies"}
        A candidate is minimised for its energy, which decides the rotamers of other cells.
    model : str
    chain : Chain
    constraint : {"mirror", "torsions", "none"}
        Of a minimisation.
    monomers : tuple of str
        Keys of the monomer of every unit, from which a minimisation starts.
    seeds : tuple of (str, Chain)
        Keys and chains of the shorter chains from which a minimisation starts, shortest first.
    geometry : str or None
        Key of the minimisation whose geometry an energies task takes.
    given : Structure or None
        The geometry itself when it comes from a reference set.
    fragments : tuple of tuple of int or None
        Fragments of an energies task; None stands for every distinct one.
    """

    key: str
    kind: Kind
    model: str
    chain: Chain
    constraint: Constraint
    monomers: tuple[str, ...] = ()
    seeds: tuple[tuple[str, Chain], ...] = ()
    geometry: str | None = None
    given: Structure | None = None
    fragments: tuple[Molecules, ...] | None = None

    @property
    def leader(self) -> str | None:
        """Key of the minimisation that it stays with when a batch is split."""
        return self.geometry

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.chain.n_atoms

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs, each once."""
        geometry = (self.geometry,) if self.geometry else ()
        return tuple(dict.fromkeys((*self.monomers, *(key for key, _ in self.seeds), *geometry)))


@dataclass(frozen=True, slots=True)
class Node:
    """Task of any model: other tasks are positions in the graph, and `text` is the content that its key hashes.

    `model_minimum` names the minimisation of another model whose geometry the task takes.
    """

    text: str
    kind: Kind
    chain: Chain
    constraint: Constraint
    monomers: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    geometry: int | None = None
    given: Structure | None = None
    fragments: tuple[Molecules, ...] | None = None
    model_minimum: ModelMinimum | None = None


@dataclass(frozen=True, slots=True)
class StructureNodes:
    """Nodes of one chain or isolated dimer: its minimisation, and its fragment energies."""

    chain: Chain
    minimise: int | None
    energies: tuple[int, ...]
    model_minimum: ModelMinimum | None = None


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """Tasks of one model in a campaign.

    Attributes
    ----------
    nodes : list of Node
        Inputs before the tasks that need them.
    structures : list of StructureNodes
        Chains and isolated dimers, each once.
    cells : dict of int to (int, tuple of int)
        By position of the cell in the grid: its chain and the isolated dimer of every H-bond, as positions in
        `structures`.
    missing : dict of int to str
        Cells that have no geometry, with the reason.
    undecided : dict of int to tuple of int
        Cells whose rotamers are not chosen yet: positions of the candidates that decide.
    """

    nodes: list[Node] = field(default_factory=list)
    structures: list[StructureNodes] = field(default_factory=list)
    cells: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    undecided: dict[int, tuple[int, ...]] = field(default_factory=dict)


def minimise_text(kind: Kind, chain: Chain, minimize: Minimize, constraint: Constraint) -> str:
    """Return the content of a minimisation, or of a monomer with its Hessian; the model is left open."""
    protocol = {**minimize.protocol, "constraint": constraint}
    if constraint != "mirror" and minimize.engine == "own":
        protocol["search"] = SEARCH_VERSION
    return canonical_json(
        {
            "version": PROTOCOL_VERSION,
            "kind": kind,
            "model": MODEL,
            "minimize": protocol,
            "system": chain.as_data(),
        }
    )


def energies_text(given: Structure | None, fragments: tuple[Molecules, ...] | None) -> str:
    """Return the content of fragment energies; model and minimised geometry are left open."""
    geometry: object = _GEOMETRY
    if given is not None:
        geometry = {"numbers": given.numbers.tolist(), "positions": given.positions.tolist()}
    return canonical_json(
        {
            "version": PROTOCOL_VERSION,
            "kind": "energies",
            "model": MODEL,
            "geometry": geometry,
            "fragments": None if fragments is None else [list(molecules) for molecules in fragments],
        }
    )


def task_key(text: str, model: str, geometry: str = "") -> str:
    """Return the key of a task.

    Parameters
    ----------
    text : str
        From `minimise_text` or `energies_text`.
    model : str
        From `model_text`.
    geometry : str
        Key of the minimisation whose geometry an energies task takes.
    """
    return content_key(with_model(text.replace(f'"{_GEOMETRY}"', f'"{geometry}"'), model))


def model_minimum_key(minimum: ModelMinimum, sources: Mapping[str, ModelSource]) -> str:
    """Return the key of a minimisation of another model."""
    return task_key(minimum[1], model_text(sources[minimum[0]]))


def make_task_graph(
    grid: Sequence[Cell],
    minimize: Minimize,
    references: Mapping[str, ReferenceSet],
    split_fragments: bool,
    undecided: Mapping[int, str] = MappingProxyType({}),
    geometry_models: Mapping[str, str] = MappingProxyType({}),
    has_forces: bool = True,
) -> TaskGraph:
    """Make the task graph of the cells of one model.

    Parameters
    ----------
    grid : sequence of Cell
        All cells of one model, whichever it is.
    minimize : Minimize
    references : mapping of str to ReferenceSet
        Given geometries by label.
    split_fragments : bool
        One task per fragment, for models whose single points take minutes.
    undecided : mapping of int to str
        Positions of the cells without rotamers: not chosen yet (empty), or why there are none.
    geometry_models : mapping of str to str
        Models whose own minima others take, and why they have none (empty when they have).
    has_forces : bool
        Whether the model has forces; without them it has no minima of its own.
    """
    builder = _GraphBuilder(minimize, references, split_fragments, geometry_models)
    for position, cell in enumerate(grid):
        if cell.geometry == "own" and not has_forces:
            builder.graph.missing[position] = NO_FORCES
        elif position not in undecided:
            builder.add_cell(position, cell)
        elif undecided[position]:
            builder.graph.missing[position] = undecided[position]
        else:
            builder.add_candidates(position, cell)
    return builder.graph


class _GraphBuilder:
    """Builds a graph cell by cell; tasks of equal content are one node."""

    def __init__(
        self,
        minimize: Minimize,
        references: Mapping[str, ReferenceSet],
        split_fragments: bool,
        geometry_models: Mapping[str, str],
    ) -> None:
        self._minimize, self._references, self._split = minimize, references, split_fragments
        self._geometry_models = geometry_models
        self._nodes: dict[tuple[str, int | None, ModelMinimum | None], int] = {}
        self._structures: dict[tuple[Chain, str, Constraint], int] = {}
        self._chains: dict[Chain, Chain] = {}
        self.graph = TaskGraph()

    def add_cell(self, position: int, cell: Cell) -> None:
        if missing := self._missing_geometry(cell):
            self.graph.missing[position] = missing
            return
        place = cell.geometry, cell.constraint
        chain = self._structure(cell.chain, *place)
        dimers = [cell.chain.dimer(bond) for bond in range(1, cell.length)]
        self.graph.cells[position] = chain, tuple(self._structure(dimer, *place) for dimer in dimers)

    def add_candidates(self, position: int, cell: Cell) -> None:
        chains = candidates(cell.chain.conformers)
        self.graph.undecided[position] = tuple(self._candidate(chain, cell.constraint) for chain in chains)

    def _missing_geometry(self, cell: Cell) -> str:
        """Return why a cell has no geometry; empty when it has one."""
        if cell.geometry == "own":
            return ""
        if cell.geometry in self._geometry_models:
            why = self._geometry_models[cell.geometry]
            return f"there are no minima of {cell.geometry}: {why}" if why else ""
        missing = self._references[cell.geometry].missing(cell.chain)
        if missing and cell.geometry in bundled_geometries():
            # users cannot add to a bundled set, so one reason serves for all its gaps
            return f"the bundled set {cell.geometry} has no such chain"
        return f"reference set {cell.geometry} has no {missing}" if missing else ""

    def _candidate(self, chain: Chain, constraint: Constraint) -> int:
        dimers = [chain.dimer(bond) for bond in range(1, chain.length)] if chain.length > 2 else []
        seeds = tuple(self._candidate(dimer, constraint) for dimer in dict.fromkeys(dimers))
        text = minimise_text("candidate", chain, self._minimize, constraint)
        return self._add(Node(text, "candidate", chain, constraint, self._monomers(chain, constraint), seeds))

    def _structure(self, chain: Chain, geometry: str, constraint: Constraint) -> int:
        if (chain, geometry, constraint) not in self._structures:
            chain = self._chains.setdefault(chain, chain)
            given = self._references[geometry].structure(chain) if geometry in self._references else None
            minimum = None
            if geometry in self._geometry_models:
                minimum = (geometry, minimise_text("minimise", chain, self._minimize, constraint))
            minimised = self._minimisation(chain, constraint) if geometry == "own" else None
            pieces: list[tuple[Molecules, ...] | None] = [None]
            if self._split:
                pieces = [(molecules,) for molecules in distinct_fragments(build(chain))]
            nodes = [
                Node(
                    energies_text(given, piece), "energies", chain, constraint, (), (), minimised, given, piece, minimum
                )
                for piece in pieces
            ]
            positions = tuple(self._add(node) for node in nodes)
            self.graph.structures.append(StructureNodes(chain, minimised, positions, minimum))
            self._structures[chain, geometry, constraint] = len(self.graph.structures) - 1
        return self._structures[chain, geometry, constraint]

    def _minimisation(self, chain: Chain, constraint: Constraint) -> int:
        chain = self._chains.setdefault(chain, chain)
        text = minimise_text("minimise", chain, self._minimize, constraint)
        if (text, None, None) in self._nodes:
            return self._nodes[text, None, None]
        seeds = tuple(self._minimisation(seed, constraint) for seed in _seeds(chain))
        return self._add(Node(text, "minimise", chain, constraint, self._monomers(chain, constraint), seeds))

    def _monomers(self, chain: Chain, constraint: Constraint) -> tuple[int, ...]:
        return tuple(self._monomer(Chain((), (rotamer,)), constraint) for rotamer in chain.rotamers)

    def _monomer(self, chain: Chain, constraint: Constraint) -> int:
        chain = self._chains.setdefault(chain, chain)
        text = minimise_text("monomer", chain, self._minimize, constraint)
        return self._add(Node(text, "monomer", chain, constraint))

    def _add(self, node: Node) -> int:
        position = self._nodes.setdefault((node.text, node.geometry, node.model_minimum), len(self.graph.nodes))
        if position == len(self.graph.nodes):
            self.graph.nodes.append(node)
        return position


def _seeds(chain: Chain) -> tuple[Chain, ...]:
    """Return the shorter chains that a chain starts from, shortest first: its dimers and the two next rungs.

    The ladder goes to `LADDER` units whatever lengths were asked for, so that a result never depends on the other
    lengths of a spec; beyond it no length waits for another. Two rungs, because the tail of a linear chain alternates.
    """
    if chain.length == 2 and chain.capping == "none":
        return ()
    dimers = [chain.dimer(bond) for bond in range(1, chain.length)]
    top = min(chain.length - 1, LADDER)
    lengths = sorted({top - 1, top, *range(WHOLE_HESSIAN - 1, min(top, WHOLE_HESSIAN) + 1)})
    rungs = [chain.prefix(length) for length in lengths if 2 <= length <= top]
    return tuple(seed for seed in dict.fromkeys((*dimers, *rungs)) if seed != chain)


def tasks_of(graph: TaskGraph, source: ModelSource, sources: Mapping[str, ModelSource]) -> list[ChainTask]:
    """Return the tasks of one model, position by position; `sources` are those of all models."""
    model, name = model_text(source), source.card.name
    keys: list[str] = []
    seeds: list[tuple[str, Chain]] = []
    tasks: list[ChainTask] = []
    for node in graph.nodes:
        geometry = None if node.geometry is None else keys[node.geometry]
        if node.model_minimum is not None:
            geometry = model_minimum_key(node.model_minimum, sources)
        key = task_key(node.text, model, geometry or "")
        keys.append(key)
        seeds.append((key, node.chain))
        tasks.append(
            ChainTask(
                key,
                node.kind,
                name,
                node.chain,
                node.constraint,
                tuple(keys[position] for position in node.monomers),
                tuple(seeds[position] for position in node.seeds),
                geometry,
                node.given,
                node.fragments,
            )
        )
    return tasks


NodeGroup = tuple[str, tuple[int, ...]]
"""Name of a batch, and the positions of its tasks."""

_MONOMERS, _DIMERS, _LONGER, _ENERGIES = 0, 1, LADDER + 1, LADDER + 2
_STAGES = {_MONOMERS: "monomers", _DIMERS: "dimers", _LONGER: "longer", _ENERGIES: "energies"}


def group_nodes(graph: TaskGraph, limit: int) -> tuple[NodeGroup, ...]:
    """Group the tasks of one stage into batches, stages in order.

    An energies task stays with the minimisation that it needs.

    Parameters
    ----------
    graph : TaskGraph
    limit : int
        Most atoms that the structures of a batch have together; 0 puts every structure into a batch of its own.
    """
    followers: dict[int, list[int]] = {}
    stages: dict[int, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        if node.kind == "energies" and node.geometry is not None and node.fragments is None:
            followers.setdefault(node.geometry, []).append(position)
        else:
            stages.setdefault(_stage(node), []).append(position)
    groups: list[NodeGroup] = []
    for stage, positions in sorted(stages.items()):
        name = _STAGES.get(stage, f"{stage} units")
        units = [[position, *followers.get(position, [])] for position in positions]
        groups += [(f"{name} {n}", tuple(members)) for n, members in enumerate(_fill(graph, units, limit), 1)]
    return tuple(groups)


def _stage(node: Node) -> int:
    """Return the stage of a task: a rung of the ladder needs the rungs below it, capped or bare."""
    if node.kind == "monomer":
        return _MONOMERS
    if node.kind == "energies":
        return _ENERGIES
    return min(node.chain.length, _LONGER) if node.seeds else _DIMERS


def _fill(graph: TaskGraph, units: list[list[int]], limit: int) -> Iterator[list[int]]:
    members: list[int] = []
    filled = 0
    for unit in units:
        atoms = graph.nodes[unit[0]].chain.n_atoms
        if members and filled + atoms > limit:
            yield members
            members, filled = [], 0
        members += unit
        filled += atoms
    if members:
        yield members
