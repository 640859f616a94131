"""What every network keeps, whatever its scheme; and that without one it is mace-torch's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from labels import SMALL, labelled, turned

from hbcoop_dist.generalization.architectures import builder_of
from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.fit_baseline import fit_baseline
from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.network import (
    Network,
    Output,
    energy_and_forces,
    parameters_of,
    set_parameters,
)
from hbcoop_dist.generalization.network_spec import NetworkSpec
from hbcoop_dist.generalization.schemes.base import Scheme
from hbcoop_dist.generalization.schemes.registry import BUILTIN_SCHEMES, scheme_of
from hbcoop_dist.models.mace import quiet

SCHEMES = tuple(BUILTIN_SCHEMES)


def spec_of(scheme: str, **changes: object) -> NetworkSpec:
    return fit_baseline(replace(SMALL, scheme=scheme, **changes), labelled())


def batch_of(network: Network, *structures: LabelledStructure, dtype: torch.dtype = torch.float64) -> AtomBatch:
    return AtomBatch.of(structures, network.spec.elements, network.spec.cutoff, dtype=dtype)


def charged(structure: LabelledStructure, charge: int) -> LabelledStructure:
    n = len(structure.molecule_charges)
    return replace(structure, charge=charge, molecule_charges=(charge, *(0,) * (n - 1)))


def evaluated(network: Network, *structures: LabelledStructure) -> tuple[Output, torch.Tensor]:
    return energy_and_forces(network, batch_of(network, *structures))


@pytest.fixture(params=SCHEMES, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    return Network(spec_of(request.param))


def test_without_a_scheme_it_is_mace_torch_s_own_network() -> None:
    network = Network(spec_of("none"))
    with quiet():
        from mace.modules import ScaleShiftMACE
    own = network.backbone.network
    assert type(own) is ScaleShiftMACE
    structures = labelled()[:8]
    batch = batch_of(network, *structures)
    sizes = [len(one) for one in structures]
    nothing = torch.zeros((batch.edges.shape[1], 3), dtype=torch.float64)
    theirs = own(
        {
            "positions": batch.positions.clone(),
            "node_attrs": torch.eye(2, dtype=torch.float64)[batch.species],
            "edge_index": batch.edges,
            "shifts": nothing,
            "unit_shifts": nothing,
            "cell": torch.zeros((3 * len(sizes), 3), dtype=torch.float64),
            "batch": batch.structure,
            "ptr": torch.tensor(np.concatenate([[0], np.cumsum(sizes)])),
            "head": torch.zeros(len(sizes), dtype=torch.long),
        }
    )
    ours, forces = energy_and_forces(network, batch)
    spec = network.spec
    atomic = [sum(spec.atomic_energies[spec.elements.index(z)] for z in one.numbers) for one in structures]
    expected = spec.scale * theirs["energy"].detach().numpy() + atomic
    np.testing.assert_allclose(ours.energy.numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(forces.numpy(), spec.scale * theirs["forces"].detach().numpy(), atol=1e-12)


def test_energy_is_that_of_the_same_structure_turned_moved_and_reordered(network: Network) -> None:
    structure = charged(labelled()[2], -1)
    moved, turn = turned(structure)
    order = np.random.default_rng(1).permutation(len(structure))
    mixed = replace(
        structure,
        numbers=structure.numbers[order],
        positions=structure.positions[order],
        forces=None,
        molecules=structure.molecules[order],
    )
    energies = [evaluated(network, one)[0].energy.item() for one in (structure, moved, mixed)]
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=1e-10)
    slopes = [evaluated(network, one)[1].numpy() for one in (structure, moved, mixed)]
    np.testing.assert_allclose(slopes[1], slopes[0] @ turn.T, atol=1e-10)
    np.testing.assert_allclose(slopes[2], slopes[0][order], atol=1e-10)


def test_forces_are_differences_of_the_energy(network: Network) -> None:
    structure = charged(labelled()[1], 1)
    _, forces = evaluated(network, structure)
    step = 1e-4
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            energies.append(evaluated(network, replace(structure, positions=positions))[0].energy.item())
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[atom, axis].item(), abs=1e-6)


def test_a_batch_is_its_structures_one_by_one(network: Network) -> None:
    structures = [charged(one, place % 3 - 1) for place, one in enumerate(labelled()[:6])]
    together, slopes = evaluated(network, *structures)
    alone = [evaluated(network, one) for one in structures]
    np.testing.assert_allclose(together.energy, [output.energy.item() for output, _ in alone], rtol=1e-13)
    np.testing.assert_allclose(slopes, np.concatenate([slope for _, slope in alone]), atol=1e-11)
    assert together.atom_energies.sum().item() == pytest.approx(together.energy.sum().item(), rel=1e-13)


def test_forces_of_a_training_network_can_be_differentiated_by_its_parameters(network: Network) -> None:
    network.zero_grad()
    _, forces = energy_and_forces(network, batch_of(network, *labelled()[:3]), training=True)
    (forces**2).sum().backward()
    slopes = [one.grad for one in network.parameters() if one.requires_grad]
    assert all(one is None or bool(torch.isfinite(one).all()) for one in slopes)
    assert any(one is not None and bool((one != 0).any()) for one in slopes)


@pytest.mark.parametrize("training", [False, True])
def test_no_edges_are_no_trouble(network: Network, training: bool) -> None:
    """One atom, and atoms beyond the cutoff of each other."""
    lone = LabelledStructure(np.array([8]), np.zeros((1, 3)), 0.0, None, "O", "atom")
    apart = LabelledStructure(np.array([8, 1]), np.array([[0.0, 0, 0], [50.0, 0, 0]]), 0.0, None, "OH", "atom")
    output, forces = energy_and_forces(network, batch_of(network, lone, apart), training=training)
    assert torch.isfinite(output.energy).all()
    assert torch.isfinite(forces).all()
    assert network.scheme.reaches or (forces == 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32_differs_from_float64_by_round_off_of_what_was_learnt(scheme: str) -> None:
    """Atomic energies, 100 eV each, cost nothing."""
    network = Network(spec_of(scheme))
    structures = labelled()[:4]
    whole, _ = evaluated(network, *structures)
    single, forces = energy_and_forces(network.float(), batch_of(network, *structures, dtype=torch.float32))
    assert single.energy.dtype == torch.float64
    assert forces.dtype == torch.float32
    np.testing.assert_allclose(single.energy, whole.energy, rtol=0, atol=2e-5)


def test_first_parameters_follow_from_the_seed_and_leave_torch_as_it_was() -> None:
    before, state = torch.get_default_dtype(), torch.random.get_rng_state()
    first, again, other = (parameters_of(Network(spec_of("none", seed=seed))) for seed in (3, 3, 4))
    assert torch.get_default_dtype() == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_parameters_of_another_network_are_refused() -> None:
    network = Network(spec_of("none"))
    known = parameters_of(network)
    with pytest.raises(ValueError, match="expected its own parameters"):
        set_parameters(network, {"stranger": np.zeros(1)})
    name = next(iter(known))
    with pytest.raises(ValueError, match=f"parameter {name}: expected"):
        set_parameters(network, {**known, name: np.zeros((1, 2, 3))})


def test_a_scheme_acts_between_the_layers() -> None:
    """Features that a scheme makes zero after the last layer leave the last readout nothing."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    class Silent(Scheme):
        def embed(self, features, batch, memory):  # type: ignore[no-untyped-def]
            seen.append(("embed", tuple(features.shape)))
            memory["n"] = features
            return features

        def after_layer(self, layer, features, radial, batch, memory):  # type: ignore[no-untyped-def]
            seen.append((f"layer {layer}", (*features.shape, radial.shape[1])))
            return 0 * features

        def energy(self, features, batch, memory):  # type: ignore[no-untyped-def]
            seen.append(("energy", (len(features), *memory["n"].shape)))

    network = Network(spec_of("none"))
    network.scheme = Silent(network.backbone.shape)
    output, _ = evaluated(network, labelled()[0])
    assert seen == [("embed", (3, 4)), ("layer 0", (3, 4, 6)), ("layer 1", (3, 4, 6)), ("energy", (2, 3, 4))]
    atomic = sum(network.spec.atomic_energies[k] for k in (0, 0, 1))
    # silu(0) = 0, and scalars are all that the readouts read
    assert output.energy.item() == pytest.approx(atomic, rel=1e-12)


