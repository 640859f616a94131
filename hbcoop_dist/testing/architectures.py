"""Contract suite of architectures: laws that every network obeys, with every built-in long-range scheme.

The authors of an architecture run it on their own by a test module with these lines::

    from hbcoop_dist.testing.architectures import *

    @pytest.fixture(params=[ArchitectureCase("my-architecture", {"width": 8})], ids=str, scope="module")
    def architecture(request):
        return request.param

An architecture runs where its packages are. For one with an environment of its own that is ``.venv-NAME/bin/python -m
pytest tests/learning/networks/test_architectures.py -k NAME``; so the suite needs no packages that only some
environments have.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks import trained_family
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.network_module import (
    Network,
    energy_and_forces,
    network_of,
    parameter_arrays,
    set_parameters,
    traits_of,
)
from hbcoop_dist.learning.networks.registry import ARCHITECTURES, SCHEMES, find_architecture
from hbcoop_dist.learning.networks.schemes.base import Memory, Scheme
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata, Trained, read_trained, write_trained
from hbcoop_dist.learning.training.training_loop import fit_baseline, train
from hbcoop_dist.testing.learning_examples import (
    SKEWED,
    SMALL,
    batch_for,
    evaluate_network,
    joined,
    labelled_waters,
    perturbed_network,
    random_crystal,
    rotated,
    supercell,
    with_charge,
)

SCHEME_VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (name, {}) for name in SCHEMES},
    # rotational invariance holds to the tolerance
    "efa": ("efa", {"tolerance": 1e-10, "largest": 12.0, "frequencies": 2}),
    "les-sum": ("les", {"charge_sum": "constrained", "charge_constraint": "fragment"}),
    "celli-fragment": ("celli", {"charge_constraint": "fragment"}),
}
"""Scheme and options by name: the built-in schemes, and variants that are additive for distant molecules."""


@dataclass(frozen=True, slots=True)
class ArchitectureCase:
    """An architecture with options that keep its networks small.

    Attributes
    ----------
    name : str
        Name in the registry.
    options : mapping
        Options as written in a campaign.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.name

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules that the architecture needs and that are not installed."""
        return tuple(module for module in find_architecture(self.name).requires if find_spec(module) is None)

    def spec(self, scheme: str = "none", **changes: Any) -> NetworkSpec:
        """Return a small network of waters, with fitted atomic energies.

        Parameters
        ----------
        scheme : str
            Name in `SCHEME_VARIANTS`.
        **changes
            Other fields of `NetworkSpec`.
        """
        name, options = SCHEME_VARIANTS[scheme]
        spec = replace(
            SMALL, architecture=self.name, architecture_options=self.options, scheme=name, scheme_options=options
        )
        return fit_baseline(replace(spec, **changes), labelled_waters())


BUILTIN_CASES = tuple(
    ArchitectureCase(name, options)
    for name, options in {
        **{name: {} for name in ARCHITECTURES},
        "allegro": {"tensor_channels": 2, "latent_width": 8},
        "dimenet++": {"int_emb_size": 4, "basis_emb_size": 4, "out_emb_channels": 8, "num_spherical": 3},
    }.items()
)


@pytest.fixture(params=BUILTIN_CASES, ids=str, scope="module")
def architecture(request: pytest.FixtureRequest) -> ArchitectureCase:
    """Return an architecture to be tested; override it to test others."""
    case: ArchitectureCase = request.param
    if case.missing:
        pytest.skip(f"architecture {case.name} needs {', '.join(case.missing)}, not installed here")
    return case


@functools.cache
def _network(case: ArchitectureCase, scheme: str) -> Network:
    return perturbed_network(case.spec(scheme))


@functools.cache
def _trained(case: ArchitectureCase, scheme: str) -> Trained:
    budget = Budget(steps=40, batch_size=6, validate_every=10)
    waters = labelled_waters()
    return train(replace(case.spec(scheme), atomic_energies=()), waters[:18], waters[18:], budget)


@pytest.fixture(params=SCHEME_VARIANTS, scope="module")
def network(architecture: ArchitectureCase, request: pytest.FixtureRequest) -> Network:
    """Return a network of the architecture with one of the schemes."""
    return _network(architecture, request.param)


def test_energy_and_forces_are_equivariant(network: Network) -> None:
    """Energy and forces of a rotated, translated and permuted structure are those of the structure."""
    structure = with_charge(labelled_waters()[2], -1)
    moved, rotation = rotated(structure)
    order = np.random.default_rng(1).permutation(len(structure))
    permuted = replace(
        structure,
        numbers=structure.numbers[order],
        positions=structure.positions[order],
        forces=None,
        molecules=structure.molecules[order],
    )
    results = [evaluate_network(network, variant) for variant in (structure, moved, permuted)]
    energies = [output.energy.item() for output, _ in results]
    forces = [force.numpy() for _, force in results]
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(forces[1], forces[0] @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(forces[2], forces[0][order], atol=1e-9)


def test_forces_are_gradients(network: Network) -> None:
    """Forces equal central differences of the energy."""
    structure, step = with_charge(labelled_waters()[1], 1), 2e-5
    _, forces = evaluate_network(network, structure)
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            energies.append(evaluate_network(network, replace(structure, positions=positions))[0].energy.item())
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[atom, axis].item(), abs=1e-6)


def test_batch_equals_single_structures(network: Network) -> None:
    """Energies, forces and charges do not depend on the other structures of a batch."""
    structures = [with_charge(water, index % 3 - 1) for index, water in enumerate(labelled_waters()[:6])]
    output, forces = evaluate_network(network, *structures)
    single = [evaluate_network(network, structure) for structure in structures]
    np.testing.assert_allclose(output.energy, [result.energy.item() for result, _ in single], rtol=0, atol=1e-10)
    np.testing.assert_allclose(forces, np.concatenate([force for _, force in single]), atol=1e-10)
    assert output.atom_energies.sum().item() == pytest.approx(output.energy.sum().item(), rel=1e-12, abs=1e-10)
    if output.charges is not None:
        charges = np.concatenate([result.charges for result, _ in single if result.charges is not None])
        np.testing.assert_allclose(output.charges, charges, atol=1e-11)


def test_training_gradients_reach_every_parameter_of_the_scheme(network: Network) -> None:
    """Energies and forces can be differentiated by the parameters, and depend on each parameter of the scheme."""
    network.zero_grad()
    structures = [with_charge(water, charge) for water, charge in zip(labelled_waters()[:3], (-1, 0, 1), strict=True)]
    output, forces = energy_and_forces(network, batch_for(network, structures), training=True)
    (output.energy.sum() + (forces**2).sum()).backward()  # type: ignore[no-untyped-call]
    gradients = {name: value.grad for name, value in network.named_parameters() if value.requires_grad}
    assert all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    used = {name for name, gradient in gradients.items() if gradient is not None and bool((gradient != 0).any())}
    assert used
    assert [name for name in gradients if name.startswith("scheme.") and name not in used] == []


def test_forces_are_continuous_at_the_cutoff(network: Network) -> None:
    """Energy and forces are continuous where a neighbour crosses the cutoff."""
    water = labelled_waters()[0]
    cutoff = network.spec.cutoff
    lone = replace(water, numbers=np.array([8]), positions=np.zeros((1, 3)), forces=None, molecules=np.array([0]))
    # away from the first atom, along a line on which no other atom is nearer
    outward = water.positions[0] - water.positions[1:].mean(axis=0)
    results = []
    for distance in (cutoff - 1e-7, cutoff + 1e-7):
        position = water.positions[0] + distance * outward / np.linalg.norm(outward)
        pair = joined(water, replace(lone, positions=position[None]), 0.0)
        assert np.sum(np.linalg.norm(pair.positions[:-1] - position, axis=1) < cutoff) == (distance < cutoff)
        results.append(evaluate_network(network, with_charge(pair, 1)))
    (inside, inside_forces), (outside, outside_forces) = results
    assert inside.energy.item() == pytest.approx(outside.energy.item(), abs=1e-5)
    np.testing.assert_allclose(inside_forces, outside_forces, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_structures_without_edges_are_finite(network: Network, training: bool) -> None:
    """A single atom, and atoms beyond the cutoff of each other, have finite energies, forces and gradients."""
    lone = LabelledStructure(np.array([8]), np.zeros((1, 3)), 0.0, None, "O", "atom")
    apart = LabelledStructure(np.array([8, 1]), np.array([[0.0, 0, 0], [50.0, 0, 0]]), 0.0, None, "OH", "atom")
    for structures in ((lone,), (lone, apart), (lone, labelled_waters()[1], apart)):
        output, forces = energy_and_forces(network, batch_for(network, structures), training=training)
        assert torch.isfinite(output.energy).all()
        assert torch.isfinite(forces).all()
        assert network.scheme.long_range or (forces[0] == 0).all()
        if training:
            network.zero_grad()
            (output.energy.sum() + (forces**2).sum()).backward()  # type: ignore[no-untyped-call]
            assert all(value.grad is None or bool(torch.isfinite(value.grad).all()) for value in network.parameters())


def test_distant_molecules_are_additive_if_extensive(network: Network) -> None:
    """The energy of molecules 1e7 A apart is the sum of theirs where the scheme declares itself extensive."""
    if not network.scheme.extensive:
        assert network.scheme.long_range
        return
    first, second = with_charge(labelled_waters()[0], 1), with_charge(labelled_waters()[1], -1)
    both = evaluate_network(network, joined(first, second, 1e7))[0].energy.item()
    single = [evaluate_network(network, part)[0].energy.item() for part in (first, second)]
    assert both == pytest.approx(sum(single), abs=1e-5)


def test_only_schemes_reach_beyond_all_layers(network: Network) -> None:
    """Forces depend on the position of a molecule beyond the receptive field only through the scheme."""
    spec = network.spec
    far = spec.cutoff * (spec.layers + 2)
    structure = joined(with_charge(labelled_waters()[0], 1), with_charge(labelled_waters()[0], -1), far)
    shifted = structure.positions.copy()
    shifted[3:, 1] += 0.5
    forces = [
        evaluate_network(network, replace(structure, positions=positions))[1][:3]
        for positions in (structure.positions, shifted)
    ]
    equal = torch.allclose(forces[0], forces[1], rtol=0, atol=1e-12)
    assert equal or network.scheme.long_range
    # charge-embedding depends on the total charge, not on its position
    assert not equal or spec.scheme in ("none", "charge-embedding")


def test_receptive_field_is_as_declared(architecture: ArchitectureCase) -> None:
    """The energy of an atom at the end of a zigzag depends on as many next neighbours as the declaration states."""
    n = 7
    for layers in (1, 2, 3):
        network = perturbed_network(architecture.spec(layers=layers))
        hops = find_architecture(architecture.name).hops(layers)
        steps = np.array([[0.75, 0.3, 0.0], [0.75, -0.1, 0.3]]) * network.spec.cutoff
        positions = np.cumsum(steps[np.arange(n) % 2], axis=0)
        batch = batch_for(network, [LabelledStructure(np.full(n, 8), positions, 0.0, None, "row", "row")])
        moving = batch.positions.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(replace(batch, positions=moving)).atom_energies[0], moving)
        depends = (gradient.abs().amax(dim=1) > 0).tolist()
        assert depends == [atom <= hops for atom in range(n)]


def test_supercell_has_the_same_energy_per_cell(network: Network) -> None:
    """Energy per cell and forces do not depend on the choice of the cell, also where atoms meet their own images."""
    if not network.scheme.periodic:
        pytest.skip(f"scheme {network.spec.scheme} is not defined for periodic structures")
    for crystal in (random_crystal(6, molecules=2), random_crystal(2, cell=0.6 * SKEWED, seed=3)):
        cell, forces = evaluate_network(network, crystal)
        doubled, doubled_forces = evaluate_network(network, supercell(crystal, (2, 1, 1)))
        largest = float(forces.abs().max())
        assert largest > 1e-4
        np.testing.assert_allclose(doubled.energy.item(), 2.0 * cell.energy.item(), rtol=1e-12, atol=1e-8)
        np.testing.assert_allclose(doubled_forces, np.tile(forces, (2, 1)), rtol=0, atol=1e-8 * max(1.0, largest))


def test_charges_sum_to_the_total_charge(network: Network) -> None:
    """Charges of schemes that constrain them sum to the charge of each structure, or of each molecule."""
    options = network.spec.scheme_options
    structures = [with_charge(water, index % 3 - 1) for index, water in enumerate(labelled_waters()[:6])]
    output, _ = evaluate_network(network, *structures)
    if network.spec.scheme == "celli" or options.get("charge_sum") == "constrained":
        batch = batch_for(network, structures)
        assert output.charges is not None
        torch.testing.assert_close(batch.sum_structures(output.charges), batch.charge, rtol=0, atol=1e-10)
        if options.get("charge_constraint") == "fragment":
            torch.testing.assert_close(batch.sum_molecules(output.charges), batch.molecule_charge, rtol=0, atol=1e-10)
    else:
        assert (output.charges is not None) == (network.spec.scheme == "les")


def test_every_call_gives_the_same_bits(architecture: ArchitectureCase) -> None:
    """The first call gives the bits of later ones: nothing is compiled after some calls."""
    network = perturbed_network(architecture.spec("celli"))
    first, forces = evaluate_network(network, *labelled_waters()[:4])
    for _ in range(30):
        again, forces_again = evaluate_network(network, *labelled_waters()[:4])
        assert torch.equal(first.energy, again.energy)
        assert torch.equal(forces, forces_again)


@pytest.mark.parametrize("scheme", SCHEME_VARIANTS)
def test_float32_differs_by_round_off_of_the_learnt_energy(architecture: ArchitectureCase, scheme: str) -> None:
    """Atomic energies, often of the order of 1000 eV, do not contribute to the round-off of float32."""
    spec = architecture.spec(scheme, atomic_energies=(-13.0, -2000.0))
    network, structures = Network(replace(spec, atomic_energies=(-13.0, -2000.0))), labelled_waters()[:4]
    double, _ = evaluate_network(network, *structures)
    single, forces = energy_and_forces(network.float(), batch_for(network, structures, dtype=torch.float32))
    assert single.energy.dtype == torch.float64
    assert forces.dtype == torch.float32
    np.testing.assert_allclose(single.energy, double.energy, rtol=0, atol=1e-5 * max(spec.scale, 1.0))


def test_initial_parameters_follow_from_the_seed(architecture: ArchitectureCase) -> None:
    """Initial parameters depend on the seed alone, and torch's float type and generator are left unchanged."""
    dtype, state = torch.get_default_dtype(), torch.random.get_rng_state()
    first, again, other = (parameter_arrays(Network(architecture.spec(seed=seed))) for seed in (3, 3, 4))
    assert torch.get_default_dtype() == dtype
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_schemes_add_only_their_own_parameters(architecture: ArchitectureCase) -> None:
    """All parameters that a scheme adds are its own."""
    backbone = set(parameter_arrays(Network(architecture.spec())))
    for scheme in SCHEME_VARIANTS:
        names = parameter_arrays(_network(architecture, scheme))
        assert {name for name in names if not name.startswith("scheme.")} == backbone


