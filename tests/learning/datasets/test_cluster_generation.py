"""Generated clusters: the same wherever they are made, without clashes, near and far, of the charges asked for."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.learning.datasets.cluster_generation import (
    CONTACT,
    IONIC_MONOMERS,
    KINDS,
    LARGEST_CHARGE,
    NEUTRAL_MONOMERS,
    STATES,
    contact_distances,
    generate_clusters,
    touching_shift,
)
from hbcoop_dist.learning.datasets.labelled_structures import UnlabelledStructure
from hbcoop_dist.structures.geometry import kind_in_order

CUTOFF, BEYOND = 5.0, 10.0


def gap(one: UnlabelledStructure) -> float:
    distances = np.linalg.norm(one.positions[:, None] - one.positions[None, :], axis=-1)
    return float(distances[one.molecules[:, None] != one.molecules[None, :]].min())


@pytest.mark.parametrize("kind", KINDS)
def test_any_part_of_a_set_is_the_same_wherever_it_is_made(kind: str) -> None:
    whole = generate_clusters(kind, 24, seed=3)
    part = generate_clusters(kind, 8, seed=3, first=16)
    for one, other in zip(whole[16:], part, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert (one.parent, one.domain, one.molecule_charges) == (other.parent, other.domain, other.molecule_charges)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_others(kind: str) -> None:
    one, other = generate_clusters(kind, 1, seed=0)[0], generate_clusters(kind, 1, seed=1)[0]
    assert one.positions.shape != other.positions.shape or not np.allclose(one.positions, other.positions)


@pytest.mark.parametrize("kind", KINDS)
def test_molecules_ascend_and_have_a_charge_each(kind: str) -> None:
    for one in generate_clusters(kind, 60, seed=0):
        assert (np.diff(one.molecules) >= 0).all()
        assert len(one.molecule_charges) == one.molecules[-1] + 1
        assert one.charge == sum(one.molecule_charges)
        np.testing.assert_allclose(one.positions.mean(axis=0), 0.0, atol=1e-12)


def test_charge_states_differ_in_their_charge_alone() -> None:
    made = generate_clusters("charge-states", 30, seed=0)
    assert made[0].positions.shape != made[3].positions.shape or not np.allclose(made[0].positions, made[3].positions)
    for state, one in enumerate(made):
        first = made[state - state % 3]
        np.testing.assert_array_equal(one.positions, first.positions)
        assert one.parent == first.parent
        assert one.charge == STATES[state % 3]
        assert one.molecule_charges == (one.charge,)


def test_sizes_take_turns() -> None:
    made = generate_clusters("neutral", 6, seed=0, sizes=(1, 3))
    assert [len(one.molecule_charges) for one in made] == [1, 3, 1, 3, 1, 3]


def test_ionic_sets_span_the_charges_and_no_more() -> None:
    charges = {one.charge for one in generate_clusters("ionic", 300, seed=0)}
    assert charges == set(range(-LARGEST_CHARGE, LARGEST_CHARGE + 1))


@pytest.mark.parametrize("kind", ["ionic", "neutral"])
def test_pairs_lie_from_contact_to_far_beyond_the_cutoff(kind: str) -> None:
    made = generate_clusters(kind, 400, seed=0, sizes=(2,), cutoff=CUTOFF, beyond=BEYOND)
    gaps = np.array([gap(one) for one in made])
    assert gaps.min() < 2.2
    assert CUTOFF + BEYOND - 1.0 < gaps.max() < CUTOFF + BEYOND
    assert 0.3 < (gaps > CUTOFF).mean() < 0.6


@pytest.mark.parametrize("kind", ["ionic", "neutral"])
def test_no_two_molecules_clash(kind: str) -> None:
    for one in generate_clusters(kind, 100, seed=0):
        distances = np.linalg.norm(one.positions[:, None] - one.positions[None, :], axis=-1)
        apart = one.molecules[:, None] != one.molecules[None, :]
        contacts = CONTACT * contact_distances(one.numbers, one.numbers)
        assert (distances[apart] > contacts[apart] - 1e-9).all()


def test_a_parent_is_a_composition() -> None:
    by_parent: dict[str, set[tuple[int, ...]]] = {}
    for one in generate_clusters("ionic", 300, seed=0):
        by_parent.setdefault(one.parent, set()).add(tuple(one.numbers))
    assert len(by_parent) > 30
    assert all(len(compositions) == 1 for compositions in by_parent.values())


def test_chains_stay_molecules_of_their_kind_and_do_not_touch() -> None:
    for one in generate_clusters("nma", 48, seed=0):
        size = len(one.molecule_charges)
        assert one.parent == one.domain == f"{size} nma"
        for molecule in range(size):
            own = one.molecules == molecule
            assert kind_in_order(one.numbers[own], one.positions[own]) == "nma"
        if size > 1:
            assert gap(one) > 1.3


def test_a_mover_touches_where_geometry_says() -> None:
    fixed, mover = np.zeros((1, 3)), np.array([[0.0, 3.0, 0.0]])
    shift = touching_shift(fixed, mover, np.array([1.0, 0.0, 0.0]), np.array([[5.0]]))
    assert shift == pytest.approx(4.0)
    assert touching_shift(fixed, mover, np.array([1.0, 0.0, 0.0]), np.array([[2.9]])) is None


def test_monomers_are_what_their_charge_and_electrons_say() -> None:
    for one in (*IONIC_MONOMERS, *NEUTRAL_MONOMERS):
        assert (int(one.numbers.sum()) - one.charge) % 2 == 0
        distances = np.linalg.norm(one.positions[:, None] - one.positions[None, :], axis=-1)
        assert distances[~np.eye(len(distances), dtype=bool)].min() > 0.94


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"kind": "argon"}, "kind"), ({"sizes": (0, 1)}, "sizes from 1"), ({"cutoff": 1.0}, "cutoff above")],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_clusters(**{"kind": "ionic", "count": 1, "seed": 0, **changes})  # type: ignore[arg-type]
