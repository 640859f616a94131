"""Sums over all images against Madelung constants, closed forms and molecules in boxes that grow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import erfc

from hbcoop_dist.learning.networks.schemes import electrostatics as ewald
from hbcoop_dist.learning.networks.schemes.electrostatics import lattice_matrix, lattice_of, lattice_potential, screened

SKEWED = np.array([[5.2, 0.3, -0.4], [2.1, 4.7, 0.2], [-1.9, 1.6, 5.5]])
FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])

# Cell, place of the anion and its distance, in lattice constants, and the Madelung constant for that distance
# (Sakamoto, J. Chem. Phys. 28, 164 (1958), and later digits).
SALTS = {
    "NaCl": (FCC, (0.5, 0.5, 0.5), 0.5, 1.747564594633182),
    "CsCl": (np.eye(3), (0.5, 0.5, 0.5), math.sqrt(3) / 2, 1.762674773070988),
    "ZnS": (FCC, (0.25, 0.25, 0.25), math.sqrt(3) / 4, 1.638055053388789),
}
WIGNER = 2.837297479480620
"""Potential of a simple cubic lattice of unit charges with a background at one of them, in -1/L."""


def salt(name, a):
    cell, anion, near, madelung = SALTS[name]
    return np.array([[0.0, 0, 0], a * np.array(anion)]), a * cell, madelung / (near * a)


def tensor(values):
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def ions(n, cell=SKEWED, seed=0):
    rng = np.random.default_rng(seed)
    return tensor(rng.uniform(-1.0, 2.0, (n, 3)) @ cell), tensor(rng.normal(size=n))


def missing(places, cell, charges, variances):
    """Sum of q_j erfc(r_ij / sqrt(2 v_ij)) / r_ij over all images but the atom itself: what screening takes away."""
    n = len(places)
    found = np.zeros(n)
    for step in itertools.product(range(-6, 7), repeat=3):
        for i, j in itertools.product(range(n), repeat=2):
            r = np.linalg.norm(places[j] + np.array(step) @ cell - places[i])
            if r > 0:
                found[i] += charges[j] * erfc(r / math.sqrt(2 * variances[i][j])) / r
    return found


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.6])
@pytest.mark.parametrize("name", list(SALTS))
def test_madelung(name, sigma):
    places, cell, madelung = salt(name, 5.0)
    found = lattice_potential(tensor([1.0, -1.0]), tensor(places), cell, sigma).numpy()
    itself = math.sqrt(2 / math.pi) / sigma
    expected = np.array([itself - madelung, madelung - itself])
    expected -= missing(places, cell, [1.0, -1.0], np.full((2, 2), sigma**2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", list(SALTS))
def test_madelung_of_charges_of_two_widths(name):
    places, cell, madelung = salt(name, 5.0)
    widths = np.array([0.5, 1.1])
    matrix = lattice_matrix(tensor(places), cell, tensor(widths)).numpy()
    found = matrix @ [1.0, -1.0]
    expected = np.array([-madelung, madelung]) + np.array([1.0, -1.0]) / (math.sqrt(math.pi) * widths)
    expected -= missing(places, cell, [1.0, -1.0], widths[:, None] ** 2 + widths[None, :] ** 2)
    # of single potentials the background is left: 2 pi / V sum_j q_j (s_i^2 + s_j^2), the same for both ions
    expected += 2 * math.pi / abs(np.linalg.det(cell)) * (widths[0] ** 2 - widths[1] ** 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_one_charge_with_its_background():
    sigma, length = 0.7, 10.0
    found = lattice_potential(tensor([1.0]), tensor([[3.0, -40.0, 7.0]]), length * np.eye(3), sigma).item()
    expected = math.sqrt(2 / math.pi) / sigma - WIGNER / length + 2 * math.pi * sigma**2 / length**3
    assert found == pytest.approx(expected, abs=1e-10)


def test_matrix_is_the_sum_over_wave_vectors_of_the_densities():
    """Of charges wide enough for a plain sum, each with its own factor; the mean of every potential is zero."""
    places, _ = ions(4)
    widths = np.array([0.6, 0.9, 0.75, 1.2])
    steps = np.array([step for step in itertools.product(range(-11, 12), repeat=3) if any(step)])
    waves = 2 * math.pi * steps @ np.linalg.inv(SKEWED).T
    squared = (waves**2).sum(axis=1)
    factors = np.exp(-0.5 * squared * widths[:, None] ** 2) * np.exp(1j * places.numpy() @ waves.T)
    expected = 4 * math.pi / abs(np.linalg.det(SKEWED)) * ((factors / squared) @ factors.conj().T).real
    found = lattice_matrix(places, SKEWED, tensor(widths)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_matrix_and_potential_are_the_same_kernel(sigma):
    places, charges = ions(6)
    matrix = lattice_matrix(places, SKEWED, torch.full((6,), sigma / math.sqrt(2), dtype=torch.float64))
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-13)
    potential = lattice_potential(charges, places, SKEWED, sigma)
    torch.testing.assert_close(matrix @ charges, potential, rtol=0, atol=1e-10)


@pytest.mark.parametrize("balance", [0.15, 0.4, 0.8])
def test_where_the_sum_is_split_decides_nothing(monkeypatch, balance):
    places, charges = ions(6)
    before = lattice_potential(charges, places, SKEWED, 0.5)
    first = lattice_of(places, SKEWED, 0.5)
    monkeypatch.setattr(ewald, "_BALANCE", balance)
    second = lattice_of(places, SKEWED, 0.5)
    assert abs(first.width - second.width) > 0.05
    assert first.pairs.shape[1] != second.pairs.shape[1]
    torch.testing.assert_close(lattice_potential(charges, places, SKEWED, 0.5), before, rtol=0, atol=1e-10)


def test_which_image_an_atom_is_does_not_matter():
    places, charges = ions(5)
    moved = places + tensor(np.random.default_rng(1).integers(-3, 4, (5, 3)) @ SKEWED)
    widths = torch.linspace(0.4, 1.0, 5, dtype=torch.float64)
    for one, other in (
        (lattice_potential(charges, at, SKEWED, 0.8) for at in (places, moved)),
        (lattice_matrix(at, SKEWED, widths) for at in (places, moved)),
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("times", [(2, 1, 1), (1, 2, 3)])
def test_a_supercell_has_the_same_potentials(times):
    places, charges = ions(4)
    steps = np.array(list(itertools.product(*map(range, times))))
    larger = np.array(times)[:, None] * SKEWED
    copies = torch.cat([places + tensor(step @ SKEWED) for step in steps])
    once = lattice_potential(charges, places, SKEWED, 0.9)
    found = lattice_potential(charges.repeat(len(steps)), copies, larger, 0.9)
    torch.testing.assert_close(found, once.repeat(len(steps)), rtol=0, atol=1e-10)


def in_a_box(places, charges, length, sigma=0.8):
    """Energy in a cubic box less that without one, in units of the Coulomb constant."""
    squared = (places[:, None] - places[None, :]).square().sum(-1)
    alone = 0.5 * charges @ screened(squared, sigma**2) @ charges
    return (0.5 * charges @ lattice_potential(charges, places, length * np.eye(3), sigma) - alone).item()


def test_a_neutral_molecule_in_a_growing_box_is_a_molecule_and_its_dipole():
    """-2 pi mu^2 / (3 V), and what is left of it falls off as 1 / V again (a quadrupole's part does so faster)."""
    places, charges = ions(5, cell=np.eye(3))
    charges = charges - charges.mean()
    dipole = (charges @ places).square().sum().item()
    left = []
    for length in (20.0, 40.0):
        found = in_a_box(places, charges, length) / (-2 * math.pi * dipole / (3 * length**3))
        left.append(abs(found - 1))
    assert left[0] < 0.05
    assert left[1] < left[0] / 3.5


def test_a_charged_molecule_in_a_growing_box_tends_to_one_over_its_width():
    places, charges = ions(5, cell=np.eye(3))
    charges = charges + 1.0
    total = charges.sum().item()
    for length, within in ((40.0, 0.05), (160.0, 0.005)):
        found = in_a_box(places, charges, length)
        assert found == pytest.approx(-0.5 * WIGNER * total**2 / length, rel=within)


def test_both_can_be_differentiated_twice():
    places, charges = ions(3)
    places.requires_grad_()
    charges.requires_grad_()
    widths = tensor([0.5, 0.7, 1.0]).requires_grad_()
    potential = lambda q, at: lattice_potential(q, at, SKEWED, 0.7)  # noqa: E731
    assert torch.autograd.gradcheck(potential, (charges, places), atol=1e-6)
    assert torch.autograd.gradgradcheck(potential, (charges, places), atol=1e-5)
    matrix = lambda at, s: lattice_matrix(at, SKEWED, s)  # noqa: E731
    assert torch.autograd.gradcheck(matrix, (places, widths), atol=1e-6)
    assert torch.autograd.gradgradcheck(matrix, (places, widths), atol=1e-5)


@pytest.mark.parametrize("edge", [0.8, 60.0])
def test_tiny_and_huge_cells(edge):
    """One atom in 0.8 A has dozens of images within reach and no wave vector; in 60 A no image and thousands."""
    found = lattice_potential(tensor([1.0]), tensor([[0.0, 0, 0]]), edge * np.eye(3), 1.0).item()
    expected = math.sqrt(2 / math.pi) - WIGNER / edge + 2 * math.pi / edge**3
    if edge < 10:
        steps = np.array(list(itertools.product(range(-12, 13), repeat=3)))
        r = edge * np.linalg.norm(steps[np.any(steps, axis=1)], axis=1)
        expected -= (erfc(r / math.sqrt(2)) / r).sum()
    assert found == pytest.approx(expected, abs=1e-10)
