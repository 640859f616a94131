"""Schema of the stores of generalization campaigns: trained networks, splits and labelled datasets."""

from __future__ import annotations

from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS
from hbcoop_dist.store import Axis, Schema, Table
from hbcoop_dist.store.schema import status_variables, variables

SPLIT_DIMS = ("dataset", "split", "seed")
DATASET_DIMS = ("dataset",)

_MEV, _FORCE, _E, _KCAL = "meV", "meV/angstrom", "elementary charge", "kcal/mol"
_DEFINITION = "what the label stands for (JSON)"

_CELLS = Table(
    name="cell",
    title="Networks",
    dims=CELL_DIMS,
    status="status",
    reason="reason",
    key="task_key",
    versions="versions",
    required=("energy_rmse",),
    variables=(
        *status_variables(CELL_DIMS, "network"),
        *variables(
            CELL_DIMS,
            ("energy_rmse", "float64", _MEV, "RMSE of the energy per atom, test set"),
            ("energy_mae", "float64", _MEV, "MAE of the energy per atom, test set"),
            ("forces_rmse", "float64", _FORCE, "RMSE of force components, test set"),
            ("forces_mae", "float64", _FORCE, "MAE of force components, test set"),
            ("charges_mae", "float64", _E, "MAE of partial charges, up to their global sign"),
            (
                "charges_correlation",
                "float64",
                "1",
                "correlation of partial charges with the reference's, with its sign",
            ),
            (
                "dipole_rmse",
                "float64",
                f"{_E} angstrom",
                "RMSE of dipole components of the charges, up to sign",
            ),
            ("interaction_near_rmse", "float64", _KCAL, "RMSE of interaction energies, molecules within the cutoff"),
            (
                "interaction_beyond_rmse",
                "float64",
                _KCAL,
                "RMSE of interaction energies, all molecules beyond the cutoff",
            ),
            ("interaction_near_mae", "float64", _KCAL, "MAE of interaction energies, molecules within the cutoff"),
            (
                "interaction_beyond_mae",
                "float64",
                _KCAL,
                "MAE of interaction energies, all molecules beyond the cutoff",
            ),
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
        *variables(
            (*CELL_DIMS, "domain"),
            ("domain_energy_rmse", "float64", _MEV, "RMSE of the energy per atom in one part of the test set"),
            ("domain_forces_rmse", "float64", _FORCE, "RMSE of force components in one part of the test set"),
            ("domain_count", "int64", "1", "test structures in it"),
        ),
        *variables(
            (*CELL_DIMS, "atoms"),
            ("atoms_energy_rmse", "float64", _MEV, "RMSE of the energy per atom, test structures of one size"),
            ("atoms_forces_rmse", "float64", _FORCE, "RMSE of force components, test structures of one size"),
            ("atoms_count", "int64", "1", "test structures of that size"),
        ),
        *variables(
            (*CELL_DIMS, "step"),
            ("training_loss", "float64", "1", "loss of the training batches up to this step, mean since the last one"),
            ("validation_energy_mae", "float64", _MEV, "MAE of the energy per atom, validation set"),
            ("validation_forces_rmse", "float64", _FORCE, "RMSE of force components, validation set"),
        ),
    ),
)

_SPLITS = Table(
    name="split",
    title="Splits",
    dims=SPLIT_DIMS,
    variables=variables(
        (*SPLIT_DIMS, "structure"),
        ("part", "int64", "1", "0 training, 1 validation, 2 test, -1 no such structure"),
        ("similarity", "float64", "1", "of a test structure: cosine similarity of SOAP to the nearest training one"),
    ),
)

_DATASETS = Table(
    name="dataset",
    title="Datasets",
    dims=DATASET_DIMS,
    variables=(
        *variables(
            DATASET_DIMS,
            ("level_of_theory", "str", "", "what the labels are"),
            ("dropped", "str", "", "structures without labels, and why"),
        ),
        *variables(
            (*DATASET_DIMS, "structure"),
            ("structure_domain", "str", "", "part of chemical space"),
            ("structure_parent", "str", "", "parent molecule or composition"),
            ("structure_atoms", "int64", "1", "atoms"),
            ("umap_1", "float64", "1", "first coordinate of the UMAP of SOAP"),
            ("umap_2", "float64", "1", "second coordinate of the UMAP of SOAP"),
        ),
    ),
)

GENERALIZATION_SCHEMA = Schema(
    kind="generalization",
    title="Generalization of force fields with and without long-range schemes",
    axes=(
        Axis("dataset", "str", "labelled set of structures"),
        Axis(
            "split",
            "str",
            "how a set was divided into training and test: random, size, cluster, maxsep_paper or maxsep_fps",
        ),
        Axis("architecture", "str", "network without its long-range scheme"),
        Axis("scheme", "str", "long-range scheme"),
        Axis("seed", "int64", "of the split and of the network's first parameters", order="sorted"),
        Axis("domain", "str", "part of chemical space"),
        Axis("atoms", "int64", "atoms of a structure", order="sorted"),
        Axis("step", "int64", "training step", order="sorted"),
        Axis("structure", "int64", "structure of a set, from 0", order="sorted"),
    ),
    tables=(_CELLS, _SPLITS, _DATASETS),
    partition="dataset",
    static=(
        *variables(("dataset",), ("dataset_definition", "str", "", _DEFINITION)),
        *variables(("architecture",), ("architecture_definition", "str", "", _DEFINITION)),
        *variables(("scheme",), ("scheme_definition", "str", "", _DEFINITION)),
    ),
    definitions=("dataset_definition", "architecture_definition", "scheme_definition"),
)
