"""What every network keeps, whatever its architecture and scheme: a new architecture is one file plus this suite.

An architecture runs wherever its packages are.  For one with an environment of its own that is
``.venv-NAME/bin/python -m pytest tests/generalization/test_architecture_contract.py -k NAME``; so nothing here asks for
packages that only some environments have.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crystals import SKEWED, repeated, shapeless
from labels import SMALL, charged, labelled, together, turned
from networks import Telling, batch_of, evaluated, stirred

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks import trained_family as family
from hbcoop_dist.learning.networks import trained_files as trained_file
from hbcoop_dist.learning.networks.architectures.registry import ARCHITECTURES
from hbcoop_dist.learning.networks.network import Network, energy_and_forces, parameters_of, set_parameters
from hbcoop_dist.learning.networks.network_builder import network_of, traits_of
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.schemes.base import Scheme
from hbcoop_dist.learning.networks.schemes.registry import BUILTIN_SCHEMES
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.learning.training.budget import Budget
from hbcoop_dist.learning.training.targets import fit_baseline
from hbcoop_dist.learning.training.training_loop import train
from hbcoop_dist.models import registry

SMALL_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "allegro": {"tensor_channels": 2, "latent_width": 8},
    "dimenet++": {"int_emb_size": 4, "basis_emb_size": 4, "out_emb_channels": 8, "num_spherical": 3},
}
"""Options that make a network small enough, by architecture; those not named here have their own."""

SCHEMES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (name, {}) for name in BUILTIN_SCHEMES},
    # its invariance is as good as its tolerance
    "efa": ("efa", {"tolerance": 1e-10, "largest": 12.0, "frequencies": 2}),
    "les-sum": ("les", {"charge_sum": "constrained", "charge_constraint": "fragment"}),
    "celli-fragment": ("celli", {"charge_constraint": "fragment"}),
}
"""Scheme and options by a name of their own: those of the registry, and variants that add up for far molecules."""


def absent(architecture: str) -> str:
    """Why an architecture cannot run here, and where it can; empty when it can."""
    found = ARCHITECTURES[architecture]
    return registry.missing_modules(Requirements(found.requires, found.packages, found.environment))


NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(bool(absent(name)), reason=f"{name}: {absent(name)}"))
    for name in ARCHITECTURES
]


def waters() -> tuple[LabelledStructure, ...]:
    """One to three of them, labelled by a potential that needs no package."""
    return labelled(teacher="toy")


def spec_of(architecture: str, scheme: str = "none", **changes: object) -> NetworkSpec:
    name, options = SCHEMES[scheme]
    small = replace(
        SMALL,
        architecture=architecture,
        architecture_options=SMALL_OPTIONS.get(architecture, {}),
        scheme=name,
        scheme_options=options,
    )
    return fit_baseline(replace(small, **changes), waters())


@functools.cache
def _network(architecture: str, scheme: str) -> Network:
    return stirred(spec_of(architecture, scheme))


@pytest.fixture(params=NAMES, scope="module")
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SCHEMES, scope="module")
def network(architecture: str, request: pytest.FixtureRequest) -> Network:
    return _network(architecture, request.param)


def test_energy_is_that_of_the_same_structure_turned_moved_and_reordered(network: Network) -> None:
    structure = charged(waters()[2], -1)
    moved, turn = turned(structure)
    order = np.random.default_rng(1).permutation(len(structure))
    mixed = replace(
        structure,
        numbers=structure.numbers[order],
        positions=structure.positions[order],
        forces=None,
        molecules=structure.molecules[order],
    )
    found = [evaluated(network, one) for one in (structure, moved, mixed)]
    energies, slopes = [one.energy.item() for one, _ in found], [slope.numpy() for _, slope in found]
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(slopes[1], slopes[0] @ turn.T, atol=1e-9)
    np.testing.assert_allclose(slopes[2], slopes[0][order], atol=1e-9)


def test_forces_are_differences_of_the_energy(network: Network) -> None:
    structure = charged(waters()[1], 1)
    _, forces = evaluated(network, structure)
    step = 2e-5
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            energies.append(evaluated(network, replace(structure, positions=positions))[0].energy.item())
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[atom, axis].item(), abs=1e-6)


def test_a_batch_is_its_structures_one_by_one(network: Network) -> None:
    structures = [charged(one, place % 3 - 1) for place, one in enumerate(waters()[:6])]
    joined, slopes = evaluated(network, *structures)
    alone = [evaluated(network, one) for one in structures]
    np.testing.assert_allclose(joined.energy, [output.energy.item() for output, _ in alone], rtol=0, atol=1e-10)
    np.testing.assert_allclose(slopes, np.concatenate([slope for _, slope in alone]), atol=1e-10)
    assert joined.atom_energies.sum().item() == pytest.approx(joined.energy.sum().item(), rel=1e-12, abs=1e-10)
    if joined.charges is not None:
        charges = np.concatenate([output.charges for output, _ in alone if output.charges is not None])
        np.testing.assert_allclose(joined.charges, charges, atol=1e-11)


def test_forces_of_a_training_network_can_be_differentiated_by_its_parameters(network: Network) -> None:
    """And by every parameter of its scheme: what a scheme says, the network hears."""
    network.zero_grad()
    structures = [charged(one, charge) for one, charge in zip(waters()[:3], (-1, 0, 1), strict=True)]
    output, forces = energy_and_forces(network, batch_of(network, *structures), training=True)
    (output.energy.sum() + (forces**2).sum()).backward()
    slopes = {name: one.grad for name, one in network.named_parameters() if one.requires_grad}
    assert all(one is None or bool(torch.isfinite(one).all()) for one in slopes.values())
    assert any(one is not None and bool((one != 0).any()) for one in slopes.values())
    schemes = {name: one for name, one in slopes.items() if name.startswith("scheme.")}
    assert [name for name, one in schemes.items() if one is None or not bool((one != 0).any())] == []


def test_forces_are_continuous_where_a_neighbour_comes_into_reach(network: Network) -> None:
    water = waters()[0]
    edge = network.spec.cutoff
    lone = replace(water, numbers=np.array([8]), positions=np.zeros((1, 3)), forces=None, molecules=np.array([0]))
    found = []
    for distance in (edge - 1e-7, edge + 1e-7):
        # from the water's first atom, along a line on which no other is nearer
        outward = water.positions[0] - water.positions[1:].mean(axis=0)
        place = water.positions[0] + distance * outward / np.linalg.norm(outward)
        near = together(water, replace(lone, positions=place[None]), 0.0)
        assert np.sum(np.linalg.norm(near.positions[:-1] - place, axis=1) < edge) == (distance < edge)
        found.append(evaluated(network, charged(near, 1)))
    (before, pulled), (after, free) = found
    assert before.energy.item() == pytest.approx(after.energy.item(), abs=1e-5)
    np.testing.assert_allclose(pulled, free, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_no_edges_are_no_trouble(network: Network, training: bool) -> None:
    """One atom, and atoms beyond the cutoff of each other."""
    lone = LabelledStructure(np.array([8]), np.zeros((1, 3)), 0.0, None, "O", "atom")
    apart = LabelledStructure(np.array([8, 1]), np.array([[0.0, 0, 0], [50.0, 0, 0]]), 0.0, None, "OH", "atom")
    for structures in ((lone,), (lone, apart), (lone, waters()[1], apart)):
        output, forces = energy_and_forces(network, batch_of(network, *structures), training=training)
        assert torch.isfinite(output.energy).all()
        assert torch.isfinite(forces).all()
        assert network.scheme.reaches or (forces[0] == 0).all()
        if training:
            network.zero_grad()
            (output.energy.sum() + (forces**2).sum()).backward()
            assert all(one.grad is None or bool(torch.isfinite(one.grad).all()) for one in network.parameters())


def test_molecules_far_apart_add_up_where_the_scheme_says_so(network: Network) -> None:
    if not network.scheme.extensive:
        assert network.scheme.reaches
        return
    one, other = charged(waters()[0], 1), charged(waters()[1], -1)
    joined = evaluated(network, together(one, other, 1e7))[0].energy.item()
    alone = [evaluated(network, part)[0].energy.item() for part in (one, other)]
    assert joined == pytest.approx(sum(alone), abs=1e-5)


def test_atoms_beyond_all_layers_are_heard_of_only_through_a_scheme(network: Network) -> None:
    spec = network.spec
    far = spec.cutoff * (spec.layers + 2)
    structure = together(charged(waters()[0], 1), charged(waters()[0], -1), far)
    shifted = structure.positions.copy()
    shifted[3:, 1] += 0.5
    forces = [evaluated(network, replace(structure, positions=one))[1][:3] for one in (structure.positions, shifted)]
    same = torch.allclose(*forces, rtol=0, atol=1e-12)
    assert same or network.scheme.reaches
    # a total charge says nothing of where it is
    assert not same or spec.scheme in ("none", "charge-embedding")


def test_an_atom_sees_as_many_neighbours_of_neighbours_as_is_said(architecture: str) -> None:
    """Along a zigzag in which every atom has only the next ones within reach; a model's card says the same."""
    for layers in (1, 2, 3):
        network = stirred(spec_of(architecture, layers=layers))
        hops = ARCHITECTURES[architecture].hops
        seen, n = hops[0] * layers + hops[1], 7
        steps = np.array([[0.75, 0.3, 0.0], [0.75, -0.1, 0.3]]) * network.spec.cutoff
        places = np.cumsum(steps[np.arange(n) % 2], axis=0)
        row = LabelledStructure(np.full(n, 8), places, 0.0, None, "row", "row")
        batch = batch_of(network, row)
        moving = batch.positions.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(replace(batch, positions=moving)).atom_energies[0], moving)
        heard = (slope.abs().amax(dim=1) > 0).tolist()
        assert heard == [place <= seen for place in range(n)]


