"""DimeNet++ here is PyTorch Geometric's, with angles and distances that are right to round-off everywhere."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre, spherical_jn

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.architectures.dimenetpp import SphericalBasis, chebyshev_polynomials, triplets
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.network_module import (
    Network,
    energy_and_forces,
    network_of,
    parameter_arrays,
    traits_of,
)
from hbcoop_dist.learning.networks.registry import SCHEMES, DimeNetOptions, check_architecture
from hbcoop_dist.learning.networks.schemes.base import Scheme
from hbcoop_dist.learning.networks.trained_family import FAMILY
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata, write_trained
from hbcoop_dist.learning.training.training_loop import fit_baseline, train
from hbcoop_dist.models import load
from hbcoop_dist.models.checks.contract import check
from hbcoop_dist.testing.learning_examples import SMALL, labelled_waters

pytestmark = pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs torch-geometric")
SPEC = replace(SMALL, architecture="dimenet++", layers=3)


def pyg() -> Any:
    with warnings.catch_warnings():
        # at import it warns of parts of itself
        warnings.simplefilter("ignore")
        from torch_geometric.nn.models import dimenet
    return dimenet


def of(spec: NetworkSpec, *structures: LabelledStructure, dtype: torch.dtype = torch.float64) -> AtomBatch:
    return AtomBatch.of(structures, spec.elements, spec.cutoff, dtype=dtype)


def atoms(*places: tuple[float, float, float]) -> LabelledStructure:
    """Oxygen atoms."""
    return LabelledStructure(np.full(len(places), 8), np.array(places), 0.0, None, "O", "atoms")


def in_a_row(*x: float) -> LabelledStructure:
    return atoms(*[(one, 0.0, 0.0) for one in x])


def rows_of_all_elements(network: Network) -> dict[str, torch.Tensor]:
    """Its parameters with the names and shapes that PyTorch Geometric has."""
    own = {name.removeprefix("backbone."): one for name, one in network.state_dict().items()}
    rows = torch.zeros((95, network.spec.channels), dtype=torch.float64)
    rows[list(network.spec.elements)] = own["emb.emb.weight"]
    return {**own, "emb.emb.weight": rows}


def test_without_a_scheme_it_is_pyg_s_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"num_spherical": 3, "envelope_exponent": 4, "num_before_skip": 2, "int_emb_size": 5}
    spec = fit_baseline(replace(SPEC, n_radial=1, architecture_options=small), labelled_waters(teacher="gfn2-xtb"))
    network = Network(spec)
    batch = of(spec, *labelled_waters(teacher="gfn2-xtb")[:8])

    def neighbours(edges: torch.Tensor, num_nodes: int) -> tuple[torch.Tensor, ...]:
        sender, receiver = edges
        kj, ji = triplets(edges, num_nodes)
        return receiver, sender, receiver[ji], sender[ji], sender[kj], kj, ji

    package = pyg()
    from torch_geometric.nn.models import dimenet_utils

    zeros = dimenet_utils.Jn_zeros
    # it rounds its constants to float32: here these zeros are taken for exact, there the same ones
    monkeypatch.setattr(dimenet_utils, "Jn_zeros", lambda n, k: zeros(n, k).astype(np.float64))
    # both need packages that are not here
    monkeypatch.setattr(package, "radius_graph", lambda *args, **kwargs: batch.edges)
    monkeypatch.setattr(package, "triplets", neighbours)
    options = {**DimeNetOptions().model_dump(), **small}
    theirs = package.DimeNetPlusPlus(
        spec.channels, 1, spec.layers - 1, num_radial=spec.n_radial, cutoff=spec.cutoff, **options
    ).double()
    theirs.load_state_dict(rows_of_all_elements(network))
    positions = batch.positions.clone().requires_grad_()
    energy = theirs(torch.tensor(spec.elements)[batch.species], positions, batch.structure)[:, 0]
    (slope,) = torch.autograd.grad(energy.sum(), positions)
    ours, forces = energy_and_forces(network, batch)
    atomic = batch.sum_structures(torch.tensor(spec.atomic_energies, dtype=torch.float64)[batch.species])
    assert energy.std() > 0.1
    torch.testing.assert_close(ours.energy - atomic, spec.scale * energy.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(forces, -spec.scale * slope, rtol=0, atol=1e-11)
    assert sum(one.numel() for one in theirs.parameters()) - 93 * spec.channels == sum(
        one.size for one in parameter_arrays(network).values()
    )


@pytest.mark.parametrize("n_atoms", [1, 2, 7])
def test_triplets_are_all_pairs_of_edges_that_meet(n_atoms: int) -> None:
    random = np.random.default_rng(n_atoms)
    pairs = [(a, b) for a, b in product(range(n_atoms), repeat=2) if a != b and random.random() < 0.6]
    edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    kj, ji = triplets(edges, n_atoms)
    expected = {
        (one, other)
        for one, (k, j) in enumerate(pairs)
        for other, (middle, i) in enumerate(pairs)
        if j == middle and k != i
    }
    assert sorted(zip(kj.tolist(), ji.tolist(), strict=True)) == sorted(expected)
    assert ji.tolist() == sorted(ji.tolist())


def test_the_basis_is_bessel_s_and_legendre_s() -> None:
    """At distances from a thousandth of the cutoff to the cutoff, where recurrences from sine and cosine lose all."""
    zeros = np.array([[2.0, 5.0, 28.0], [4.4, 9.1, 31.0], [5.7, 9.0, 33.0], [6.9, 10.4, 35.0], [8.2, 11.7, 37.0]])
    x = np.geomspace(1e-3, 1.0, 40)
    cosine = np.linspace(-1.0, 1.0, 40)
    norm = np.abs(spherical_jn(np.arange(1, 6)[:, None], zeros)) / np.sqrt(2)
    order = np.arange(5)[:, None]
    radial = spherical_jn(order, zeros * x[:, None, None]) / norm
    angular = eval_legendre(order, cosine[:, None, None]) * np.sqrt((2 * order + 1) / (4 * np.pi))
    with torch.random.fork_rng():
        torch.set_default_dtype(torch.float64)
        try:
            basis = SphericalBasis(zeros)
        finally:
            torch.set_default_dtype(torch.float32)
    for dtype, within in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        one = torch.tensor(x, dtype=dtype)
        other = torch.tensor(cosine, dtype=dtype)
        found = basis.to(dtype)(one, 2 * torch.ones_like(one), other, torch.arange(40))
        expected = 2 * (radial * angular).reshape(40, -1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=within * np.abs(expected).max())


def test_chebyshev_polynomials_are_cosines_of_multiples() -> None:
    angle = torch.linspace(0, torch.pi, 31, dtype=torch.float64)
    for count in (1, 2, 3, 64, 77):
        expected = torch.cos(angle[:, None] * torch.arange(count))
        torch.testing.assert_close(chebyshev_polynomials(angle.cos(), count), expected, rtol=0, atol=1e-12)


def second_derivatives(network: Network, structure: LabelledStructure) -> torch.Tensor:
    batch = of(network.spec, structure)

    def energy(positions: torch.Tensor) -> torch.Tensor:
        return network(replace(batch, positions=positions)).energy.sum()

    found = torch.autograd.functional.hessian(energy, batch.positions)
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("x", [(0.0, 1.1, 2.3), (0.0, 1.2, 2.3, 3.4)], ids=["three", "four"])
def test_atoms_in_a_row_have_forces_and_second_derivatives(x: tuple[float, ...]) -> None:
    """Angles of 0 and 180 degrees, where an arc tangent has no derivative."""
    network = Network(fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb")))
    structure = in_a_row(*x)
    _, forces = energy_and_forces(network, of(network.spec, structure))
    torch.testing.assert_close(forces[:, 1:], torch.zeros_like(forces[:, 1:]), rtol=0, atol=1e-12)
    assert forces[:, 0].abs().max() > 1e-3
    curvature = second_derivatives(network, structure)
    step = 1e-4
    for atom, axis in ((1, 1), (0, 0), (2, 2)):
        slopes = []
        for sign in (1, -1):
            moved = structure.positions.copy()
            moved[atom, axis] += sign * step
            slopes.append(energy_and_forces(network, of(network.spec, replace(structure, positions=moved)))[1])
        expected = -(slopes[0] - slopes[1]) / (2 * step)
        torch.testing.assert_close(curvature[atom, axis], expected, rtol=1e-5, atol=1e-5)


def test_training_on_atoms_in_a_row_has_finite_gradients() -> None:
    network = Network(fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb"))).float()
    batch = of(network.spec, in_a_row(0.0, 1.1, 2.2), in_a_row(0.0, 1.0), dtype=torch.float32)
    _, forces = energy_and_forces(network, batch, training=True)
    (forces**2).sum().backward()
    assert all(one.grad is None or bool(torch.isfinite(one.grad).all()) for one in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_short_distances_and_the_cutoff_are_no_trouble(dtype: torch.dtype) -> None:
    network = Network(fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb"))).to(dtype)
    for x in (0.05, 0.3, SPEC.cutoff - 1e-6, SPEC.cutoff):
        structure = atoms((0, 0, 0), (x, 0, 0), (0, 1.0, 0))
        batch = of(network.spec, structure, dtype=dtype)
        assert batch.edges.shape[1] >= 4
        output, forces = energy_and_forces(network, batch)
        assert torch.isfinite(output.energy).all()
        assert torch.isfinite(forces).all()


def test_an_atom_with_one_neighbour_has_no_angles_and_one_with_none_the_features_of_its_element() -> None:
    spec = fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb"))
    batch = of(spec, in_a_row(0.0, 1.2), in_a_row(0.0))
    assert [len(one) for one in triplets(batch.edges, 3)] == [0, 0]
    network = Network(spec)
    _, features = network.backbone(batch, lambda one: one, lambda layer, one, radial: one)
    for one in features:
        torch.testing.assert_close(one[0], one[1])
        assert (one[0] - one[2]).abs().max() > 1e-3
        assert torch.equal(one[2], network.backbone.emb.emb.weight[1])


def test_what_a_scheme_tells_an_atom_without_neighbours_changes_its_energy() -> None:
    network = Network(fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb")))
    network.scheme = scheme = Telling(network.backbone.shape)
    batch = of(network.spec, in_a_row(0.0))
    without = network(batch).energy
    scheme.told = 0.5
    assert (network(batch).energy - without).abs() > 1e-3


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_atom_hears_as_many_cutoffs_far_as_there_are_layers(layers: int) -> None:
    network = Network(fit_baseline(replace(SPEC, layers=layers), labelled_waters(teacher="gfn2-xtb")))
    step = 0.8 * SPEC.cutoff
    places = [(step * k, 0.1 * k**2, 0.0) for k in range(5)]

    def energy(x: float) -> float:
        """Of the first atom of a chain, whose atom number k has moved."""
        return float(network(of(network.spec, atoms(*places))).atom_energies[0].detach() - x)

    before = energy(0.0)
    for k in range(1, 5):
        kept = places[k]
        places[k] = (kept[0], kept[1] + 0.1, 0.2)
        assert (abs(energy(before)) > 1e-9) == (k <= layers)
        places[k] = kept


class Telling(Scheme):
    """Tells one atom something after the first layer."""

    told = 0.0

    def after_layer(self, layer, features, radial, batch, memory):  # type: ignore[no-untyped-def]
        if layer or not self.told:
            return features
        return features + self.told * torch.eye(len(features), 1, dtype=features.dtype)


def test_what_a_scheme_tells_an_atom_goes_on_in_its_messages() -> None:
    network = Network(fit_baseline(SPEC, labelled_waters(teacher="gfn2-xtb")))
    network.scheme = scheme = Telling(network.backbone.shape)
    step = 0.8 * SPEC.cutoff
    batch = of(network.spec, atoms(*[(step * k, 0.1 * k**2, 0.0) for k in (0, 1, -1, 2, -2, 3, -3)]))
    without = network(batch).atom_energies
    scheme.told = 0.5
    changed = (network(batch).atom_energies - without).abs()
    # after the first of three layers there are two left to carry it
    assert (changed[:5] > 1e-9).all()
    assert (changed[5:] < 1e-12).all()


def test_the_embedding_knows_the_elements_of_the_network() -> None:
    named = parameter_arrays(Network(SPEC))
    assert named["backbone.emb.emb.weight"].shape == (2, SPEC.channels)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_trained_network_keeps_the_contract_of_all_models(scheme: str, tmp_path: Path) -> None:
    spec = replace(SPEC, elements=(1, 6, 7, 8), layers=2, scheme=scheme)
    trained = train(
        spec,
        labelled_waters(teacher="gfn2-xtb")[:18],
        labelled_waters(teacher="gfn2-xtb")[18:],
        Budget(steps=5, batch_size=4, validate_every=5),
    )
    traits = traits_of(network_of(trained))
    write_trained(tmp_path / "network.npz", trained, NetworkMetadata("GFN2-xTB", "none", "this test", **asdict(traits)))
    card = FAMILY.card_of("mine", tmp_path / "network.npz")
    assert (card.about.layers, card.about.cutoff, card.needs.packages) == (2, 3.5, ("torch", "torch-geometric"))
    assert card.about.long_range == (scheme != "none")
    failed = [one for one in check(load(card, tmp_path / "network.npz")) if not one.passed]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize(
    ("fields", "options", "words"),
    [
        ({}, {"num_spherical": 1}, "option num_spherical: expected greater than or equal to 2, found 1"),
        ({}, {"int_emb_size": 0}, "option int_emb_size: expected greater than or equal to 1, found 0"),
        ({}, {"int_emb_size": 2.0}, "option int_emb_size: expected a valid integer, found 2.0"),
        ({}, {"num_bilinear": 8}, "expected options among int_emb_size, .*, found num_bilinear"),
        ({"max_ell": 2, "cutoff": 4.0}, {}, "expected no max_ell, which it does not have, found it"),
    ],
)
def test_what_it_does_not_have_is_refused(fields: dict[str, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_architecture("dimenet++", fields, options)
