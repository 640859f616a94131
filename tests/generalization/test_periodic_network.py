"""What every network keeps for structures that repeat; and that without a scheme it is mace-torch's own there too."""

from __future__ import annotations

import numpy as np
import torch
from crystals import shapeless
from labels import SMALL, labelled

from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.fit_baseline import fit_baseline
from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.network import Network, energy_and_forces
from hbcoop_dist.models.mace import quiet


def batch_of(network: Network, *structures: LabelledStructure, dtype: torch.dtype = torch.float64) -> AtomBatch:
    return AtomBatch.of(structures, network.spec.elements, network.spec.cutoff, dtype=dtype)


def test_without_a_scheme_it_is_mace_torch_s_own_network() -> None:
    """Its energy and forces from its own reading of atoms with a cell, and its own neighbours."""
    from ase import Atoms

    network = Network(fit_baseline(SMALL, labelled()))
    with quiet():
        from mace import data
        from mace.tools import AtomicNumberTable
    spec = network.spec
    for n, seed in ((5, 0), (1, 1), (12, 2)):
        one = shapeless(n, seed=seed)
        atoms = Atoms(one.numbers, one.positions, cell=one.cell, pbc=True)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            seen = data.AtomicData.from_config(
                data.config_from_atoms(atoms), z_table=AtomicNumberTable(list(spec.elements)), cutoff=spec.cutoff
            )
        finally:
            torch.set_default_dtype(before)
        whole = {**seen.to_dict(), "batch": torch.zeros(n, dtype=torch.long), "ptr": torch.tensor([0, n])}
        theirs = network.backbone.network({**whole, "head": torch.zeros(1, dtype=torch.long)})
        ours, forces = energy_and_forces(network, batch_of(network, one))
        atomic = sum(spec.atomic_energies[spec.elements.index(z)] for z in one.numbers)
        expected = spec.scale * theirs["energy"].item() + atomic
        np.testing.assert_allclose(ours.energy.item(), expected, rtol=1e-13)
        scale = spec.scale * theirs["forces"].detach().numpy()
        np.testing.assert_allclose(forces.numpy(), scale, atol=1e-12 * max(1.0, np.abs(scale).max()))
