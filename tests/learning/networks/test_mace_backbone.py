"""MACE without a scheme is mace-torch's own; specs and names.  What all networks keep is in the contract suite."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.networks.hyperparameters import NetworkSpec
from hbcoop_dist.learning.networks.network_module import Network, energy_and_forces
from hbcoop_dist.learning.networks.registry import find_architecture, find_scheme
from hbcoop_dist.learning.networks.schemes.base import Scheme
from hbcoop_dist.learning.training.training_loop import fit_baseline
from hbcoop_dist.models.families.mace import quiet
from hbcoop_dist.testing.learning_examples import SMALL, batch_for, evaluate_network, labelled_waters


def spec_of(scheme: str, **changes: object) -> NetworkSpec:
    return fit_baseline(replace(SMALL, scheme=scheme, **changes), labelled_waters(teacher="gfn2-xtb"))


def test_without_a_scheme_it_is_mace_torch_s_own_network() -> None:
    network = Network(spec_of("none"))
    with quiet():
        from mace.modules import ScaleShiftMACE
    own = network.backbone.network
    assert type(own) is ScaleShiftMACE
    structures = labelled_waters(teacher="gfn2-xtb")[:8]
    batch = batch_for(network, structures)
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
    output, _ = evaluate_network(network, labelled_waters(teacher="gfn2-xtb")[0])
    assert seen == [("embed", (3, 4)), ("layer 0", (3, 4, 6)), ("layer 1", (3, 4, 6)), ("energy", (2, 3, 4))]
    atomic = sum(network.spec.atomic_energies[k] for k in (0, 0, 1))
    # silu(0) = 0, and scalars are all that the readouts read
    assert output.energy.item() == pytest.approx(atomic, rel=1e-12)


def test_baseline_is_least_squares() -> None:
    spec = spec_of("none")
    left = [
        one.energy - sum(spec.atomic_energies[spec.elements.index(int(z))] for z in one.numbers)
        for one in labelled_waters(teacher="gfn2-xtb")
    ]
    counts = np.array(
        [[np.sum(one.numbers == z) for z in spec.elements] for one in labelled_waters(teacher="gfn2-xtb")]
    )
    np.testing.assert_allclose(counts.T @ left, 0, atol=1e-6)
    forces = np.concatenate([one.forces for one in labelled_waters(teacher="gfn2-xtb") if one.forces is not None])
    assert spec.scale == pytest.approx(np.sqrt(np.mean(forces**2)))


def test_spec_survives_being_written() -> None:
    spec = spec_of("none", scheme_options={"sigma": 1.5}, seed=7)
    assert NetworkSpec.of(json.loads(json.dumps(asdict(spec)))) == spec
    with pytest.raises(ValueError, match="found depth"):
        NetworkSpec.of({"elements": [1], "depth": 3})


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"expected one of none, .*efa, found 'ewald'"):
        find_scheme("ewald")
    with pytest.raises(ValueError, match=r"expected one of mace.*, found 'schnet'"):
        find_architecture("schnet")
    with pytest.raises(ValueError, match=r"expected no others, found atomic numbers \[8\]"):
        fit_baseline(NetworkSpec((1,)), labelled_waters(teacher="gfn2-xtb"))