def test_parameters_of_another_network_are_refused(architecture: ArchitectureCase) -> None:
    """Parameters with other names or shapes are refused."""
    network = Network(architecture.spec())
    parameters = parameter_arrays(network)
    with pytest.raises(ValueError, match="expected its own parameters"):
        set_parameters(network, {"stranger": np.zeros(1)})
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=f"parameter {name}: expected"):
        set_parameters(network, {**parameters, name: np.zeros((1, 2, 3, 4))})


class ProbeScheme(Scheme):
    """A scheme that adds a fixed vector to the features at one hook, and records the shapes that all hooks get.

    Parameters
    ----------
    network : Network
    hook : str
        ``embed`` or ``layer 0``, ``layer 1``, ...
    """

    def __init__(self, network: Network, hook: str) -> None:
        super().__init__(network.backbone.shape)
        self.hook = hook
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.changed: dict[str, torch.Tensor] = {}

    def _add(self, hook: str, features: torch.Tensor) -> torch.Tensor:
        if hook != self.hook:
            return features
        self.changed[hook] = features + torch.linspace(-1.0, 1.0, features.shape[1], dtype=features.dtype)
        return self.changed[hook]

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        self.calls.append(("embed", tuple(features.shape)))
        return self._add("embed", features)

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        self.calls.append((f"layer {layer}", (*features.shape, radial.shape[1])))
        assert radial.shape[0] == batch.edges.shape[1]
        return self._add(f"layer {layer}", features)

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> None:
        self.calls.append(("energy", tuple(size for layer in features for size in layer.shape)))
        for hook, changed in self.changed.items():
            if hook != "embed":
                assert torch.equal(features[int(hook.split()[1])], changed)


