"""Sensitivity of models: how far a cooperative energy moves when nothing physical changes.

kcal/mol, middle H-bond of bare arcs (the first bond of three units): largest change of dV over 8 random orientations,
with the fragments in other batches, and in float32 over 9 orientations; for ensembles the standard deviation over
networks of dV and of its electronic part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from hbcoop_dist import models
from hbcoop_dist.cli.model_commands import card_of
from hbcoop_dist.cooperativity import fragment_energies as sensitivity
from hbcoop_dist.references import bundled_geometry, read_reference_set
from hbcoop_dist.structures import make_chain

MODELS = ("so3lr", "ani-2x", "ani-1x", "ani-1ccx", "gfn2-xtb", "amber14", "charmm36", "amoeba2018", "charmm-drude")


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Nine fast ones by default.")] = None,
    geometry: Annotated[str, typer.Option(help="Bundled geometries, or a folder of .xyz files.")] = "nma-so3lr",
    length: Annotated[list[int] | None, typer.Option(help="Length; repeatable, 3 and 4 by default.")] = None,
    spec: Annotated[str | None, typer.Option(help="Campaign file, for models without a registered name.")] = None,
    output: Annotated[Path | None, typer.Option(help="CSV file to update; rows of other models stay.")] = None,
) -> None:
    """Measure and print one row per model and length."""
    bonds = [_bond(geometry, n) for n in length or (3, 4)]
    table = pd.DataFrame([row for name in names or MODELS for row in _rows(name, spec, bonds)])
    if output is not None:
        others = pd.read_csv(output) if output.exists() else table[:0]
        others = others[~others["model"].isin(table["model"])]
        pd.concat([others, table]).to_csv(output, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep="-"))


def _bond(geometry: str, length: int) -> sensitivity.ChainHBond:
    geometries, chain = read_reference_set(bundled_geometry(geometry) or geometry), make_chain("arc", length)
    if missing := geometries.missing(chain):
        raise ValueError(f"geometry {geometry}: expected arc chain of {length}, found no {missing}")
    dimer = geometries.structure(chain.dimer(length // 2))
    return sensitivity.ChainHBond(geometries.structure(chain), length // 2, dimer)


def _rows(name: str, spec: str | None, bonds: list[sensitivity.ChainHBond]) -> list[dict[str, object]]:
    card, checkpoint = card_of(name, spec)
    potential = models.load(card, checkpoint)
    try:
        single = (
            models.load(card.with_fields(dtype="float32"), checkpoint) if card.abilities.dtype == "float64" else None
        )
    except models.ModelError:  # the family has one float type only
        single = None
    return [
        {"model": name, "n": len(bond.structure.units)} | sensitivity.sensitivities(potential, bond, single)
        for bond in bonds
    ]


if __name__ == "__main__":
    typer.run(main)
