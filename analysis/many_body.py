"""Many-body expansion of the chains of a store: what molecules have alone, in pairs, in threes and in fours."""

import argparse
import sys
from itertools import groupby

import pandas as pd

import hbcoop_dist as hb
from hbcoop_dist import analysis, models
from hbcoop_dist.cli.model_commands import card_of
from hbcoop_dist.cooperativity.many_body_expansion import expand_energy
from hbcoop_dist.structures.chains import CELL_DIMS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    for name in ("--model", "--length"):
        parser.add_argument(name, nargs="+", help="all of the store by default")
    parser.add_argument("--order", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--spec", help="campaign file, for models that have no registered name")
    asked = parser.parse_args()
    where, rows = {dim: getattr(asked, dim) for dim in ("model", "length") if getattr(asked, dim)}, []
    try:
        chains = analysis.geometries(analysis.select(hb.open_store(asked.store), where))
        for model, same in groupby(chains, lambda atoms: atoms.info["model"]):
            potential = models.load(*card_of(model, asked.spec))
            for atoms in same:
                found = expand_energy(potential, analysis.structure_of(atoms), asked.order)
                totals = {f"{k}-body": total for k, total in enumerate(found.totals, start=1)}
                rows.append({dim: atoms.info[dim] for dim in CELL_DIMS} | totals | {"remainder": found.remainder})
    except (ValueError, models.ModelError) as error:
        sys.exit(f"{asked.store}: {error}")
    print("kcal/mol\n" + pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