def test_schemes_act_before_and_after_every_layer(architecture: ArchitectureCase) -> None:
    """Every hook of a scheme is called in order, and changes the energy."""
    network = perturbed_network(architecture.spec())
    structure, spec = labelled_waters()[1], network.spec
    unchanged = evaluate_network(network, structure)[0].energy.item()
    layers = [f"layer {layer}" for layer in range(spec.layers)]
    n, c = len(structure), spec.channels
    for hook in ("embed", *layers):
        network.scheme = probe = ProbeScheme(network, hook)
        changed = evaluate_network(network, structure)[0].energy.item()
        assert probe.calls == [
            ("embed", (n, c)),
            *((layer, (n, c, spec.n_radial)) for layer in layers),
            ("energy", (n, c) * spec.layers),
        ]
        assert abs(changed - unchanged) > 1e-4, f"a change at {hook} does not change the energy"


def test_radial_functions_end_at_the_cutoff(architecture: ArchitectureCase) -> None:
    """Radial functions that schemes get vanish at the cutoff, so that sums over edges are smooth there."""
    network = Network(architecture.spec())
    largest: list[float] = []

    class RadialProbe(Scheme):
        """A scheme that records the largest radial function."""

        def after_layer(
            self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
        ) -> torch.Tensor:
            largest.append(radial.detach().abs().max().item())
            return features

    network.scheme = RadialProbe(network.backbone.shape)
    cutoff = network.spec.cutoff
    for distance, vanishes in ((cutoff - 1e-4, True), (0.5 * cutoff, False)):
        largest.clear()
        pair = LabelledStructure(np.array([8, 8]), np.array([[0, 0, 0], [distance, 0, 0]]), 0.0, None, "O2", "pair")
        evaluate_network(network, pair)
        assert len(largest) == network.spec.layers
        assert all((value < 1e-6) == vanishes for value in largest)


