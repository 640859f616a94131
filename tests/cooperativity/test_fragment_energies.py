"""Fragments are evaluated once each, as subsets of their complex or with its ghosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from wrapped import Wrapped

from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import build
from hbcoop_dist.structures.structure import distinct_fragments, fragments_of

TRIMER, CAPPED = build(make_chain("arc", 3)), build(make_chain("linear", 2, "water"))


class _Recorded(Wrapped):
    """The toy, with a record of the structures it evaluated."""

    def __init__(self, inner: Potential) -> None:
        super().__init__(inner)
        self.structures: list[Structure] = []

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        assert not forces
        self.structures += structures
        real = [replace(structure, ghosts=()) for structure in structures]  # the toy has no basis functions
        return self.inner.evaluate(real, forces=forces, atom_energies=atom_energies)


@pytest.fixture
def toy() -> _Recorded:
    return _Recorded(registry.load("toy"))


def test_every_distinct_fragment_is_evaluated_once_as_it_lies(toy: _Recorded) -> None:
    results = evaluate_fragments(toy, [TRIMER, CAPPED])
    assert len(toy.structures) == len(distinct_fragments(TRIMER)) + len(distinct_fragments(CAPPED))
    for structure, result in zip((TRIMER, CAPPED), results, strict=True):
        assert result.fragments == distinct_fragments(structure)
        alone = registry.load("toy").evaluate([structure.subset(f) for f in result.fragments], forces=False)
        assert result.energies == pytest.approx([evaluation.energy for evaluation in alone], abs=1e-9)


def test_given_fragments_alone_are_evaluated(toy: _Recorded) -> None:
    fragments = tuple(fragments_of(TRIMER, 1)[name] for name in ("AB", "A", "B"))
    given, rest = evaluate_fragments(toy, [TRIMER, CAPPED], [fragments, None])
    assert given.fragments == fragments
    assert rest.fragments == distinct_fragments(CAPPED)
    assert [len(structure) for structure in toy.structures[:3]] == [24, 12, 12]


def test_a_fragment_without_molecules_has_no_energy_and_an_unknown_one_is_an_error(toy: _Recorded) -> None:
    (result,) = evaluate_fragments(toy, [TRIMER], [((0, 1),)])
    assert result.energy(()) == 0.0
    assert result.energy((0, 1)) == result.energies[0]
    with pytest.raises(ValueError, match="not in tuple"):
        result.energy((2,))


def test_atom_energies_lie_on_the_atoms_of_the_complex(toy: _Recorded) -> None:
    (result,) = evaluate_fragments(toy, [CAPPED])
    assert result.atom_energies is not None
    for row, fragment, energy in zip(result.atom_energies, result.fragments, result.energies, strict=True):
        inside = np.isin(CAPPED.molecules, fragment)
        assert not row[~inside].any()
        assert row.sum() == pytest.approx(energy, abs=1e-9)
        np.testing.assert_array_equal(result.by_atom(fragment), row)
    assert not result.by_atom(()).any()


def test_counterpoise_keeps_the_basis_of_the_complex(toy: _Recorded) -> None:
    """Every fragment is then sent whole, with the other molecules as ghosts."""
    toy.card = toy.card.with_fields(counterpoise=True, atom_energies=False)
    (result,) = evaluate_fragments(toy, [TRIMER])
    assert result.atom_energies is None
    for structure, fragment in zip(toy.structures, result.fragments, strict=True):
        assert len(structure) == len(TRIMER)
        assert sorted((*structure.ghosts, *fragment)) == [0, 1, 2]
    with pytest.raises(ValueError, match="expected per-atom energies, found none"):
        result.by_atom((0,))