def test_charge_embedding_is_nothing_for_neutral_structures() -> None:
    with_it = Network(spec_of("charge-embedding"))
    without = Network(spec_of("none"))
    assert evaluated(with_it, labelled()[0])[0].energy == evaluated(without, labelled()[0])[0].energy


def test_charge_embedding_reaches_any_distance() -> None:
    """A water's energy depends on the charge of what it shares a structure with, however far away that is."""
    network = Network(spec_of("charge-embedding"))
    water = labelled()[0]

    def beside(charge: int, distance: float) -> float:
        two = replace(
            water,
            numbers=np.tile(water.numbers, 2),
            positions=np.concatenate([water.positions, water.positions + [distance, 0, 0]]),
            forces=None,
            charges=None,
            charge=charge,
            molecules=np.repeat([0, 1], len(water)),
            molecule_charges=(0, charge),
        )
        return evaluated(network, two)[0].atom_energies[: len(water)].sum().item()

    alone = evaluated(network, water)[0].energy.item()
    assert beside(0, 1e3) == pytest.approx(alone, abs=1e-10)
    assert abs(beside(1, 1e3) - alone) > 1e-4
    assert beside(1, 1e3) == pytest.approx(beside(1, 1e6), abs=1e-10)
    assert abs(beside(1, 1e3) - beside(-1, 1e3)) > 1e-4
    assert not network.scheme.extensive


def test_baseline_is_least_squares() -> None:
    spec = spec_of("none")
    left = [
        one.energy - sum(spec.atomic_energies[spec.elements.index(int(z))] for z in one.numbers) for one in labelled()
    ]
    counts = np.array([[np.sum(one.numbers == z) for z in spec.elements] for one in labelled()])
    np.testing.assert_allclose(counts.T @ left, 0, atol=1e-6)
    forces = np.concatenate([one.forces for one in labelled() if one.forces is not None])
    assert spec.scale == pytest.approx(np.sqrt(np.mean(forces**2)))


def test_spec_survives_being_written() -> None:
    spec = spec_of("none", scheme_options={"sigma": 1.5}, seed=7)
    assert NetworkSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="found depth"):
        NetworkSpec.from_json('{"elements": [1], "depth": 3}')


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"expected one of celli, .*none, found 'ewald'"):
        scheme_of("ewald")
    with pytest.raises(ValueError, match="expected one of mace, found 'schnet'"):
        builder_of("schnet")
    with pytest.raises(ValueError, match=r"expected no others, found atomic numbers \[8\]"):
        fit_baseline(NetworkSpec((1,)), labelled())


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_are_called_what_they_are_asked_for_by(name: str) -> None:
    assert scheme_of(name).name == name
