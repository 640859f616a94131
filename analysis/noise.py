"""Noise floor of models: how far the cooperative energy of a middle H-bond moves when nothing physical changes.

kcal/mol, bare arc chains, middle H-bond (the first of three units). Largest change of dV in 8 random orientations, with
the fragments in other batches, and in float32 in 9 orientations; standard deviation over the networks of an ensemble,
of dV and of its electronic part.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from hbcoop_dist import models
from hbcoop_dist.cli.model_commands import card_of
from hbcoop_dist.cooperativity import sensitivity as noise
from hbcoop_dist.references import bundled_geometry, read_reference_set
from hbcoop_dist.structures import make_chain

MODELS = ("so3lr", "ani-2x", "ani-1x", "ani-1ccx", "gfn2-xtb", "amber14", "charmm36", "amoeba2018", "charmm-drude")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", default=MODELS)
    parser.add_argument("--geometry", default="nma-so3lr", help="bundled set of geometries, or a folder of .xyz files")
    parser.add_argument("--length", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--spec", help="campaign file, for models that have no registered name")
    parser.add_argument("--output", help="CSV file to write too; rows of other models in it stay")
    asked = parser.parse_args()
    try:
        bonds = [_bond(asked.geometry, length) for length in asked.length]
        table = pd.DataFrame([row for name in asked.model for row in _rows(name, asked.spec, bonds)])
        if asked.output:
            kept = pd.read_csv(asked.output) if Path(asked.output).exists() else table[:0]
            kept = kept[~kept["model"].isin(table["model"])]
            pd.concat([kept, table]).to_csv(asked.output, index=False, float_format="%.4g")
    except (ValueError, OSError, models.ModelError) as error:
        sys.exit(str(error))
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep="-"))


def _bond(geometry: str, length: int) -> noise.Bond:
    known, chain = read_reference_set(bundled_geometry(geometry) or geometry), make_chain("arc", length)
    if lacking := known.missing(chain):
        raise ValueError(f"geometry {geometry}: expected arc chain of {length}, found no {lacking}")
    return noise.Bond(known.structure(chain), length // 2, known.structure(chain.dimer(length // 2)))


def _rows(name: str, spec: str | None, bonds: list[noise.Bond]) -> list[dict[str, object]]:
    card, checkpoint = card_of(name, spec)
    potential = models.load(card, checkpoint)
    try:
        single = (
            models.load(card.with_fields(dtype="float32"), checkpoint) if card.abilities.dtype == "float64" else None
        )
    except models.ModelError:  # how a family says that it has one float type only
        single = None
    return [{"model": name, "n": len(bond.structure.units)} | noise.floor(potential, bond, single) for bond in bonds]


if __name__ == "__main__":
    main()