def test_charge_embedding_vanishes_for_neutral_structures(architecture: ArchitectureCase) -> None:
    """The scheme charge-embedding does not change the energy of neutral structures."""
    with_scheme, without = (Network(architecture.spec(scheme)) for scheme in ("charge-embedding", "none"))
    water = labelled_waters()[0]
    assert evaluate_network(with_scheme, water)[0].energy == evaluate_network(without, water)[0].energy


def test_charge_embedding_reaches_any_distance(architecture: ArchitectureCase) -> None:
    """With charge-embedding, the energy of a water depends on the charge of another at any distance."""
    network, water = Network(architecture.spec("charge-embedding")), labelled_waters()[0]

    def energy_beside(charge: int, distance: float) -> float:
        both = joined(water, with_charge(water, charge), distance)
        return evaluate_network(network, both)[0].atom_energies[: len(water)].sum().item()

    alone = evaluate_network(network, water)[0].energy.item()
    assert energy_beside(0, 1e3) == pytest.approx(alone, abs=1e-9)
    assert abs(energy_beside(1, 1e3) - alone) > 1e-4
    assert energy_beside(1, 1e3) == pytest.approx(energy_beside(1, 1e6), abs=1e-6)
    assert abs(energy_beside(1, 1e3) - energy_beside(-1, 1e3)) > 1e-4
    assert not network.scheme.extensive


