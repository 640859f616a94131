"""Schema of the stores of complexes with a marked pair: one value per model and complex."""

from __future__ import annotations

from hbcoop_dist.campaigns.hbond.schema import (
    ANGSTROM,
    EV,
    FORCE,
    FRAGMENT_AXIS,
    KCAL,
    MODEL_AXIS,
    PAIR_ROWS,
    PROVENANCE_ROWS,
    XYZ_AXIS,
)
from hbcoop_dist.store import Axis, Schema, Table
from hbcoop_dist.store.schema import status_variables, variables

CELL_DIMS = ("model", "complex")

_CELLS = Table(
    name="cell",
    title="Cells",
    dims=CELL_DIMS,
    status="status",
    reason="reason",
    key="task_key",
    versions="versions",
    required=("cooperative_energy",),
    variables=(
        *status_variables(CELL_DIMS, "cell"),
        *variables(
            CELL_DIMS,
            *PAIR_ROWS,
            ("energy", "float64", EV, "total energy of the whole complex"),
            ("distance", "float64", ANGSTROM, "shortest distance between A and B"),
            ("max_force", "float64", FORCE, "largest atomic force left after minimisation"),
            ("rms_force", "float64", FORCE, "root mean square force left after minimisation"),
            ("force_calls", "int64", "1", "energy and force evaluations of the minimisation"),
            ("seconds", "float64", "s", "wall-clock time of the tasks"),
            *PROVENANCE_ROWS,
        ),
        *variables((*CELL_DIMS, "fragment"), ("fragment_energy", "float64", EV, "energies of the points of Eq. 1")),
        *variables(
            (*CELL_DIMS, "atom"),
            ("atomic_cooperative_energy", "float64", KCAL, "cooperative energy atom by atom (Eqs. 2 to 5)"),
        ),
        *variables((*CELL_DIMS, "atom", "xyz"), ("positions", "float64", ANGSTROM, "geometry of the complex")),
    ),
)

COMPLEXES_SCHEMA = Schema(
    kind="complexes",
    title="Cooperativity of marked pairs in complexes",
    axes=(
        MODEL_AXIS,
        Axis("complex", "str", "cluster of molecules in which a pair A, B is marked"),
        FRAGMENT_AXIS,
        Axis("atom", "int64", "atom index in the order of the complex's file, from 0", order="sorted"),
        XYZ_AXIS,
    ),
    tables=(_CELLS,),
    partition="model",
    static=(
        *variables(
            ("complex", "atom"), ("atomic_number", "int64", "1", "atomic number"), ("part", "str", "", "A, B or C")
        ),
        *variables(
            ("complex",),
            ("geometry", "str", "", "fixed (as in the file) or free (minimised from there)"),
            ("digest", "str", "", "hash of the file's atoms, of which are A and B, and of whether the complex is free"),
        ),
    ),
    definitions=("digest",),
)
