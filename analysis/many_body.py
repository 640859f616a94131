"""Many-body expansion of the chains of a store: energies of single molecules, pairs, triples and quadruples."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import pandas as pd
import typer

import hbcoop_dist as hb
from hbcoop_dist import analysis, models
from hbcoop_dist.cli.model_commands import card_of
from hbcoop_dist.cooperativity.fragment_energies import expand_energy
from hbcoop_dist.structures.chains import CELL_DIMS


def main(
    store: Annotated[str, typer.Argument(help="Store of chains.")],
    model: Annotated[list[str] | None, typer.Option(help="Model; repeatable, all of the store by default.")] = None,
    length: Annotated[list[str] | None, typer.Option(help="Length; repeatable, all of the store by default.")] = None,
    order: Annotated[int, typer.Option(min=2, max=4, help="Largest number of molecules in a term.")] = 4,
    spec: Annotated[str | None, typer.Option(help="Campaign file, for models without a registered name.")] = None,
) -> None:
    """Print the sum of the terms of each order, and the remainder, for every done chain (kcal/mol)."""
    where = {dim: labels for dim, labels in (("model", model), ("length", length)) if labels}
    chains = analysis.geometries(analysis.select(hb.open_store(store), where))
    rows = []
    for name, group in groupby(chains, lambda atoms: atoms.info["model"]):
        potential = models.load(*card_of(name, spec))
        for atoms in group:
            expansion = expand_energy(potential, analysis.structure_of(atoms), order)
            totals = {f"{k}-body": total for k, total in enumerate(expansion.totals, start=1)}
            rows.append({dim: atoms.info[dim] for dim in CELL_DIMS} | totals | {"remainder": expansion.remainder})
    print("kcal/mol\n" + pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    typer.run(main)
