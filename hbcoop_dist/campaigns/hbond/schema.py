"""Schema of the stores of hydrogen-bonded chains: cells, isolated dimers, and static variables of a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hbcoop_dist.cooperativity.equation import FRAGMENTS
from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.core.results import Label
from hbcoop_dist.optimize.constraints import CONSTRAINTS
from hbcoop_dist.store import Axis, Schema, StoreError, Table, Variable
from hbcoop_dist.store.schema import AxisLabels, LabelledAxes, VariableRow, status_variables, variables
from hbcoop_dist.structures import CAPPINGS, CONFORMERS, PATTERNS, conformers_of, position_of
from hbcoop_dist.structures.chains import CAP_WATERS, CELL_DIMS, DIMER_DIMS, POSITIONS, Capping, Pattern
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

KCAL, EV, ANGSTROM, DEGREE, FORCE = "kcal/mol", "eV", "angstrom", "degree", "eV/angstrom"

_NMA = MOLECULE_NUMBERS["nma"]
_WATER = MOLECULE_NUMBERS["water"]

_SPREADS = (
    ("cooperative_energy", "cooperative energy"),
    ("cooperative_energy_electronic", "electronic part"),
    ("cooperative_energy_geometric", "geometric part"),
)
PAIR_ROWS: tuple[VariableRow, ...] = (
    ("cooperative_energy", "float64", KCAL, "cooperative energy (Eq. 1), positive = stronger in the complex"),
    ("cooperative_energy_electronic", "float64", KCAL, "electronic part, AB, A and B at the complex's geometry"),
    ("cooperative_energy_geometric", "float64", KCAL, "geometric part, the rest of the cooperative energy"),
    *(
        (
            f"{name}_spread",
            "float64",
            KCAL,
            f"standard deviation of the {words} over the networks of an ensemble, at one geometry",
        )
        for name, words in _SPREADS
    ),
    ("interaction_energy", "float64", KCAL, "interaction energy of A and B inside the complex"),
    ("interaction_energy_dimer", "float64", KCAL, "interaction energy of A and B in the isolated dimer"),
)
"""Energies of one marked pair A, B."""

_BOND_ROWS: tuple[VariableRow, ...] = (
    *PAIR_ROWS,
    ("distance_on", "float64", ANGSTROM, "O..N distance"),
    ("distance_oh", "float64", ANGSTROM, "O..H distance"),
    ("angle", "float64", DEGREE, "N-H..O angle"),
)

PROVENANCE_ROWS: tuple[VariableRow, ...] = (
    ("task_key", "str", "", "content hash of the task that gave the result"),
    ("checkpoint_sha256", "str", "", "SHA-256 of the model's checkpoint file"),
    ("parameter_hash", "str", "", "hash of the parameters as the worker loaded them"),
    ("versions", "str", "", "package versions on the worker (JSON)"),
    ("device", "str", "", "device that ran the model"),
    ("dtype", "str", "", "floating-point type that the model ran in"),
    ("host", "str", "", "machine that ran the task"),
    ("computed_at", "str", "", "when the task ended (ISO 8601)"),
)
"""Where and how a cell was computed."""

_CELLS = Table(
    name="cell",
    title="Cells",
    dims=CELL_DIMS,
    status="status",
    reason="reason",
    key="task_key",
    versions="versions",
    required=("cooperative_energy", "hbond_cooperative_energy"),
    variables=(
        *status_variables(CELL_DIMS, "cell"),
        *variables(
            CELL_DIMS,
            ("saddle", "flag", "", "the stationary point is a saddle"),
            ("near_ring", "flag", "", "head and tail nearly touch"),
            ("energy", "float64", EV, "total energy of the whole complex"),
            ("max_force", "float64", FORCE, "largest atomic force left after minimisation"),
            ("rms_force", "float64", FORCE, "root mean square force left after minimisation"),
            ("steps", "int64", "1", "steps of the minimisation"),
            ("force_calls", "int64", "1", "energy and force evaluations of the minimisation"),
            ("search_calls", "int64", "1", "evaluations for planar stationary points, other starts, steps down a mode"),
            ("mode_calls", "int64", "1", "evaluations for the lowest mode"),
            ("evaluations", "int64", "1", "sum of force_calls, search_calls and mode_calls"),
            ("seconds", "float64", "s", "wall-clock time spent on the cell"),
            ("planarity", "float64", ANGSTROM, "largest distance of a heavy atom of the units from their plane"),
            (
                "planarity_hydrogens",
                "float64",
                ANGSTROM,
                "the same with the in-plane hydrogens of the units and the O of the cap waters",
            ),
            (
                "lowest_eigenvalue",
                "float64",
                "eV/angstrom**2",
                "lowest eigenvalue of the Hessian under the constraint; under mirror of its out-of-plane part with "
                "phi1 and phi2 held",
            ),
            ("other_minima", "str", "", "energies of other stationary points found, kcal/mol above this one"),
            ("head_tail_contact", "float64", ANGSTROM, "shortest distance between the first and the last unit"),
            ("unit_rotamers", "str", "", "rotamer nearest to the methyls of every unit, in chain order"),
            *PROVENANCE_ROWS,
        ),
        *variables(
            (*CELL_DIMS, "unit"),
            ("acetyl_angle", "float64", DEGREE, "torsion H-CA-C-N of the acetyl H nearest to cis-N (0; cis-O is 60)"),
            (
                "amine_angle",
                "float64",
                DEGREE,
                "torsion H-CN-N-C of the amine H nearest to cis-C (0; trans-C is 60)",
            ),
        ),
        *variables((*CELL_DIMS, "position"), *_BOND_ROWS),
        *variables(
            (*CELL_DIMS, "hbond"),
            *((f"hbond_{name}", dtype, units, text) for name, dtype, units, text in _BOND_ROWS),
            ("phi1", "float64", DEGREE, "torsion N_A-C_A-O_A-N_B (0 = syn, 180 = anti)"),
            ("phi2", "float64", DEGREE, "torsion C_A-O_A-N_B-C_B"),
        ),
        *variables(
            (*CELL_DIMS, "hbond", "fragment"), ("fragment_energy", "float64", EV, "energies of the points of Eq. 1")
        ),
        *variables(
            (*CELL_DIMS, "hbond", "atom"),
            ("atomic_cooperative_energy", "float64", KCAL, "cooperative energy, Eq. 1 summed atom by atom"),
        ),
        *variables(
            (*CELL_DIMS, "atom", "xyz"),
            ("positions", "float64", ANGSTROM, "minimised geometry"),
            ("lowest_mode", "float32", "1", "displacement of the lowest mode, of unit norm"),
        ),
    ),
)

_DIMERS = Table(
    name="dimer",
    title="Isolated dimers",
    dims=DIMER_DIMS,
    status="dimer_status",
    reason="dimer_reason",
    key="dimer_task_key",
    variables=(
        *status_variables(DIMER_DIMS, "isolated dimer", "dimer_"),
        *variables(
            DIMER_DIMS,
            ("dimer_energy", "float64", EV, "total energy of the isolated dimer"),
            ("dimer_interaction_energy", "float64", KCAL, "interaction energy of the isolated dimer"),
            ("dimer_distance_on", "float64", ANGSTROM, "O..N distance in the isolated dimer"),
            ("dimer_distance_oh", "float64", ANGSTROM, "O..H distance in the isolated dimer"),
            ("dimer_angle", "float64", DEGREE, "N-H..O angle in the isolated dimer"),
            ("dimer_max_force", "float64", FORCE, "largest atomic force left in the isolated dimer"),
            ("dimer_rms_force", "float64", FORCE, "root mean square force left in the isolated dimer"),
            (
                "dimer_evaluations",
                "int64",
                "1",
                "evaluations for minimum and lowest mode of the isolated dimer",
            ),
            (
                "dimer_lowest_eigenvalue",
                "float64",
                "eV/angstrom**2",
                "lowest eigenvalue of the isolated dimer's Hessian, as for a chain",
            ),
            ("dimer_other_minima", "str", "", "energies of other stationary points found, kcal/mol above this one"),
            ("dimer_saddle", "flag", "", "the isolated dimer is a saddle"),
            ("dimer_task_key", "str", "", "content hash of the task that gave the isolated dimer"),
        ),
        *variables(
            (*DIMER_DIMS, "atom", "xyz"), ("dimer_positions", "float64", ANGSTROM, "geometry of the isolated dimer")
        ),
    ),
)

_STATIC: tuple[Variable, ...] = (
    *variables(("pattern", "hbond"), ("hbond_conformer", "str", "", "syn or anti, of every hydrogen bond")),
    *variables(
        ("pattern", "length", "position"), ("position_conformer", "str", "", "syn or anti, of head, middle and tail")
    ),
    *variables(
        ("length", "position"),
        ("position_hbond", "int64", "1", "hydrogen bond that the position names"),
        ("units_before", "int64", "1", "units before the bond's acceptor unit"),
        ("units_after", "int64", "1", "units after the bond's donor unit"),
    ),
    *variables(
        ("length", "capping", "atom"),
        ("atomic_number", "int64", "1", "atomic number"),
        ("molecule", "int64", "1", "index of the atom's molecule: units 1..n are 0..n-1, then the waters"),
    ),
)

FRAGMENT_AXIS = Axis(
    "fragment",
    "str",
    "point of Eq. 1: ABC, BC, AC, C in the complex, AB, A, B alone or at its geometry",
    labels=FRAGMENTS,
)
XYZ_AXIS = Axis("xyz", "str", "Cartesian component", labels=("x", "y", "z"))
MODEL_AXIS = Axis("model", "str", "checkpoint of a force field, or another potential")


def n_atoms(length: int, capping: str) -> int:
    """Return the number of atoms of a chain, cap waters included.

    Parameters
    ----------
    length : int
        Number of units.
    capping : {"none", "water"}
    """
    return len(_NMA) * length + (CAP_WATERS * len(_WATER) if capping == "water" else 0)


def _derive(labels: AxisLabels) -> AxisLabels:
    lengths = cast(tuple[int, ...], labels["length"])
    if lengths[0] < 2:
        raise StoreError(f"length: expected at least 2 units, found {lengths[0]}")
    most = max(n_atoms(lengths[-1], str(capping)) for capping in labels["capping"])
    return {
        "unit": tuple(range(1, lengths[-1] + 1)),
        "hbond": tuple(range(1, lengths[-1])),
        "atom": tuple(range(most)),
    }


def _extent(dim: str, labels: Mapping[str, Label]) -> int | None:
    # an isolated dimer has no length: it is two units without caps
    length = cast(int, labels.get("length", 2))
    if dim == "unit":
        return length
    if dim == "hbond":
        return length - 1
    if dim == "atom":
        return n_atoms(length, str(labels.get("capping", "none")))
    return None


def _static_values(layout: LabelledAxes) -> dict[str, AnyArray]:
    values = {v.name: v.missing(layout.shape(v.dims)) for v in _STATIC}
    patterns = cast(tuple[Pattern, ...], layout.labels("pattern"))
    lengths = cast(tuple[int, ...], layout.labels("length"))
    for p, pattern in enumerate(patterns):
        values["hbond_conformer"][p] = conformers_of(pattern, lengths[-1])
    for i, length in enumerate(lengths):
        bonds = [position_of(position, length) for position in POSITIONS]
        values["position_hbond"][i] = bonds
        values["units_before"][i] = [bond - 1 for bond in bonds]
        values["units_after"][i] = [length - bond - 1 for bond in bonds]
        for p, pattern in enumerate(patterns):
            conformers = conformers_of(pattern, length)
            values["position_conformer"][p, i] = [conformers[bond - 1] for bond in bonds]
        for c, capping in enumerate(cast(tuple[Capping, ...], layout.labels("capping"))):
            numbers, molecules = _atoms(length, capping)
            values["atomic_number"][i, c, : len(numbers)] = numbers
            values["molecule"][i, c, : len(molecules)] = molecules
    return values


def _atoms(length: int, capping: str) -> tuple[list[int], list[int]]:
    """Atomic numbers of a chain, and the molecule that each atom belongs to."""
    molecules = [_NMA] * length + [_WATER] * (CAP_WATERS if capping == "water" else 0)
    numbers = [z for molecule in molecules for z in molecule]
    return numbers, [index for index, molecule in enumerate(molecules) for _ in molecule]


HBOND_SCHEMA = Schema(
    kind="hbond",
    title="Hydrogen-bond cooperativity of force fields",
    axes=(
        MODEL_AXIS,
        Axis("pattern", "str", "arc (every dimer syn) or linear (syn, anti, syn, ...)", choices=PATTERNS),
        Axis("length", "int64", "number of N-methylacetamide units", order="sorted"),
        Axis("capping", "str", "none, or water (1 at the free N-H end, 3 at the free C=O end)", choices=CAPPINGS),
        Axis(
            "geometry",
            "str",
            "own (minimised with the model itself), a model whose minima were taken, or a reference set",
        ),
        Axis("rotamer", "str", "methyl orientations: of the start, and under constraint mirror of the result"),
        Axis(
            "constraint",
            "str",
            "torsions (phi1 and phi2 held), mirror (planar stationary point), or none",
            choices=CONSTRAINTS,
        ),
        Axis("unit", "int64", "N-methylacetamide unit, from 1 at the free N-H end", derived=True),
        Axis("position", "str", "head, middle or tail hydrogen bond of the chain", labels=POSITIONS),
        Axis(
            "hbond", "int64", "hydrogen bond i between unit i (accepts) and unit i + 1 (donates), from 1", derived=True
        ),
        FRAGMENT_AXIS,
        Axis("atom", "int64", "atom index: units 1..n, then the waters, from 0", derived=True),
        XYZ_AXIS,
        Axis("conformer", "str", "syn or anti isolated dimer", labels=CONFORMERS),
    ),
    tables=(_CELLS, _DIMERS),
    partition="model",
    static=_STATIC,
    derive=_derive,
    extent=_extent,
    static_values=_static_values,
)
