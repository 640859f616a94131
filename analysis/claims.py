"""Claims of Sanocki and Zavadlav (2026) tested on a store of trained networks, as `hbcoop report` tabulates them."""

from __future__ import annotations

from typing import Annotated

import typer

from hbcoop_dist.analysis.claim_tests import claims
from hbcoop_dist.store import open_store


def main(
    store: Annotated[str, typer.Argument(help="Generalization store.")] = "store/generalization-claims.zarr.zip",
) -> None:
    """Print each claim, and one line per set, quantity and scheme with the mean over seeds and its 95 % interval."""
    frame = claims(open_store(store, kind="generalization").load())
    for name, rows in frame.groupby("claim", sort=False):
        print(f"\n{name}: {rows['statement'].iloc[0]}\n({rows['measure'].iloc[0]})")
        columns = ["set", "quantity", "scheme", "value", "low", "high", "seeds", "verdict", "why"]
        print(rows[columns].round(2).to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