def test_a_crystal_is_the_same_by_a_larger_cell(network: Network) -> None:
    """Where atoms meet their own images, too."""
    if not network.scheme.periodic:
        pytest.skip(f"scheme {network.spec.scheme} is not defined for cells")
    for one in (shapeless(6, molecules=2), shapeless(2, cell=0.6 * SKEWED, seed=3)):
        once, forces = evaluated(network, one)
        twice, slopes = evaluated(network, repeated(one, (2, 1, 1)))
        assert forces.abs().max() > 1e-4
        np.testing.assert_allclose(twice.energy.item(), 2.0 * once.energy.item(), rtol=1e-12, atol=1e-8)
        np.testing.assert_allclose(
            slopes, np.tile(forces, (2, 1)), rtol=0, atol=1e-8 * max(1.0, float(forces.abs().max()))
        )


def test_charges_sum_to_the_total(network: Network) -> None:
    options = network.spec.scheme_options
    structures = [charged(one, place % 3 - 1) for place, one in enumerate(waters()[:6])]
    output, _ = evaluated(network, *structures)
    if network.spec.scheme == "celli" or options.get("charge_sum") == "constrained":
        batch = batch_of(network, *structures)
        assert output.charges is not None
        torch.testing.assert_close(batch.sum_structures(output.charges), batch.charge, rtol=0, atol=1e-10)
        if options.get("charge_constraint") == "fragment":
            torch.testing.assert_close(batch.sum_molecules(output.charges), batch.molecule_charge, rtol=0, atol=1e-10)
    else:
        assert (output.charges is not None) == (network.spec.scheme == "les")


