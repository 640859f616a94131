"""Neighbours with images against a plain sum over images, in cells of any shape and size."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, find_edges, find_periodic_edges
from hbcoop_dist.testing.learning_examples import SKEWED, random_crystal, rock_salt


def by_hand(one: LabelledStructure, cutoff: float, reach: int) -> dict[tuple[int, int], np.ndarray]:
    """Sorted distances of every ordered pair over all images up to `reach` cells away."""
    found: dict[tuple[int, int], list[float]] = {}
    for step in itertools.product(range(-reach, reach + 1), repeat=3):
        for i, j in itertools.product(range(len(one)), repeat=2):
            r = np.linalg.norm(one.positions[j] + np.array(step) @ one.cell - one.positions[i])
            if 0 < r < cutoff:
                found.setdefault((i, j), []).append(r)
    return {pair: np.sort(distances) for pair, distances in found.items()}


@pytest.mark.parametrize("cutoff", [2.0, 4.5, 8.0])
@pytest.mark.parametrize("hand", [1, -1])
def test_neighbours_are_all_images_within_the_cutoff(cutoff: float, hand: int) -> None:
    """Cells smaller than the cutoff, left- and right-handed, with atoms outside them."""
    one = random_crystal(5, cell=hand * SKEWED)
    pairs, shifts = find_periodic_edges(one.positions, one.cell, cutoff)
    r = np.linalg.norm(one.positions[pairs[1]] - one.positions[pairs[0]] + shifts, axis=1)
    expected = by_hand(one, cutoff, 6)
    found = {pair: np.sort(r[(pair == pairs.T).all(axis=1)]) for pair in set(map(tuple, pairs.T.tolist()))}
    assert found.keys() == expected.keys()
    for pair, distances in expected.items():
        np.testing.assert_allclose(found[pair], distances, rtol=1e-12)
    assert cutoff < 5 or any(i == j for i, j in expected)


def test_rock_salt_has_its_shells() -> None:
    """6, 12, 8, 6 neighbours at 1, sqrt 2, sqrt 3 and 2 times half the lattice constant, in the smallest cell."""
    one = rock_salt()
    pairs, shifts = find_periodic_edges(one.positions, one.cell, 5.7)
    r = np.linalg.norm(one.positions[pairs[1]] - one.positions[pairs[0]] + shifts, axis=1) / 2.82
    for atom in (0, 1):
        squares, counts = np.unique(np.round(r[pairs[0] == atom] ** 2, 9), return_counts=True)
        assert squares.tolist() == [1, 2, 3, 4]
        assert counts.tolist() == [6, 12, 8, 6]


def test_a_batch_of_crystals_and_molecules_has_the_edges_of_each() -> None:
    crystal = random_crystal(4)
    molecule = replace(random_crystal(3, seed=1), cell=None)
    single = replace(random_crystal(1), cell=None)
    together = AtomBatch.of([molecule, crystal, single, crystal], (1, 8), 4.0)
    alone = [AtomBatch.of([one], (1, 8), 4.0) for one in (molecule, crystal, single, crystal)]
    assert torch.equal(together.vectors(), torch.cat([one.vectors() for one in alone]))
    starts = np.cumsum([0, 3, 4, 1])
    assert torch.equal(
        together.edges, torch.cat([one.edges + int(start) for one, start in zip(alone, starts, strict=True)], dim=1)
    )
    assert [cell is not None for cell in together.cells] == [False, True, False, True]
    assert together.periodic
    assert not alone[0].periodic
    edges, shifts = find_edges([molecule, single], 4.0)
    assert shifts is None
    assert edges.max() < 4


def test_vectors_go_from_the_sender_to_the_image_of_the_receiver() -> None:
    """An atom in a cubic box of 3 A has six images next to it."""
    one = random_crystal(1, cell=3.0 * np.eye(3))
    batch = AtomBatch.of([one], (1, 8), 3.5)
    found = sorted(batch.vectors().tolist())
    np.testing.assert_allclose(found, sorted([*(3 * np.eye(3)).tolist(), *(-3 * np.eye(3)).tolist()]), atol=1e-12)
    assert (batch.edges == 0).all()
