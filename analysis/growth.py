"""Growth of the middle bond's cooperative energy with the length of bare arcs: increments and fitted asymptotes.

`hbcoop plot growth STORE` draws the curves.
"""

from __future__ import annotations

from typing import Annotated

import typer

import hbcoop_dist as hb
from hbcoop_dist import analysis


def main(store: Annotated[str, typer.Argument(help="Store of chains.")] = "store/nma.zarr.zip") -> None:
    """Print what each unit adds, and the asymptote of an exponential with its standard error."""
    ds = hb.open_store(store).sel(pattern=["arc"], capping=["none"], geometry=["own"])
    # near-rings have no ends: their bonds have more neighbours than those of open chains
    ds = ds.assign(cooperative_energy=ds.cooperative_energy.where(ds.near_ring != 1))
    fits = analysis.growth(ds).sel(position="middle", shape="exponential").isel(rotamer=0, constraint=0).squeeze()
    print("increment per unit, kcal/mol")
    print(fits.increment.to_pandas().round(3).to_string())
    columns = ["saturation_length", "asymptote", "asymptote_error"]
    print("\nlength of saturation (units) and asymptote (kcal/mol)")
    print(fits[columns].to_dataframe()[columns].round(2).to_string())


if __name__ == "__main__":
    typer.run(main)
