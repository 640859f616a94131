"""Schemas are checked when they are made, and describe their variables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_store import FLUIDS

from hbcoop_dist.store import Schema, Table, describe, status_variables, variables


def test_a_missing_value_is_never_a_valid_one() -> None:
    for variable in FLUIDS.variables.values():
        assert variable.fill in (-1, "", "pending") or np.isnan(variable.fill), variable.name  # type: ignore[arg-type]
        assert variable.is_missing(variable.missing((2, 3))).all()
        assert variable.missing((2, 3)).dtype == variable.numpy_dtype


@pytest.mark.parametrize(
    ("name", "values"), [("density", [0.0, np.inf]), ("pressure", [0, 5]), ("is_polar", [0, 1]), ("note", ["a", "b"])]
)
def test_what_is_written_is_not_missing(name: str, values: list[object]) -> None:
    variable = FLUIDS.variables[name]
    assert not variable.is_missing(np.array(values, dtype=variable.numpy_dtype)).any()


def test_attributes_explain_flags_and_statuses() -> None:
    assert FLUIDS.variables["is_polar"].attributes()["flag_meanings"] == "missing no yes"
    assert FLUIDS.variables["density"].attributes() == {"long_name": "density", "units": "g/cm**3"}
    assert "broken-geometry" in str(FLUIDS.variables["status"].attributes()["comment"])


def test_tables_are_found_by_name_and_by_variable() -> None:
    assert FLUIDS.cells is FLUIDS.table("cell")
    assert FLUIDS.table_of("pressure") is FLUIDS.table("fluid")
    assert FLUIDS.table("fluid").value_dims(FLUIDS.variables["pressure"]) == ("time",)
    with pytest.raises(KeyError, match="expected one of cell, fluid, found 'gas'"):
        FLUIDS.table("gas")


def test_describe_names_every_variable_and_dim_with_its_units() -> None:
    text = describe(FLUIDS)
    assert all(f"| `{name}` |" in text for name in (*FLUIDS.variables, *FLUIDS.axis))
    assert "| `volume` | time | float64 | angstrom**3 | volume of the box | nan |" in text
    assert "### Densities (fluid, temperature)" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables": (*FLUIDS.tables, replace(FLUIDS.tables[1], name="again"))}, "every variable once, found is_polar"),
        ({"partition": "temperature"}, "table cell: expected dims that begin with the partition temperature"),
        ({"axes": FLUIDS.axes[:2]}, r"expected an axis for every dim, found none for \['atom', 'time'\]"),
    ],
)
def test_inconsistent_schemas_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(FLUIDS, **changes)  # type: ignore[arg-type]


def test_a_variable_without_the_label_dims_of_its_table_is_refused() -> None:
    table = Table(
        "cell", "Cells", ("fluid",), (*status_variables(("fluid",), "cell"), *variables((), ("x", "str", "", "")))
    )
    with pytest.raises(ValueError, match="variables whose dims begin with those of the table"):
        Schema("small", "", FLUIDS.axes, (table,), "fluid")
