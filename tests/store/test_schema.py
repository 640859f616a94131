"""The table of variables is complete and consistent, and what follows from the axes is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.store import (
    CELL_VARIABLES,
    DIMER_VARIABLES,
    STATIC_VARIABLES,
    VARIABLES,
    Layout,
    StoreError,
    describe,
    static_variables,
)
from hbcoop_dist.store.schema import DIMS
from hbcoop_dist.structures import make_chain, monomer
from hbcoop_dist.structures.chains import PATTERNS


def test_every_variable_is_labelled_and_unique() -> None:
    assert len(VARIABLES) == len(CELL_VARIABLES) + len(DIMER_VARIABLES) + len(STATIC_VARIABLES)
    for variable in VARIABLES.values():
        assert variable.long_name
        assert set(variable.dims) <= set(DIMS)
        assert bool(variable.units) == (variable.dtype in ("float64", "int64")), variable.name


def test_a_missing_value_is_never_a_valid_one() -> None:
    for variable in VARIABLES.values():
        fill = variable.fill
        assert fill in (-1, "", "pending") or (isinstance(fill, float) and np.isnan(fill)), variable.name


def test_describe_names_every_variable_and_dim() -> None:
    text = describe()
    assert all(f"| `{name}` |" in text for name in (*VARIABLES, *DIMS))


def test_derived_axes() -> None:
    layout = Layout(("toy",), ("arc",), (5, 2), ("none", "water"))
    assert layout.lengths == (2, 5)
    assert layout.labels("hbond") == (1, 2, 3, 4)
    assert layout.labels("atom") == tuple(range(72))
    assert len(Layout(("toy",), ("arc",), (5,), ("none",)).labels("atom")) == 60


def test_union_sorts_lengths_and_appends_the_rest() -> None:
    one = Layout(("b",), ("linear",), (2, 4), ("none",))
    two = Layout(("a", "b"), ("arc",), (3,), ("water", "none"), rotamers=("lowest",))
    assert one.union(two) == Layout(
        ("b", "a"), ("linear", "arc"), (2, 3, 4), ("none", "water"), rotamers=("default", "lowest")
    )
    assert one.union(one) == one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "models: expected one or more"),
        ({"models": ("a", "a")}, "models: expected one or more different"),
        ({"lengths": (1, 2)}, "lengths: expected at least 2 units, found 1"),
        ({"patterns": ("helix",)}, "patterns: expected arc, linear, found helix"),
        ({"cappings": ("ice",)}, "cappings: expected none, water, found ice"),
    ],
)
def test_bad_layouts_are_refused(changes: dict[str, tuple[object, ...]], message: str) -> None:
    good: dict[str, tuple[object, ...]] = {
        "models": ("a",), "patterns": ("arc",), "lengths": (2,), "cappings": ("none",)
    }  # fmt: skip
    with pytest.raises(StoreError, match=message):
        Layout(**{**good, **changes})  # type: ignore[arg-type]


def test_static_variables() -> None:
    layout = Layout(("toy",), PATTERNS, (2, 3, 6), ("none", "water"))
    found = static_variables(layout)
    assert set(found) == {variable.name for variable in STATIC_VARIABLES}
    assert found["hbond_conformer"].tolist() == [["syn"] * 5, ["syn", "anti", "syn", "anti", "syn"]]
    assert found["position_hbond"].tolist() == [[1, 1, 1], [1, 1, 2], [1, 3, 5]]
    assert found["units_before"].tolist() == [[0, 0, 0], [0, 0, 1], [0, 2, 4]]
    assert found["units_after"].tolist() == [[0, 0, 0], [1, 1, 0], [4, 2, 0]]
    assert found["position_conformer"][1].tolist() == [["syn"] * 3, ["syn", "syn", "anti"], ["syn"] * 3]


def test_static_atoms_agree_with_the_structures() -> None:
    layout = Layout(("toy",), ("arc",), (2, 3), ("none", "water"))
    found = static_variables(layout)
    for i, length in enumerate(layout.lengths):
        for c, capping in enumerate(layout.cappings):
            system = make_chain("arc", length, capping)  # type: ignore[arg-type]
            numbers, molecules = found["atomic_number"][i, c], found["molecule"][i, c]
            assert (numbers > 0).sum() == (molecules >= 0).sum() == system.n_atoms
            assert molecules.max() == system.length - 1 + (4 if system.capping == "water" else 0)
            assert numbers[:12].tolist() == monomer().numbers.tolist()
            assert (numbers[system.n_atoms :] == -1).all()
            assert (molecules[system.n_atoms :] == -1).all()
    assert found["atomic_number"][0, 1, 24:36].tolist() == [8, 1, 1] * 4


def test_the_data_dictionary_in_the_repository_is_the_generated_one() -> None:
    written = (Path(__file__).resolve().parents[2] / "store" / "README.md").read_text()
    assert written.endswith(describe())
