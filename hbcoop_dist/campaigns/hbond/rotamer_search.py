"""Lowest methyl rotamers of a chain, from the energies of dimers and trimers (``rotamer: lowest``).

Methyls touch the next unit and, in the linear pattern, the one after it. The energy of a chain is therefore the sum of
those of its bare trimers less those of the dimers that two trimers share, and dynamic programming over the units finds
the rotamers of lowest energy exactly. Every trimer and dimer is minimised in every rotamer for that.

A capped chain takes the rotamers of the bare one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Rotamer
from hbcoop_dist.structures.chains import Conformer

ROTAMERS: tuple[Rotamer, ...] = (
    DEFAULT_ROTAMER,
    *sorted(
        {Rotamer(acetyl, amine) for acetyl in ("cis-N", "cis-O") for amine in ("cis-C", "trans-C")} - {DEFAULT_ROTAMER}
    ),
)
"""All four rotamers; of equal energies the default, which comes first, is taken."""

Pair = tuple[Rotamer, Rotamer]
ChosenRotamers = Mapping[tuple[str, Constraint, tuple[Conformer, ...]], tuple[Rotamer, ...] | None]
"""Rotamers by model, constraint and conformers of a chain; None where no sequence of rotamers has all its minima."""


def candidates(conformers: Sequence[Conformer]) -> tuple[Chain, ...]:
    """Return every bare dimer and trimer whose energy decides the rotamers of a chain, dimers first.

    Parameters
    ----------
    conformers : sequence of {"syn", "anti"}
        Of the chain's H-bonds.
    """
    pieces = [tuple(conformers[i : i + bonds]) for bonds in (1, 2) for i in range(len(conformers) - bonds + 1)]
    return tuple(
        Chain(piece, rotamers)
        for piece in dict.fromkeys(pieces)
        for rotamers in product(ROTAMERS, repeat=len(piece) + 1)
    )


def lowest_rotamers(conformers: Sequence[Conformer], energies: Mapping[Chain, float]) -> tuple[Rotamer, ...] | None:
    """Find the rotamers of lowest energy, one per unit.

    Parameters
    ----------
    conformers : sequence of {"syn", "anti"}
        Of the chain's H-bonds.
    energies : mapping of Chain to float
        Energies of the `candidates` that have a minimum, eV.

    Returns
    -------
    tuple of Rotamer, or None
        None when no sequence of rotamers has all its dimers and trimers.
    """
    # best[r, s]: lowest energy of a chain that ends in units r and s, and its rotamers
    best: dict[Pair, tuple[float, tuple[Rotamer, ...]]] = {}
    for pair in product(ROTAMERS, ROTAMERS):
        energy = energies.get(Chain((conformers[0],), pair))
        if energy is not None:
            best[pair] = (energy, pair)
    for bond in range(1, len(conformers)):
        longer: dict[Pair, tuple[float, tuple[Rotamer, ...]]] = {}
        for (first, middle), (energy, sequence) in best.items():
            shared = energies[Chain((conformers[bond - 1],), (first, middle))]
            for last in ROTAMERS:
                trimer = energies.get(Chain(tuple(conformers[bond - 1 : bond + 1]), (first, middle, last)))
                if trimer is None or Chain((conformers[bond],), (middle, last)) not in energies:
                    continue
                total = energy + trimer - shared
                if (middle, last) not in longer or total < longer[middle, last][0]:
                    longer[middle, last] = (total, (*sequence, last))
        best = longer
    return min(best.values(), key=lambda entry: entry[0])[1] if best else None
