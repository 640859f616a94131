"""Noise floor of models: how far the cooperative energy of a middle H-bond moves when nothing physical changes."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from hbcoop_dist import models
from hbcoop_dist.commands.models import card_of
from hbcoop_dist.engine import noise
from hbcoop_dist.references import bundled_geometry, read_reference_set
from hbcoop_dist.structures import chain_system

MODELS = ("so3lr", "ani-2x", "ani-1x", "ani-1ccx", "gfn2-xtb", "amber14", "amoeba2018")
HEAD = """\
kcal/mol, bare arc chains, middle H-bond (the first of three units). Largest change of dV in 8 random orientations, with
the fragments in other batches, and in float32 in 9 orientations; standard deviation over the members of an ensemble,
of dV and of its electronic part.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="*", default=MODELS)
    parser.add_argument("--geometry", default="nma-so3lr", help="bundled set of geometries, or a folder of .xyz files")
    parser.add_argument("--length", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--spec", help="campaign file, for models that have no registered name")
    asked = parser.parse_args()
    try:
        bonds = [_bond(asked.geometry, length) for length in asked.length]
        rows = [row for name in asked.model for row in _rows(name, asked.spec, bonds)]
    except (ValueError, models.ModelError) as error:
        sys.exit(str(error))
    print(HEAD + pd.DataFrame(rows).to_string(index=False))


def _bond(geometry: str, length: int) -> noise.Bond:
    known, chain = read_reference_set(bundled_geometry(geometry) or geometry), chain_system("arc", length)
    if lacking := known.missing(chain):
        raise ValueError(f"geometry {geometry}: expected arc chain of {length}, found no {lacking}")
    middle = length // 2
    return noise.Bond(known.structure(chain), middle, known.structure(chain.dimer(middle)))


def _rows(name: str, spec: str | None, bonds: list[noise.Bond]) -> Iterator[dict[str, object]]:
    card, checkpoint = card_of(name, spec)
    potential = models.load(card, checkpoint)
    try:
        single = models.load(replace(card, dtype="float32"), checkpoint) if card.dtype == "float64" else None
    except models.ModelError:  # how a family says that it has one float type only
        single = None
    for bond in bonds:
        found = {
            "rotation": noise.under_rotation(potential, bond).largest,
            "batch": noise.under_batching(potential, bond).largest,
            "float32": noise.in_float_type(potential, single, bond).largest if single else None,
        }
        cells = {key: "-" if value is None else f"{value:.0e}" for key, value in found.items()}
        for column, one in (("ensemble", bond), ("electronic", bond.rigid())):
            members = noise.over_members(potential, one)
            cells[column] = "-" if members is None else f"{members.deviation:.3f}"
        value = noise.cooperative_energies(potential, [bond])[0]
        yield {"model": name, "n": len(bond.structure.units), "dV": f"{value:.4f}"} | cells


if __name__ == "__main__":
    main()
