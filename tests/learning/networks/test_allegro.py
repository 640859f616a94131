"""Allegro without a scheme is nequip-allegro's own; what it refuses, and where its networks run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks import trained_files as trained_file
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.network_module import Network, energy_and_forces
from hbcoop_dist.learning.networks.registry import ARCHITECTURES, check_architecture
from hbcoop_dist.learning.networks.trained_family import FAMILY
from hbcoop_dist.learning.networks.trained_files import Curve, Trained
from hbcoop_dist.learning.training.training_loop import fit_baseline
from hbcoop_dist.models import available, registry
from hbcoop_dist.testing.learning_examples import SMALL, labelled_waters

DECLARED = ARCHITECTURES["allegro"]
ABSENT = registry.missing_modules(Requirements(DECLARED.requires, DECLARED.packages, DECLARED.environment))
needs_package = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


def waters() -> tuple[LabelledStructure, ...]:
    return labelled_waters()


def spec_of(**changes: object) -> NetworkSpec:
    return fit_baseline(replace(SMALL, architecture="allegro", **changes), waters())


@needs_package
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": 1, "max_ell": 0, "hidden_ell": 0},
        {"layers": 3, "max_ell": 2, "hidden_ell": 1, "architecture_options": {"tensor_channels": 3, "parity": False}},
        {"layers": 3, "max_ell": 2, "hidden_ell": 2, "architecture_options": {"latent_width": 5, "parity": True}},
    ],
    ids=["default", "one layer", "no parity", "parity"],
)
def test_without_a_scheme_it_is_the_package_s_own_network(changes: dict[str, object]) -> None:
    network = Network(spec_of(**changes))
    structures = waters()[:8]
    batch = AtomBatch.of(structures, network.spec.elements, network.spec.cutoff)
    sender, receiver = batch.edges
    theirs = network.backbone.network(
        {
            "pos": batch.positions.clone(),
            "edge_index": torch.stack([receiver, sender]),
            "atom_types": batch.species,
            "batch": batch.structure,
            "num_atoms": torch.tensor([len(one) for one in structures]),
        }
    )
    ours, forces = energy_and_forces(network, batch)
    spec = network.spec
    atomic = [sum(spec.atomic_energies[spec.elements.index(z)] for z in one.numbers) for one in structures]
    expected = spec.scale * theirs["total_energy"][:, 0].detach().numpy() + atomic
    np.testing.assert_allclose(ours.energy.numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(forces.numpy(), spec.scale * theirs["forces"].detach().numpy(), atol=1e-12)


@needs_package
def test_its_settings_are_the_package_s() -> None:
    """With all that the package leaves open said by us: a default of its own that changes is another network."""
    options = {"tensor_channels": 3, "latent_width": 5, "parity": True}
    net = Network(spec_of(layers=3, max_ell=2, hidden_ell=2, architecture_options=options)).backbone.network.func
    assert (net.allegro.num_layers, net.allegro.num_scalar_features, net.allegro.num_tensor_features) == (3, 4, 3)
    assert str(net.allegro.tensor_track_allowed_irreps) == "1x0e+1x0o+1x1o+1x1e+1x2e+1x2o"
    assert [list(latent.dims) for latent in net.allegro.latents] == [[7, 5, 13], [11, 5, 13], [15, 5, 4]]
    assert net.scalar_embed_mlp.mlp_module.dims == [4, 8, 4]
    assert net.edge_readout.mlp_module.dims == [16, 4, 1]
    assert net.radial_chemical_embed.bessel_encode.num_bessels == 6
    assert net.edge_norm.r_max == SMALL.cutoff


@needs_package
def test_widths_that_it_cannot_have_are_refused() -> None:
    with pytest.raises(ValueError, match="channels: expected an even number, found 5"):
        Network(spec_of(channels=5))
    with pytest.raises(ValueError, match="radial_mlp: expected one width for all"):
        Network(spec_of(radial_mlp=(8, 4)))


@pytest.mark.parametrize(
    ("given", "options", "complaint"),
    [
        ({"channels": 5}, {}, "architecture allegro: channels: expected an even number, found 5"),
        ({"correlation": 2}, {}, "architecture allegro: expected no correlation, which it does not have, found it"),
        ({}, {"tensor_channels": 0}, "option tensor_channels: expected greater than or equal to 1, found 0"),
        ({}, {"parity": 1}, "option parity: expected a valid boolean, found 1"),
        ({}, {"tensors": 4}, "expected options among tensor_channels, latent_width, parity, found tensors"),
    ],
)
def test_a_campaign_is_told_what_it_does_not_have(
    given: dict[str, object], options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_architecture("allegro", given, options)
    check_architecture("allegro", {"channels": 6, "hidden_ell": 2}, {"tensor_channels": 4, "parity": False})


def test_a_trained_one_is_a_model_of_its_own_environment(tmp_path: Path) -> None:
    """Known without torch and without the package: a plan is made where neither is."""
    path, one = tmp_path / "network.npz", np.ones(1)
    spec = NetworkSpec((1, 8), "allegro", cutoff=3.5, layers=3, atomic_energies=(0.0, 0.0))
    curve = Curve(np.array([1]), one, one, one, one, one)
    trained = Trained(spec, Budget(steps=1), {"a": one}, 1, curve, 1.0)
    trained_file.write_trained(path, trained, trained_file.NetworkMetadata("toy", "none", "here", False, True, False))
    card = FAMILY.card_of("mine", path)
    assert (card.needs.environment, card.needs.modules) == ("allegro", ("torch", "nequip", "allegro"))
    assert card.receptive_field == 3.5
    assert available(card, path, here=False)


@pytest.mark.skipif(not ABSENT, reason="nequip-allegro is installed here")
def test_the_reason_for_a_missing_package_says_what_to_do() -> None:
    assert "environments/allegro.txt (make environment-allegro)" in ABSENT
    assert "a worker pool with that environment" in ABSENT
