"""Contract suite of long-range schemes: laws that every scheme obeys, run on a small network in place of a real one.

The authors of a scheme run it on their own by a test module with these lines::

    from hbcoop_dist.testing.schemes import *

    @pytest.fixture(params=[SchemeCase("my-scheme"), SchemeCase("my-scheme", {"width": 2})], ids=str)
    def scheme_case(request):
        return request.param
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import SCHEMES, find_scheme, scheme_options
from hbcoop_dist.learning.networks.schemes.base import LongRange, Scheme, build_scheme
from hbcoop_dist.testing.learning_examples import joined

ELEMENTS = (1, 6, 7, 8)
SHAPE = NetworkShape(n_species=4, channels=6, n_layers=2, n_radial=5, cutoff=3.0, elements=ELEMENTS)


@dataclass(frozen=True, slots=True)
class SchemeCase:
    """A scheme with options.

    Attributes
    ----------
    name : str
        Name in the registry.
    options : mapping
        Options as written in a campaign.
    rotation : float
        Largest change of the energy under rotation, eV.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rotation: float = 1e-10

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.options.values())])


class EdgeNetwork(torch.nn.Module):
    """Two layers that sum gated features of neighbours, a linear readout, and a scheme.

    Parameters
    ----------
    scheme : Scheme
    shape : NetworkShape
    """

    def __init__(self, scheme: Scheme, shape: NetworkShape = SHAPE) -> None:
        super().__init__()
        self.shape, self.scheme = shape, scheme
        self.species = torch.nn.Embedding(shape.n_species, shape.channels)
        self.gates = torch.nn.ModuleList(
            torch.nn.Linear(shape.n_radial, shape.channels, bias=False) for _ in range(shape.n_layers)
        )
        self.readout = torch.nn.Linear(shape.channels, 1, bias=False)

    def radial(self, batch: AtomBatch) -> torch.Tensor:
        """Return radial basis functions of the edges, (E, n_radial), which end smoothly at the cutoff."""
        r = batch.vectors().norm(dim=-1, keepdim=True) / self.shape.cutoff
        orders = torch.arange(1, self.shape.n_radial + 1, dtype=r.dtype, device=r.device)
        radial: torch.Tensor = torch.sin(orders * torch.pi * r) / r * (1 - r**2).clamp(min=0.0) ** 3
        return radial

    def forward(self, batch: AtomBatch) -> tuple[torch.Tensor, LongRange | None]:
        """Return the energy of every atom, (N,), and the contribution of the scheme."""
        memory: dict[str, torch.Tensor] = {}
        radial = self.radial(batch)
        features = self.scheme.embed(self.species(batch.species), batch, memory)
        layers = []
        for layer, gate in enumerate(self.gates):
            messages = torch.tanh(features)[batch.edges[0]] * gate(radial)
            features = features + torch.zeros_like(features).index_add(0, batch.edges[1], messages)
            features = self.scheme.after_layer(layer, features, radial, batch, memory)
            layers.append(features)
        added = self.scheme.energy(layers, batch, memory)
        energy = self.readout(torch.tanh(features)).squeeze(-1)
        return (energy if added is None else energy + added.energy), added


def edge_network(
    name: str, options: Mapping[str, Any] | None = None, *, seed: int = 0, shape: NetworkShape = SHAPE
) -> EdgeNetwork:
    """Return a network with a scheme and random weights everywhere, also where the scheme starts from zero."""
    torch.manual_seed(seed)
    network = EdgeNetwork(build_scheme(name, shape, options or {}), shape).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def grid_cluster(
    n: int, *, charge: int = 0, molecules: int = 1, seed: int = 0, spread: float = 1.3
) -> LabelledStructure:
    """Return n atoms on a distorted grid, assigned to molecules in turn, the first of which carries the charge."""
    rng = np.random.default_rng(100 * seed + n)
    side = int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n]
    return LabelledStructure(
        numbers=rng.choice(ELEMENTS, n),
        positions=spread * grid + rng.uniform(-0.2, 0.2, (n, 3)),
        energy=0.0,
        forces=None,
        parent="p",
        domain="d",
        charge=charge,
        molecules=np.arange(n) % molecules,
        molecule_charges=(charge, *[0] * (molecules - 1)),
    )