def test_the_first_call_gives_the_bits_of_any_other(architecture: str) -> None:
    network = stirred(spec_of(architecture, "celli"))
    structures = waters()[:4]
    first, slopes = evaluated(network, *structures)
    for _ in range(30):
        again, others = evaluated(network, *structures)
        assert torch.equal(first.energy, again.energy)
        assert torch.equal(slopes, others)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32_differs_from_float64_by_round_off_of_what_was_learnt(architecture: str, scheme: str) -> None:
    """Atomic energies, often 1000 eV, cost nothing."""
    spec = spec_of(architecture, scheme, atomic_energies=(-13.0, -2000.0))
    network, structures = Network(replace(spec, atomic_energies=(-13.0, -2000.0))), waters()[:4]
    whole, _ = evaluated(network, *structures)
    single, forces = energy_and_forces(network.float(), batch_of(network, *structures, dtype=torch.float32))
    assert single.energy.dtype == torch.float64
    assert forces.dtype == torch.float32
    np.testing.assert_allclose(single.energy, whole.energy, rtol=0, atol=1e-5 * max(spec.scale, 1.0))


def test_first_parameters_follow_from_the_seed_and_leave_torch_as_it_was(architecture: str) -> None:
    before, state = torch.get_default_dtype(), torch.random.get_rng_state()
    first, again, other = (parameters_of(Network(spec_of(architecture, seed=seed))) for seed in (3, 3, 4))
    assert torch.get_default_dtype() == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_a_scheme_adds_its_own_parameters_and_no_others(architecture: str) -> None:
    bare = set(parameters_of(Network(spec_of(architecture))))
    for scheme in SCHEMES:
        more = {name for name in parameters_of(_network(architecture, scheme)) if not name.startswith("scheme.")}
        assert more == bare


def test_parameters_of_another_network_are_refused(architecture: str) -> None:
    network = Network(spec_of(architecture))
    known = parameters_of(network)
    with pytest.raises(ValueError, match="expected its own parameters"):
        set_parameters(network, {"stranger": np.zeros(1)})
    name = next(iter(known))
    with pytest.raises(ValueError, match=f"parameter {name}: expected"):
        set_parameters(network, {**known, name: np.zeros((1, 2, 3, 4))})


