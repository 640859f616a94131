"""Labelled structures survive their way through results and journals to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure, PackedStructures


def structures() -> tuple[LabelledStructure, ...]:
    rng = np.random.default_rng(0)
    full = LabelledStructure(
        numbers=np.array([8, 1, 1, 1]),
        positions=rng.normal(size=(4, 3)),
        energy=-12.5 + 1e-13,
        forces=rng.normal(size=(4, 3)),
        parent='a "quoted"\nname',
        domain="domäne",
        charge=1,
        charges=rng.normal(size=4),
        dipole=rng.normal(size=3),
        molecules=np.array([0, 0, 0, 1]),
        molecule_charges=(0, 1),
        interaction_energy=0.0,
    )
    bare = LabelledStructure(np.array([1, 1]), rng.normal(size=(2, 3)), -1.0, None, "h2", "h2")
    charged = LabelledStructure(np.array([1]), rng.normal(size=(1, 3)), 0.0, np.zeros((1, 3)), "h", "h", charge=1)
    return full, bare, charged


def crystal() -> LabelledStructure:
    rng = np.random.default_rng(1)
    places, cell = rng.normal(size=(2, 3)), rng.normal(size=(3, 3))
    return LabelledStructure(np.array([11, 17]), places, -3.5, rng.normal(size=(2, 3)), "salt", "salt", cell=cell)


def pack(structures: Sequence[LabelledStructure]) -> dict[str, Any]:
    return PackedStructures.of(structures).arrays()


def unpack(arrays: Mapping[str, Any]) -> tuple[LabelledStructure, ...]:
    return PackedStructures.from_arrays(arrays).structures()


@pytest.mark.parametrize("more", [(), (crystal(),)], ids=["molecules", "crystal too"])
def test_round_trip_is_exact(more: tuple[LabelledStructure, ...]) -> None:
    before = (*more, *structures())
    after = unpack(pack(before))
    for one, other in zip(before, after, strict=True):
        for name in LabelledStructure.__dataclass_fields__:
            left, right = getattr(one, name), getattr(other, name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype, name
                np.testing.assert_array_equal(left, right)
            else:
                assert left == right, name
                assert type(left) is type(right), name
    sets = [LabelledSet("s", kept, "", "", "").sha256 for kept in (before, after)]
    assert sets[0] == sets[1]


def test_a_cell_is_packed_where_there_is_one_and_nothing_else_changes() -> None:
    without, mixed = pack(structures()), pack([*structures(), crystal()])
    assert set(mixed) - set(without) == {"cell", "has_cell"}
    assert [one.cell is None for one in unpack(mixed)] == [True, True, True, False]


def test_no_structures_are_no_structures() -> None:
    assert unpack(pack([])) == ()


def test_values_are_what_a_journal_takes() -> None:
    for value in pack([*structures(), crystal()]).values():
        assert isinstance(value, str) or value.dtype in (np.float64, np.int64, np.bool_)  # type: ignore[attr-defined]


def test_what_does_not_fit_is_named() -> None:
    packed = pack(structures())
    with pytest.raises(ValueError, match="positions"):
        unpack({name: value for name, value in packed.items() if name != "positions"})
    with pytest.raises(ValueError, match="as many parents"):
        unpack({**packed, "parents": '["one"]'})
    with pytest.raises(ValueError, match="found no has_cell"):
        unpack({**packed, "cell": np.zeros((3, 3, 3))})
