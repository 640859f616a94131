"""Born effective charges from partial charges: unlike these they can be measured, so models are compared by them.

Source: Zhong, Kim, King and Cheng, arXiv:2504.05169 (2025), for finite systems.
"""

from __future__ import annotations

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch


def born_charges(charges: torch.Tensor, batch: AtomBatch, *, create_graph: bool = False) -> torch.Tensor:
    """Derivative of the dipole moment by positions, Z*_{i,ab} = dP_a / dr_ib with P = sum_j q_j r_j.

    The sum over a structure is its total charge times the identity, since charges do not change when it is shifted.

    Parameters
    ----------
    charges : (N,) tensor
        e, as a function of `batch.positions`, which must require a gradient.
    create_graph : bool
        Whether the result can be differentiated in turn.

    Returns
    -------
    tensor
        (N, 3, 3), e: atom, component of the dipole moment, component of the position.

    Raises
    ------
    ValueError
        If positions require no gradient, or a structure repeats: its dipole moment depends on the images that are
        taken, and so does this derivative as soon as charges depend on positions.
    """
    if not batch.positions.requires_grad:
        raise ValueError("Born charges: expected positions that require a gradient, found some that do not")
    if batch.repeats:
        raise ValueError("Born charges: expected structures that do not repeat, found some with a cell")
    dipole = (charges[:, None] * batch.positions).sum(dim=0)
    rows = [
        torch.autograd.grad(component, batch.positions, retain_graph=True, create_graph=create_graph)[0]
        for component in dipole
    ]
    return torch.stack(rows, dim=1)
