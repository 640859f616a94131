"""Find the pairs of edges that meet in an atom, k -> j -> i: what networks that see angles pass messages along.

PyTorch Geometric finds them by sparse matrices of a package that is compiled for one version of torch.
"""

from __future__ import annotations

import torch


def triplets(
    edges: torch.Tensor, n_atoms: int, shifts: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of an edge k -> j and an edge j -> i with k other than i, or another image of it.

    Parameters
    ----------
    edges : (2, E) long tensor
        Sender and receiver.
    n_atoms : int
    shifts : (E, 3) tensor or None
        Lattice vector of the receiver of every edge, A, where structures repeat.

    Returns
    -------
    tuple of (T,) long tensors
        Places of the edges k -> j, and of the edges j -> i, among `edges`; the latter ascend.
    """
    sender, receiver = edges
    by_receiver = torch.argsort(receiver, stable=True)
    incoming = torch.bincount(receiver, minlength=n_atoms)
    first = incoming.cumsum(0) - incoming
    count = incoming[sender]
    ji = torch.repeat_interleave(torch.arange(len(sender), device=edges.device), count)
    # how many of its own edges k -> j an edge j -> i has had before
    turn = torch.arange(len(ji), device=edges.device) - (count.cumsum(0) - count)[ji]
    kj = by_receiver[first[sender[ji]] + turn]
    kept = sender[kj] != receiver[ji]
    if shifts is not None:
        kept |= (shifts[kj] + shifts[ji] != 0).any(dim=1)
    return kj[kept], ji[kept]
