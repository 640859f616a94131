"""The store's contract: every variable with its dims, units and missing value, in one table.

Creation, validation, verification and the data dictionary all read this table; nothing else names a dim or a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

SCHEMA = "hbcoop_dist"
SCHEMA_VERSION = 1

Kind = Literal["cell", "dimer"]
DType = Literal["float64", "int64", "flag", "str"]
Fill = float | int | str

LABEL_DIMS: dict[Kind, tuple[str, ...]] = {"cell": CELL_DIMS, "dimer": DIMER_DIMS}
STATUS_NAMES: dict[Kind, tuple[str, str]] = {"cell": ("status", "reason"), "dimer": ("dimer_status", "dimer_reason")}

_FILLS: dict[DType, Fill] = {"float64": np.nan, "int64": -1, "flag": -1, "str": ""}
_KCAL, _EV, _ANGSTROM, _DEGREE, _FORCE = "kcal/mol", "eV", "angstrom", "degree", "eV/angstrom"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the store.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Label dims first, then the dims of one cell's value.
    dtype : {"float64", "int64", "flag", "str"}
        A flag is an int8: 1 yes, 0 no, -1 missing.
    units : str
        Empty for text and flags; "1" for counts.
    long_name : str
    fill : float, int or str
        What stands where nothing was written; never a valid value, so that missing is never read as zero.
    """

    name: str
    dims: tuple[str, ...]
    dtype: DType
    units: str
    long_name: str
    fill: Fill

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype in memory and in the store."""
        if self.dtype == "str":
            return np.dtypes.StringDType()
        return np.dtype("int8") if self.dtype == "flag" else np.dtype(self.dtype)

    def missing(self, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """An array of `shape` in which every value is missing."""
        return np.full(shape, self.fill, dtype=self.numpy_dtype)

    def attributes(self) -> dict[str, object]:
        """Attributes in the store: long_name, units, and how to read a missing value or a flag."""
        found: dict[str, object] = {"long_name": self.long_name}
        if self.units:
            found["units"] = self.units
        if self.dtype == "flag":
            found.update(flag_values=[-1, 0, 1], flag_meanings="missing no yes")
        if self.dtype == "int64":
            found["comment"] = "-1 is missing"
        if self.name in ("status", "dimer_status"):
            found["comment"] = "one of " + ", ".join(STATUSES)
        return found


@dataclass(frozen=True, slots=True)
class Dim:
    """One axis of the store: its name, whether its labels are text or integers, and what it counts."""

    name: str
    dtype: Literal["int64", "str"]
    long_name: str


DIMS: dict[str, Dim] = {
    dim.name: dim
    for dim in (
        Dim("model", "str", "checkpoint of a force field, or another potential"),
        Dim("pattern", "str", "arc (every dimer syn) or linear (syn, anti, syn, ...)"),
        Dim("length", "int64", "number of N-methylacetamide units"),
        Dim("capping", "str", "none, or water (1 at the free N-H end, 3 at the free C=O end)"),
        Dim(
            "geometry",
            "str",
            "own (minimised with the model itself), a model whose minima were taken, or a reference set",
        ),
        Dim("rotamer", "str", "methyl orientations asked for"),
        Dim("position", "str", "head, middle or tail hydrogen bond of the chain"),
        Dim("hbond", "int64", "hydrogen bond i between unit i (accepts) and unit i + 1 (donates), from 1"),
        Dim("fragment", "str", "point of Eq. 1: ABC, BC, AC, C in the complex, AB, A, B alone or at its geometry"),
        Dim("atom", "int64", "atom index: units 1..n, then the waters, from 0"),
        Dim("xyz", "str", "Cartesian component"),
        Dim("conformer", "str", "syn or anti isolated dimer"),
    )
}


def _variables(dims: tuple[str, ...], *rows: tuple[str, DType, str, str]) -> tuple[Variable, ...]:
    return tuple(
        Variable(name, dims, dtype, units, text, "pending" if name in ("status", "dimer_status") else _FILLS[dtype])
        for name, dtype, units, text in rows
    )


_OVER = "over the networks of an ensemble, at one geometry"
_SPREADS = (
    ("cooperative_energy", "cooperative energy"),
    ("cooperative_energy_electronic", "electronic part"),
    ("cooperative_energy_geometric", "geometric part"),
)
_BOND_ROWS: tuple[tuple[str, DType, str, str], ...] = (
    ("cooperative_energy", "float64", _KCAL, "cooperative energy (Eq. 1), positive = stronger in the complex"),
    ("cooperative_energy_electronic", "float64", _KCAL, "electronic part, AB, A and B at the complex's geometry"),
    ("cooperative_energy_geometric", "float64", _KCAL, "geometric part, the rest of the cooperative energy"),
    *((f"{name}_spread", "float64", _KCAL, f"standard deviation of the {words} {_OVER}") for name, words in _SPREADS),
    ("interaction_energy", "float64", _KCAL, "interaction energy of A and B inside the complex"),
    ("interaction_energy_dimer", "float64", _KCAL, "interaction energy of A and B in the isolated dimer"),
    ("distance_on", "float64", _ANGSTROM, "O..N distance"),
    ("distance_oh", "float64", _ANGSTROM, "O..H distance"),
    ("angle", "float64", _DEGREE, "N-H..O angle"),
)

_PROVENANCE_ROWS: tuple[tuple[str, DType, str, str], ...] = (
    ("task_key", "str", "", "content hash of the task that gave the result"),
    ("checkpoint_sha256", "str", "", "SHA-256 of the model's checkpoint file"),
    ("parameter_hash", "str", "", "hash of the parameters as the worker loaded them"),
    ("versions", "str", "", "package versions on the worker (JSON)"),
    ("device", "str", "", "device that ran the model"),
    ("dtype", "str", "", "floating-point type that the model ran in"),
    ("host", "str", "", "machine that ran the task"),
    ("computed_at", "str", "", "when the task ended (ISO 8601)"),
)

CELL_VARIABLES: tuple[Variable, ...] = (
    *_variables(
        CELL_DIMS,
        ("status", "str", "", "state of the cell, written last"),
        ("reason", "str", "", "why the cell is not done"),
        ("saddle", "flag", "", "the stationary point is a saddle"),
        ("near_ring", "flag", "", "head and tail nearly touch"),
        ("energy", "float64", _EV, "total energy of the whole complex"),
        ("max_force", "float64", _FORCE, "largest atomic force left after minimisation"),
        ("rms_force", "float64", _FORCE, "root mean square force left after minimisation"),
        ("steps", "int64", "1", "steps of the minimisation"),
        ("force_calls", "int64", "1", "energy and force evaluations of the minimisation"),
        ("seconds", "float64", "s", "wall-clock time spent on the cell"),
        ("planarity", "float64", _ANGSTROM, "largest distance of any in-plane atom from the plane"),
        (
            "lowest_out_of_plane",
            "float64",
            "eV/angstrom**2",
            "lowest eigenvalue of the out-of-plane Hessian with phi1 and phi2 held",
        ),
        ("head_tail_contact", "float64", _ANGSTROM, "shortest distance between the first and the last unit"),
        ("unit_rotamers", "str", "", "rotamer of every unit, in chain order"),
        *_PROVENANCE_ROWS,
    ),
    *_variables((*CELL_DIMS, "position"), *_BOND_ROWS),
    *_variables(
        (*CELL_DIMS, "hbond"),
        *((f"hbond_{name}", dtype, units, text) for name, dtype, units, text in _BOND_ROWS),
        ("phi1", "float64", _DEGREE, "torsion N_A-C_A-O_A-N_B (0 = syn, 180 = anti)"),
        ("phi2", "float64", _DEGREE, "torsion C_A-O_A-N_B-C_B"),
    ),
    *_variables(
        (*CELL_DIMS, "hbond", "fragment"), ("fragment_energy", "float64", _EV, "energies of the points of Eq. 1")
    ),
    *_variables(
        (*CELL_DIMS, "hbond", "atom"),
        ("atomic_cooperative_energy", "float64", _KCAL, "cooperative energy, Eq. 1 summed atom by atom"),
    ),
    *_variables((*CELL_DIMS, "atom", "xyz"), ("positions", "float64", _ANGSTROM, "minimised geometry")),
)

DIMER_VARIABLES: tuple[Variable, ...] = (
    *_variables(
        DIMER_DIMS,
        ("dimer_status", "str", "", "state of the isolated dimer, written last"),
        ("dimer_reason", "str", "", "why the isolated dimer is not done"),
        ("dimer_energy", "float64", _EV, "total energy of the isolated dimer"),
        ("dimer_interaction_energy", "float64", _KCAL, "interaction energy of the isolated dimer"),
        ("dimer_distance_on", "float64", _ANGSTROM, "O..N distance in the isolated dimer"),
        ("dimer_distance_oh", "float64", _ANGSTROM, "O..H distance in the isolated dimer"),
        ("dimer_angle", "float64", _DEGREE, "N-H..O angle in the isolated dimer"),
        ("dimer_max_force", "float64", _FORCE, "largest atomic force left in the isolated dimer"),
        ("dimer_rms_force", "float64", _FORCE, "root mean square force left in the isolated dimer"),
        (
            "dimer_lowest_out_of_plane",
            "float64",
            "eV/angstrom**2",
            "lowest eigenvalue of the isolated dimer's out-of-plane Hessian with phi1 and phi2 held",
        ),
        ("dimer_saddle", "flag", "", "the isolated dimer is a saddle"),
        ("dimer_task_key", "str", "", "content hash of the task that gave the isolated dimer"),
    ),
    *_variables(
        (*DIMER_DIMS, "atom", "xyz"), ("dimer_positions", "float64", _ANGSTROM, "geometry of the isolated dimer")
    ),
)

STATIC_VARIABLES: tuple[Variable, ...] = (
    *_variables(("pattern", "hbond"), ("hbond_conformer", "str", "", "syn or anti, of every hydrogen bond")),
    *_variables(
        ("pattern", "length", "position"), ("position_conformer", "str", "", "syn or anti, of head, middle and tail")
    ),
    *_variables(
        ("length", "position"),
        ("position_hbond", "int64", "1", "hydrogen bond that the position names"),
        ("units_before", "int64", "1", "units before the bond's acceptor unit"),
        ("units_after", "int64", "1", "units after the bond's donor unit"),
    ),
    *_variables(
        ("length", "capping", "atom"),
        ("atomic_number", "int64", "1", "atomic number"),
        ("molecule", "int64", "1", "index of the atom's molecule: units 1..n are 0..n-1, then the waters"),
    ),
)

SYSTEM_CELL_VARIABLES: tuple[Variable, ...] = (
    *_variables(
        ("model", "system"),
        ("status", "str", "", "state of the marked system, written last"),
        ("reason", "str", "", "why it is not done"),
        *(row for row in _BOND_ROWS if row[2] == _KCAL),
        ("energy", "float64", _EV, "total energy of the whole complex"),
        ("distance", "float64", _ANGSTROM, "shortest distance between A and B"),
        ("max_force", "float64", _FORCE, "largest atomic force left after minimisation"),
        ("rms_force", "float64", _FORCE, "root mean square force left after minimisation"),
        ("force_calls", "int64", "1", "force calls of the minimisation"),
        ("seconds", "float64", "s", "wall-clock time of the tasks"),
        *_PROVENANCE_ROWS,
    ),
    *_variables(("model", "system", "fragment"), ("fragment_energy", "float64", _EV, "energy of every point of Eq. 1")),
    *_variables(
        ("model", "system", "atom"),
        ("atomic_cooperative_energy", "float64", _KCAL, "cooperative energy atom by atom (Eqs. 2 to 5)"),
    ),
    *_variables(("model", "system", "atom", "xyz"), ("positions", "float64", _ANGSTROM, "geometry of the complex")),
)

SYSTEM_VARIABLES: tuple[Variable, ...] = (
    *SYSTEM_CELL_VARIABLES,
    *_variables(
        ("system", "atom"),
        ("atomic_number", "int64", "1", "atomic number"),
        ("part", "str", "", "A, B or C"),
    ),
    *_variables(
        ("system",),
        ("geometry", "str", "", "fixed (as in the file) or free (minimised from there)"),
        ("digest", "str", "", "hash of the file's atoms and of which are A and B: a name stands for one system only"),
    ),
)
"""The group ``systems``: any cluster in which a pair is marked."""

LATER = tuple(f"{prefix}{name}_spread" for prefix in ("", "hbond_") for name, _ in _SPREADS)
"""Variables that came after the first stores of this version, which may lack them: nothing of these was measured."""

VARIABLES: dict[str, Variable] = {v.name: v for v in (*CELL_VARIABLES, *DIMER_VARIABLES, *STATIC_VARIABLES)}


def variables_of(kind: Kind) -> tuple[Variable, ...]:
    """Variables that a record of `kind` may fill, its status and reason included."""
    return CELL_VARIABLES if kind == "cell" else DIMER_VARIABLES


def table(title: str, label_dims: tuple[str, ...], variables: Iterable[Variable]) -> Iterator[str]:
    """Variables as lines of a markdown table under a heading; `label_dims` are those that all of them have."""
    own = f" Every one has the dims ({', '.join(label_dims)}) and those listed." if label_dims else ""
    yield f"## {title}\n\nMissing values stand in the last column.{own}\n"
    yield "| variable | dims | dtype | units | meaning | missing |"
    yield "|---|---|---|---|---|---|"
    for v in variables:
        rest = ", ".join(v.dims[len(label_dims) :])
        fill = f'"{v.fill}"' if isinstance(v.fill, str) else f"{v.fill}"
        yield f"| `{v.name}` | {rest} | {v.dtype} | {v.units} | {v.long_name} | {fill} |"
    yield ""


def describe() -> str:
    """The data dictionary of the store, as markdown."""
    lines = [
        "# Data dictionary\n",
        f"Schema `{SCHEMA}`, version {SCHEMA_VERSION}. `xarray.open_zarr(path)` reads a store; text comes as numpy",
        "variable-length strings there and as objects from `hbcoop_dist.open_store`. A flag is an int8 (1 yes, 0 no,",
        "-1 missing), so compare it: `ds.saddle == 1`. Only cells whose `status` is `done` are results.\n",
        "## Axes\n",
        "| dim | labels | meaning |",
        "|---|---|---|",
        *(f"| `{dim.name}` | {dim.dtype} | {dim.long_name} |" for dim in DIMS.values()),
        "",
        *table("Cells", CELL_DIMS, CELL_VARIABLES),
        *table("Isolated dimers", DIMER_DIMS, DIMER_VARIABLES),
        *table("What follows from the axes", (), STATIC_VARIABLES),
        *table("Marked systems (group `systems`)", (), SYSTEM_VARIABLES),
    ]
    return "\n".join(lines)
