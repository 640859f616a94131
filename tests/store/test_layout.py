"""Layouts decide shapes and places, and are joined without moving what they have."""

from __future__ import annotations

import pytest
from small_store import FLUIDS, LABELS

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Label
from hbcoop_dist.store import Layout, StoreError


def test_axes_are_sorted_appended_derived_or_fixed() -> None:
    layout = Layout(HBOND_SCHEMA, {**LABELS, "model": ("b", "a"), "length": (5, 2)})
    assert layout.labels("model") == ("b", "a")
    assert layout.labels("length") == (2, 5)
    assert layout.labels("hbond") == (1, 2, 3, 4)
    assert layout.labels("atom") == tuple(range(72))
    assert layout.labels("conformer") == ("syn", "anti")
    assert layout.shape(("length", "hbond", "xyz")) == (2, 4, 3)
    assert layout.coordinate("length").tolist() == [2, 5]


def test_a_chunk_holds_one_label_of_the_partition() -> None:
    layout = Layout(FLUIDS, {"fluid": ("a", "b"), "temperature": (1, 2, 3)})
    assert layout.chunks(FLUIDS.variables["density"]) == (1, 3)
    assert layout.chunks(FLUIDS.variables["volume"]) == (1, 3, 1), "an axis without labels still has a chunk"
    assert layout.chunks(FLUIDS.variables["celsius"]) == (3,)


def test_union_sorts_or_appends() -> None:
    first = Layout(FLUIDS, {"fluid": ("b",), "temperature": (2, 4), "time": (10,)})
    joined = first.union({"fluid": ("a", "b"), "temperature": (3,), "time": (5, 10)})
    assert joined == Layout(FLUIDS, {"fluid": ("b", "a"), "temperature": (2, 3, 4), "time": (5, 10)})
    assert first.union(first.free) == first
    assert first != joined


def test_rows_are_in_the_order_of_the_dims() -> None:
    layout = Layout(FLUIDS, {"fluid": ("b", "a"), "temperature": (1, 2)})
    assert layout.rows(FLUIDS.cells) == [("b", 1), ("b", 2), ("a", 1), ("a", 2)]
    assert layout.index(FLUIDS.cells, {"temperature": 2, "fluid": "a"}) == (1, 1)
    with pytest.raises(StoreError, match="temperature: expected one of 1, 2, found 3"):
        layout.index(FLUIDS.cells, {"temperature": 3, "fluid": "a"})
    with pytest.raises(StoreError, match="labels: expected fluid, temperature, found fluid"):
        layout.index(FLUIDS.cells, {"fluid": "a"})


def test_values_are_expected_as_far_as_a_row_reaches() -> None:
    layout = Layout(HBOND_SCHEMA, LABELS)
    expected = layout.expected(HBOND_SCHEMA.cells, HBOND_SCHEMA.variables["hbond_cooperative_energy"])
    assert expected.shape == (2, 3, 2, 1, 1, 1, 3)
    assert expected[1, :, 0, 0, 0, 0].sum(axis=-1).tolist() == [1, 2, 3]
    assert layout.expected(HBOND_SCHEMA.cells, HBOND_SCHEMA.variables["cooperative_energy"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ()}, "model: expected one or more different labels"),
        ({"model": ("a", "a")}, "model: expected one or more different labels"),
        ({"model": ("",)}, "model: expected one or more different labels"),
        ({"length": (1, 2)}, "length: expected at least 2 units, found 1"),
        ({"length": ("two",)}, "length: expected labels of type int64, found 'two'"),
        ({"pattern": ("helix",)}, "pattern: expected arc, linear, found helix"),
        ({"capping": ("ice",)}, "capping: expected none, water, found ice"),
        ({"hbond": (1,)}, "labels: expected the axes model, .*, found hbond"),
    ],
)
def test_bad_labels_are_refused(changes: dict[str, tuple[Label, ...]], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Layout(HBOND_SCHEMA, {**LABELS, **changes})
