"""The contract of a generalization store: every variable with its dims, units and missing value, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS
from hbcoop_dist.store.schema import SCHEMA, SCHEMA_VERSION, DType, Fill, Variable, table

KIND = "generalization"

AXES: Mapping[str, str] = MappingProxyType(
    {
        "dataset": "labelled set of structures",
        "split": "how a set was divided into training and test: random, size, cluster, maxsep_paper or maxsep_fps",
        "architecture": "network without its long-range scheme",
        "scheme": "long-range scheme",
        "seed": "of the split and of the network's first parameters",
        "domain": "part of chemical space",
        "atoms": "atoms of a structure",
        "step": "training step",
        "structure": "structure of a set, from 0",
    }
)
"""Axes and what their labels are."""
INTEGER_AXES = ("seed", "atoms", "step", "structure")

_FILLS: dict[DType, Fill] = {"float64": np.nan, "int64": -1, "flag": -1, "str": ""}
_MEV, _FORCE, _E, _KCAL = "meV", "meV/angstrom", "elementary charge", "kcal/mol"


def _rows(dims: tuple[str, ...], *rows: tuple[str, DType, str, str]) -> tuple[Variable, ...]:
    return tuple(
        Variable(name, dims, dtype, units, text, "pending" if name == "status" else _FILLS[dtype])
        for name, dtype, units, text in rows
    )


CELL_VARIABLES = (
    *_rows(
        CELL_DIMS,
        ("status", "str", "", "state of the network, written last"),
        ("reason", "str", "", "why it is not done"),
        ("energy_rmse", "float64", _MEV, "RMSE of the energy per atom, test set"),
        ("energy_mae", "float64", _MEV, "MAE of the energy per atom, test set"),
        ("forces_rmse", "float64", _FORCE, "RMSE of force components, test set"),
        ("forces_mae", "float64", _FORCE, "MAE of force components, test set"),
        ("charges_mae", "float64", _E, "MAE of partial charges, up to their global sign"),
        ("charges_correlation", "float64", "1", "correlation of partial charges with the reference's, with its sign"),
        ("dipole_rmse", "float64", f"{_E} angstrom", "RMSE of dipole components from the charges, up to their sign"),
        ("interaction_near_rmse", "float64", _KCAL, "RMSE of interaction energies, molecules within the cutoff"),
        ("interaction_beyond_rmse", "float64", _KCAL, "RMSE of interaction energies, all molecules beyond the cutoff"),
        ("interaction_near_mae", "float64", _KCAL, "MAE of interaction energies, molecules within the cutoff"),
        ("interaction_beyond_mae", "float64", _KCAL, "MAE of interaction energies, all molecules beyond the cutoff"),
        ("n_near", "int64", "1", "test structures with an interaction energy, molecules within the cutoff"),
        ("n_beyond", "int64", "1", "test structures with an interaction energy, all molecules beyond the cutoff"),
        ("n_training", "int64", "1", "training structures"),
        ("n_test", "int64", "1", "test structures"),
        ("parameters", "int64", "1", "numbers that were trained"),
        ("best_step", "int64", "1", "step whose parameters were kept: lowest validation loss"),
        ("seconds", "float64", "s", "wall-clock time of training and test"),
        ("parameter_hash", "str", "", "hash of the trained parameters"),
        ("task_key", "str", "", "content hash of the task that tested the network"),
        ("versions", "str", "", "package versions on the worker (JSON)"),
        ("device", "str", "", "device that trained the network"),
        ("dtype", "str", "", "floating-point type of the training"),
        ("host", "str", "", "machine that ran the task"),
        ("computed_at", "str", "", "when the task ended (ISO 8601)"),
    ),
    *_rows(
        (*CELL_DIMS, "domain"),
        ("domain_energy_rmse", "float64", _MEV, "RMSE of the energy per atom in one part of the test set"),
        ("domain_forces_rmse", "float64", _FORCE, "RMSE of force components in one part of the test set"),
        ("domain_count", "int64", "1", "test structures in it"),
    ),
    *_rows(
        (*CELL_DIMS, "atoms"),
        ("atoms_energy_rmse", "float64", _MEV, "RMSE of the energy per atom, test structures of one size"),
        ("atoms_forces_rmse", "float64", _FORCE, "RMSE of force components, test structures of one size"),
        ("atoms_count", "int64", "1", "test structures of that size"),
    ),
    *_rows(
        (*CELL_DIMS, "step"),
        ("training_loss", "float64", "1", "loss of the training batches up to this step, mean since the last one"),
        ("validation_energy_mae", "float64", _MEV, "MAE of the energy per atom, validation set"),
        ("validation_forces_rmse", "float64", _FORCE, "RMSE of force components, validation set"),
    ),
)
SPLIT_DIMS = ("dataset", "split", "seed")
SPLIT_VARIABLES = (
    *_rows(
        (*SPLIT_DIMS, "structure"), ("part", "int64", "1", "0 training, 1 validation, 2 test, -1 no such structure")
    ),
    *_rows(
        (*SPLIT_DIMS, "structure"),
        ("similarity", "float64", "1", "of a test structure: cosine similarity of SOAP to the nearest training one"),
    ),
)
DATASET_VARIABLES = (
    *_rows(
        ("dataset",),
        ("level_of_theory", "str", "", "what the labels are"),
        ("dropped", "str", "", "structures without labels, and why"),
    ),
    *_rows(
        ("dataset", "structure"),
        ("structure_domain", "str", "", "part of chemical space"),
        ("structure_parent", "str", "", "parent molecule or composition"),
        ("structure_atoms", "int64", "1", "atoms"),
        ("umap_1", "float64", "1", "first coordinate of the UMAP of SOAP"),
        ("umap_2", "float64", "1", "second coordinate of the UMAP of SOAP"),
    ),
)
DEFINITIONS = _rows(("dataset",), ("dataset_definition", "str", "", "what the label stands for (JSON)")) + (
    *_rows(("architecture",), ("architecture_definition", "str", "", "what the label stands for (JSON)")),
    *_rows(("scheme",), ("scheme_definition", "str", "", "what the label stands for (JSON)")),
)
VARIABLES: Mapping[str, Variable] = MappingProxyType(
    {one.name: one for one in (*CELL_VARIABLES, *SPLIT_VARIABLES, *DATASET_VARIABLES, *DEFINITIONS)}
)


def describe() -> str:
    """The data dictionary of a generalization store, as markdown."""
    lines = [
        "# Data dictionary\n",
        f"Schema `{SCHEMA}`, version {SCHEMA_VERSION}, kind `{KIND}`. `xarray.open_zarr(path)` reads a store. Only",
        "networks whose `status` is `done` are results; missing numbers are NaN, missing counts -1.\n",
        "## Axes\n",
        "| dim | labels | meaning |",
        "|---|---|---|",
        *(f"| `{dim}` | {'int64' if dim in INTEGER_AXES else 'str'} | {text} |" for dim, text in AXES.items()),
        "",
        *table("Networks", CELL_DIMS, CELL_VARIABLES),
        *table("Splits", SPLIT_DIMS, SPLIT_VARIABLES),
        *table("Sets", ("dataset",), DATASET_VARIABLES),
        *table("What labels stand for", (), DEFINITIONS),
    ]
    return "\n".join(lines)