def separated(first: LabelledStructure, second: LabelledStructure, distance: float) -> LabelledStructure:
    """Return two structures as one, the second translated by a distance, A, along a general direction."""
    return joined(first, second, distance * np.array([0.6, -0.48, 0.64]))


def mixed_clusters() -> list[LabelledStructure]:
    """Return structures of 1, 2 and 7 atoms, charged and not."""
    return [grid_cluster(1, charge=1), grid_cluster(2), grid_cluster(7, charge=-1, molecules=2)]


def cluster_batch(
    structures: Sequence[LabelledStructure], *, dtype: torch.dtype = torch.float64, moving: bool = False
) -> AtomBatch:
    """Return a batch for `SHAPE`, with positions that require a gradient if they are `moving`."""
    batch = AtomBatch.of(structures, ELEMENTS, SHAPE.cutoff, dtype=dtype)
    return replace(batch, positions=batch.positions.requires_grad_()) if moving else batch


def structure_energies(network: EdgeNetwork, structures: Sequence[LabelledStructure]) -> torch.Tensor:
    """Return the energy of every structure, (S,), computed in one batch."""
    batch = cluster_batch(structures)
    return batch.sum_structures(network(batch)[0].detach())


def network_forces(network: EdgeNetwork, batch: AtomBatch) -> torch.Tensor:
    """Return the forces, (N, 3), which can be differentiated."""
    (gradient,) = torch.autograd.grad(network(batch)[0].sum(), batch.positions, create_graph=True)
    return -gradient


@pytest.fixture(params=[SchemeCase(name) for name in SCHEMES], ids=str)
def scheme_case(request: pytest.FixtureRequest) -> SchemeCase:
    """Return a scheme to be tested; override it to test others."""
    case: SchemeCase = request.param
    return case


@pytest.fixture
def network(scheme_case: SchemeCase) -> EdgeNetwork:
    """Return a network with the scheme."""
    return edge_network(scheme_case.name, scheme_case.options)


def test_options_are_declared(scheme_case: SchemeCase) -> None:
    """Options of the declaration are valid for a network, and unknown ones are refused by name."""
    model = find_scheme(scheme_case.name).options
    assert isinstance(scheme_options(scheme_case.name, scheme_case.options, SHAPE), model)
    with pytest.raises(
        ValueError, match=rf"scheme {scheme_case.name}: expected options among .*, found no_such_option"
    ):
        scheme_options(scheme_case.name, {**scheme_case.options, "no_such_option": 1})


def test_scheme_forces_are_gradients(network: EdgeNetwork) -> None:
    """Forces of a structure of two molecules equal central differences of the energy."""
    structure, step = grid_cluster(7, charge=1, molecules=2), 1e-5
    forces = network_forces(network, cluster_batch([structure], moving=True)).detach().numpy()
    for component in np.ndindex(*structure.positions.shape):
        displacement = np.zeros_like(structure.positions)
        displacement[component] = step
        displaced = [replace(structure, positions=structure.positions + sign * displacement) for sign in (1, -1)]
        plus, minus = structure_energies(network, displaced).tolist()
        expected = -(plus - minus) / (2 * step)
        assert forces[component] == pytest.approx(expected, rel=1e-6, abs=1e-6), component


def test_scheme_second_derivatives_are_finite(network: EdgeNetwork) -> None:
    """Derivatives of forces by positions and weights are finite in a batch with padding and a single atom."""
    batch = cluster_batch(mixed_clusters(), moving=True)
    network_forces(network, batch).square().sum().backward()  # type: ignore[no-untyped-call]
    assert batch.positions.grad is not None
    assert torch.isfinite(batch.positions.grad).all()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    if next(network.scheme.parameters(), None) is not None:
        assert any(name.startswith("scheme.") and gradient.abs().max() > 0 for name, gradient in gradients.items())


