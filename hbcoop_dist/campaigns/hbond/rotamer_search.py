"""The lowest methyl rotamers of a chain, from the energies of short ones: what ``rotamer: lowest`` stands for.

Methyls touch the next unit and, in the linear pattern, the one after it; so a chain's energy is put together from its
bare trimers, less the dimers that two of them share, and the rotamers of all units that make it lowest are found
exactly, unit by unit, by dynamic programming.  Every trimer and dimer is minimised in every rotamer for that.

Caps are left out: a capped chain takes the rotamers of the bare one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Rotamer
from hbcoop_dist.structures.chains import Conformer

ROTAMERS: tuple[Rotamer, ...] = (
    DEFAULT_ROTAMER,
    *sorted(
        {Rotamer(acetyl, amine) for acetyl in ("cis-N", "cis-O") for amine in ("cis-C", "trans-C")} - {DEFAULT_ROTAMER}
    ),
)
"""All four, the default first: of equal energies, it is taken."""

Pair = tuple[Rotamer, Rotamer]
Chosen = Mapping[tuple[str, tuple[Conformer, ...]], tuple[Rotamer, ...] | None]
"""Rotamers by model and conformers of a chain; None where no rotamers have a minimum."""


def candidates(conformers: Sequence[Conformer]) -> tuple[Chain, ...]:
    """Every bare dimer and trimer, in every rotamer, whose energy decides the rotamers of a chain; dimers first.

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


def lowest(conformers: Sequence[Conformer], energies: Mapping[Chain, float]) -> tuple[Rotamer, ...] | None:
    """Rotamers, one per unit, that make a chain lowest.

    Parameters
    ----------
    conformers : sequence of {"syn", "anti"}
        Of the chain's H-bonds.
    energies : mapping of Chain to float
        eV, of the `candidates`; those without a minimum are left out.

    Returns
    -------
    tuple of Rotamer, or None
        None when no sequence of rotamers has all its dimers and trimers.
    """
    # best[(r, s)]: energy of the chain so far whose last two units are r and s, and all its rotamers
    best: dict[Pair, tuple[float, tuple[Rotamer, ...]]] = {}
    for pair in product(ROTAMERS, ROTAMERS):
        energy = energies.get(Chain((conformers[0],), pair))
        if energy is not None:
            best[pair] = (energy, pair)
    for bond in range(1, len(conformers)):
        longer: dict[Pair, tuple[float, tuple[Rotamer, ...]]] = {}
        for (first, middle), (energy, so_far) in best.items():
            shared = energies[Chain((conformers[bond - 1],), (first, middle))]
            for last in ROTAMERS:
                trimer = energies.get(Chain(tuple(conformers[bond - 1 : bond + 1]), (first, middle, last)))
                if trimer is None or Chain((conformers[bond],), (middle, last)) not in energies:
                    continue
                total = energy + trimer - shared
                if (middle, last) not in longer or total < longer[middle, last][0]:
                    longer[middle, last] = (total, (*so_far, last))
        best = longer
    return min(best.values(), key=lambda found: found[0])[1] if best else None