def test_a_scheme_acts_before_and_after_every_layer(architecture: str) -> None:
    network = stirred(spec_of(architecture))
    structure, spec = waters()[1], network.spec
    without = evaluated(network, structure)[0].energy.item()
    layers = [f"layer {layer}" for layer in range(spec.layers)]
    for place in ("embed", *layers):
        network.scheme = Telling(network, place)
        changed = evaluated(network, structure)[0].energy.item()
        n, c = len(structure), spec.channels
        assert network.scheme.seen == [
            ("embed", (n, c)),
            *((layer, (n, c, spec.n_radial)) for layer in layers),
            ("energy", ((n, c),) * spec.layers),
        ]
        assert abs(changed - without) > 1e-4, f"what a scheme says at {place} is not heard"


def test_radial_functions_end_at_the_cutoff(architecture: str) -> None:
    """Schemes sum over edges, and trust that terms with these functions are smooth there."""
    network = Network(spec_of(architecture))
    seen = {}

    class Looking(Scheme):
        def after_layer(self, layer, features, radial, batch, memory):  # type: ignore[no-untyped-def]
            seen[layer] = radial.detach()
            return features

    network.scheme = Looking(network.backbone.shape)
    edge = network.spec.cutoff
    for distance, small in ((edge - 1e-4, True), (0.5 * edge, False)):
        pair = LabelledStructure(np.array([8, 8]), np.array([[0, 0, 0], [distance, 0, 0]]), 0.0, None, "O2", "pair")
        evaluated(network, pair)
        assert all((one.abs().max().item() < 1e-6) == small for one in seen.values())


def test_charge_embedding_is_nothing_for_neutral_structures(architecture: str) -> None:
    with_it, without = (Network(spec_of(architecture, scheme)) for scheme in ("charge-embedding", "none"))
    assert evaluated(with_it, waters()[0])[0].energy == evaluated(without, waters()[0])[0].energy


def test_charge_embedding_reaches_any_distance(architecture: str) -> None:
    """A water's energy depends on the charge of what it shares a structure with, however far away that is."""
    network, water = Network(spec_of(architecture, "charge-embedding")), waters()[0]

    def beside(charge: int, distance: float) -> float:
        two = together(water, charged(water, charge), distance)
        return evaluated(network, two)[0].atom_energies[: len(water)].sum().item()

    alone = evaluated(network, water)[0].energy.item()
    assert beside(0, 1e3) == pytest.approx(alone, abs=1e-9)
    assert abs(beside(1, 1e3) - alone) > 1e-4
    assert beside(1, 1e3) == pytest.approx(beside(1, 1e6), abs=1e-6)
    assert abs(beside(1, 1e3) - beside(-1, 1e3)) > 1e-4
    assert not network.scheme.extensive


@functools.cache
def _trained(architecture: str, scheme: str) -> Trained:
    budget = Budget(steps=40, batch_size=6, validate_every=10)
    return train(replace(spec_of(architecture, scheme), atomic_energies=()), waters()[:18], waters()[18:], budget)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_training_lowers_the_loss(architecture: str, scheme: str) -> None:
    curve = _trained(architecture, scheme).curve
    assert curve.validation_loss[-1] < 0.8 * curve.validation_loss[0]
    assert curve.training_loss[-1] < 0.5 * curve.training_loss[0]


def test_a_killed_training_goes_on_to_the_same_bits(architecture: str, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int) -> None:
        if step == 3:
            raise Killed

    spec, path = spec_of(architecture, "celli"), tmp_path / "state.pt"
    budget = Budget(steps=6, batch_size=4, validate_every=2)
    whole = train(spec, waters()[:18], waters()[18:], budget)
    with pytest.raises(Killed):
        train(spec, waters()[:18], waters()[18:], budget, checkpoint=path, checkpoint_seconds=0.0, progress=kill)
    resumed = train(spec, waters()[:18], waters()[18:], budget, checkpoint=path)
    assert resumed.parameter_hash == whole.parameter_hash
    np.testing.assert_array_equal(resumed.curve.validation_loss, whole.curve.validation_loss)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_trained_network_is_the_same_in_a_file(architecture: str, scheme: str, tmp_path: Path) -> None:
    trained, path = _trained(architecture, scheme), tmp_path / "network.npz"
    network = network_of(trained)
    about = trained_file.About("toy", "none", "this test", **asdict(traits_of(network)))
    trained_file.write(path, trained, about)
    again, said = trained_file.read(path)
    assert said == about
    assert torch.equal(evaluated(network_of(again), *waters())[0].energy, evaluated(network, *waters())[0].energy)
    card = family.FAMILY.card_of("mine", path)
    found = ARCHITECTURES[architecture]
    assert card.needs.environment == found.environment
    assert card.receptive_field == (
        None if card.about.long_range else trained.spec.cutoff * (found.hops[0] * trained.spec.layers + found.hops[1])
    )
    assert card.about.long_range == network.scheme.reaches