def test_scheme_batch_equals_single_structures(network: EdgeNetwork) -> None:
    """Energies, forces and charges do not depend on the other structures of a batch."""
    require_batch_equals_single_structures(network, mixed_clusters())


def require_batch_equals_single_structures(network: EdgeNetwork, structures: Sequence[LabelledStructure]) -> None:
    """Assert that energies, forces and charges in one batch equal those of single structures."""
    batch = cluster_batch(structures, moving=True)
    energy, added = network(batch)
    force = network_forces(network, batch)
    for index, structure in enumerate(structures):
        single = cluster_batch([structure], moving=True)
        single_energy, single_added = network(single)
        atoms = batch.structure == index
        torch.testing.assert_close(energy[atoms], single_energy, rtol=0, atol=1e-10)
        torch.testing.assert_close(force[atoms], network_forces(network, single), rtol=0, atol=1e-10)
        if added is not None and added.charges is not None:
            torch.testing.assert_close(added.charges[atoms], single_added.charges, rtol=0, atol=1e-10)


def test_scheme_energy_is_invariant(scheme_case: SchemeCase, network: EdgeNetwork) -> None:
    """The energy does not change under permutation, translation and rotation."""
    structure = grid_cluster(7, charge=1, molecules=2)
    reference = structure_energies(network, [structure]).item()
    order = np.random.default_rng(1).permutation(7)
    permuted = replace(
        structure,
        numbers=structure.numbers[order],
        positions=structure.positions[order],
        molecules=structure.molecules[order],
    )
    translated = replace(structure, positions=structure.positions + np.array([30.0, -70.0, 11.0]))
    energies = structure_energies(network, [permuted, translated]).numpy()
    np.testing.assert_allclose(energies, reference, rtol=0, atol=1e-10)
    rotations = [np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0] for seed in range(5)]
    turned = [replace(structure, positions=structure.positions @ rotation.T) for rotation in rotations]
    np.testing.assert_allclose(
        structure_energies(network, turned).numpy(), reference, rtol=0, atol=scheme_case.rotation
    )


def test_scheme_float32_is_close(network: EdgeNetwork) -> None:
    """Energies and forces in float32 are close to those in float64."""
    exact = cluster_batch(mixed_clusters(), moving=True)
    energy, force = network(exact)[0].detach(), network_forces(network, exact).detach()
    single = cluster_batch(mixed_clusters(), dtype=torch.float32, moving=True)
    network.float()
    single_energy = network(single)[0].detach()
    assert single_energy.dtype == torch.float32
    torch.testing.assert_close(single_energy.double(), energy, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network_forces(network, single).detach().double(), force, rtol=1e-4, atol=1e-3)


def test_scheme_periodic_structures_are_declared(network: EdgeNetwork) -> None:
    """A scheme that is not defined for periodic structures refuses them; any other gives finite energies."""
    crystal = replace(grid_cluster(4), cell=np.diag([5.0, 6.0, 5.5]))
    batch = cluster_batch([grid_cluster(2), crystal])
    if not network.scheme.periodic:
        with pytest.raises(ValueError, match="expected structures that are not periodic, found 1 of 2"):
            network.scheme.require_supported(batch.cells)
    else:
        network.scheme.require_supported(batch.cells)
        assert torch.isfinite(network(batch)[0]).all()


def test_scheme_distant_molecules_are_additive_if_extensive(network: EdgeNetwork) -> None:
    """The energy of molecules 1e7 A apart is the sum of theirs where the scheme declares itself extensive."""
    if not network.scheme.extensive:
        assert network.scheme.long_range
        return
    first, second = grid_cluster(4, seed=1, charge=1), grid_cluster(5, seed=2)
    total = structure_energies(network, [first, second]).sum().item()
    distant = structure_energies(network, [separated(first, second, 1e7)]).item()
    assert distant == pytest.approx(total, abs=1e-5)