@pytest.mark.parametrize("scheme", SCHEME_VARIANTS)
def test_training_lowers_the_loss(architecture: ArchitectureCase, scheme: str) -> None:
    """Forty steps lower training and validation loss."""
    curve = _trained(architecture, scheme).curve
    assert curve.validation_loss[-1] < 0.8 * curve.validation_loss[0]
    assert curve.training_loss[-1] < 0.5 * curve.training_loss[0]


def test_interrupted_training_resumes_to_the_same_bits(architecture: ArchitectureCase, tmp_path: Path) -> None:
    """A training that was interrupted and resumed ends with the parameters of an undisturbed one."""

    class Interrupted(BaseException):
        """Stands for a signal."""

    def interrupt(step: int) -> None:
        if step == 3:
            raise Interrupted

    spec, path = architecture.spec("celli"), tmp_path / "state.pt"
    training, validation = labelled_waters()[:18], labelled_waters()[18:]
    budget = Budget(steps=6, batch_size=4, validate_every=2)
    whole = train(spec, training, validation, budget)
    with pytest.raises(Interrupted):
        train(spec, training, validation, budget, checkpoint=path, checkpoint_seconds=0.0, progress=interrupt)
    resumed = train(spec, training, validation, budget, checkpoint=path)
    assert resumed.parameter_hash == whole.parameter_hash
    np.testing.assert_array_equal(resumed.curve.validation_loss, whole.curve.validation_loss)


@pytest.mark.parametrize("scheme", SCHEME_VARIANTS)
def test_file_of_a_trained_network_restores_it(architecture: ArchitectureCase, scheme: str, tmp_path: Path) -> None:
    """A network read from its file gives the same energies, and its model card states what the file does."""
    trained, path = _trained(architecture, scheme), tmp_path / "network.npz"
    network = network_of(trained)
    metadata = NetworkMetadata("toy", "none", "this test", **asdict(traits_of(network)))
    write_trained(path, trained, metadata)
    again, metadata_again = read_trained(path)
    assert metadata_again == metadata
    energies = [evaluate_network(net, *labelled_waters())[0].energy for net in (network_of(again), network)]
    assert torch.equal(energies[0], energies[1])
    declaration = find_architecture(architecture.name)
    card = trained_family.FAMILY.card_of("mine", path)
    assert card.needs.environment == declaration.environment
    hops = declaration.hops(trained.spec.layers)
    assert card.receptive_field == (None if card.about.long_range else trained.spec.cutoff * hops)
    assert card.about.long_range == network.scheme.long_range
