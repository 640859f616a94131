"""Laws that every scheme keeps, as functions of a network: each test file of a scheme calls them by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from edge_network import EdgeNetwork, batch_of, energies, forces, structure

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure


def mixed() -> list[LabelledStructure]:
    """Structures of 1, 2 and 7 atoms, charged and not."""
    return [structure(1, charge=1), structure(2), structure(7, charge=-1, molecules=2)]


def forces_are_gradients(net: EdgeNetwork, *, step: float = 1e-5, within: float = 1e-6) -> None:
    """Forces of a structure of two molecules against central differences."""
    one = structure(7, charge=1, molecules=2)
    found = forces(net, batch_of([one], moving=True)).detach().numpy()
    for place in np.ndindex(*one.positions.shape):
        moved = np.zeros_like(one.positions)
        moved[place] = step
        both = [dataclasses.replace(one, positions=one.positions + sign * moved) for sign in (1, -1)]
        up, down = energies(net, both).tolist()
        expected = -(up - down) / (2 * step)
        assert abs(found[place] - expected) < within * max(1.0, abs(expected)), place


def derivatives_are_finite(net: EdgeNetwork) -> None:
    """Second derivatives, by positions and by weights, of a batch with padding and a single atom."""
    batch = batch_of(mixed(), moving=True)
    loss = forces(net, batch).square().sum()
    loss.backward()
    assert torch.isfinite(batch.positions.grad).all()
    given = {name: one.grad for name, one in net.named_parameters() if one.grad is not None}
    assert all(torch.isfinite(one).all() for one in given.values())
    assert any(name.startswith("scheme.") and one.abs().max() > 0 for name, one in given.items())


def batch_is_loop(net: EdgeNetwork, structures: Sequence[LabelledStructure] | None = None) -> None:
    """Energies, forces and charges in one batch and one by one."""
    given = structures or mixed()
    batch = batch_of(given, moving=True)
    energy, added = net(batch)
    force = forces(net, batch)
    for place, one in enumerate(given):
        alone = batch_of([one], moving=True)
        own, its = net(alone)
        mine = batch.structure == place
        torch.testing.assert_close(energy[mine], own, rtol=0, atol=1e-10)
        torch.testing.assert_close(force[mine], forces(net, alone), rtol=0, atol=1e-10)
        if added is not None and added.charges is not None:
            torch.testing.assert_close(added.charges[mine], its.charges, rtol=0, atol=1e-10)


def is_invariant(net: EdgeNetwork, *, rotation: float = 1e-10) -> None:
    """Energy under another order of atoms, a shift, and rotations (to within `rotation`, eV)."""
    one = structure(7, charge=1, molecules=2)
    reference = energies(net, [one]).item()
    order = np.random.default_rng(1).permutation(7)
    reordered = dataclasses.replace(
        one, numbers=one.numbers[order], positions=one.positions[order], molecules=one.molecules[order]
    )
    shifted = dataclasses.replace(one, positions=one.positions + np.array([30.0, -70.0, 11.0]))
    found = energies(net, [reordered, shifted])
    np.testing.assert_allclose(found.numpy(), reference, rtol=0, atol=1e-10)
    turned = []
    for seed in range(5):
        turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        turned.append(dataclasses.replace(one, positions=one.positions @ turn.T))
    np.testing.assert_allclose(energies(net, turned).numpy(), reference, rtol=0, atol=rotation)


def float32_is_close(net: EdgeNetwork, *, within: float = 1e-4) -> None:
    """Energies and forces in float32 against float64."""
    exact = batch_of(mixed(), moving=True)
    energy, force = net(exact)[0].detach(), forces(net, exact).detach()
    rough = batch_of(mixed(), dtype=torch.float32, moving=True)
    net.float()
    found = net(rough)[0].detach()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), energy, rtol=within, atol=within)
    torch.testing.assert_close(forces(net, rough).detach().double(), force, rtol=within, atol=10 * within)
    net.double()
