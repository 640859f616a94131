"""Small stores for the tests: labels of a few chains, and a schema whose axes grow with its records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hbcoop_dist.core.results import Label, Record, Status
from hbcoop_dist.store import Axis, Schema, Table, open_store, prepare_store, status_variables, variables

LABELS: Mapping[str, tuple[Label, ...]] = {
    "model": ("so3lr", "toy"),
    "pattern": ("arc", "linear"),
    "length": (2, 3, 4),
    "capping": ("none", "water"),
    "geometry": ("own",),
    "rotamer": ("default",),
    "constraint": ("mirror",),
}

INCIDENTAL = ("seconds", "computed_at", "host")

CELL_DIMS = ("fluid", "temperature")

FLUIDS = Schema(
    kind="fluids",
    title="Densities of fluids",
    axes=(
        Axis("fluid", "str", "what is in the box"),
        Axis("temperature", "int64", "K", order="sorted"),
        Axis("time", "int64", "steps", order="sorted"),
        Axis("atom", "int64", "atom of a molecule", order="sorted"),
    ),
    tables=(
        Table(
            name="cell",
            title="Densities",
            dims=CELL_DIMS,
            status="status",
            reason="reason",
            key="task_key",
            required=("density",),
            variables=(
                *status_variables(CELL_DIMS, "density"),
                *variables(CELL_DIMS, ("density", "float64", "g/cm**3", "density"), ("task_key", "str", "", "task")),
                *variables((*CELL_DIMS, "time"), ("volume", "float64", "angstrom**3", "volume of the box")),
            ),
        ),
        Table(
            name="fluid",
            title="Fluids",
            dims=("fluid",),
            variables=(
                *variables(("fluid",), ("note", "str", "", "remark"), ("is_polar", "flag", "", "it has a dipole")),
                *variables(("fluid", "time"), ("pressure", "int64", "1", "bar")),
            ),
        ),
    ),
    partition="fluid",
    static=(
        *variables(("fluid",), ("formula", "str", "", "what the label stands for")),
        *variables(("fluid", "atom"), ("atomic_number", "int64", "1", "atomic number")),
        *variables(("temperature",), ("celsius", "float64", "degree Celsius", "the same temperature")),
    ),
    static_values=lambda layout: {"celsius": np.asarray(layout.labels("temperature"), dtype=float) - 273.15},
    definitions=("formula",),
)

WATER = {"formula": {"water": "H2O"}, "atomic_number": {"water": [8, 1, 1]}}


def density(temperature: int, value: float, *times: int, fluid: str = "water", status: Status = "done") -> Record:
    """Return the record of one cell whose volumes are `value` times the time."""
    return Record(
        "cell",
        {"fluid": fluid, "temperature": temperature},
        status,
        values={
            "density": value,
            "task_key": f"{fluid}-{temperature}-{value}",
            "volume": np.array([value * time for time in times]),
        },
        along={"time": times},
    )


def make_fluids(path: Path, *temperatures: int, fluid: str = "water", **definitions: Mapping[Label, str]) -> Path:
    """Create or grow a store of fluids."""
    prepare_store(
        path,
        FLUIDS,
        {"fluid": (fluid,), "temperature": temperatures or (300,), "atom": range(3)},
        protocol={"steps": 10},
        spec='{"campaign": "fluids"}',
        definitions={**(WATER if fluid == "water" else {}), **definitions},
    )
    return path


def differences(one: Path, other: Path) -> list[str]:
    """Return the variables in which two stores differ, timings and hosts aside."""
    first, second = open_store(one).load(), open_store(other).load()
    names = sorted(map(str, set(first.variables) | set(second.variables)))
    return [
        name
        for name in names
        if name not in INCIDENTAL
        and not (
            name in first
            and name in second
            and first[name].reset_coords(drop=True).equals(second[name].reset_coords(drop=True))
        )
    ]
