"""Cooperative energies of a store with xarray alone: read, mask, select, tabulate.

`hbcoop analyse STORE` prints all of them; `hbcoop plot cooperative-energy STORE` draws them.
"""

from __future__ import annotations

from typing import Annotated

import typer
import xarray as xr
import zarr


def main(store: Annotated[str, typer.Argument(help="Store of chains, zipped.")] = "store/nma.zarr.zip") -> None:
    """Print the middle bond of bare arcs at own minima, and the share of units beyond the nearest neighbours."""
    ds = xr.open_zarr(zarr.storage.ZipStore(store, mode="r"))

    # Only cells whose status is done hold results; all others are masked.
    energy = ds.cooperative_energy.where(ds.status == "done")

    # Every number has labels. Bonds of near-rings have more neighbours than those of open chains.
    cell = {"pattern": "arc", "capping": "none", "geometry": "own", "rotamer": ds.rotamer.values[0]}
    cell |= {"constraint": ds.constraint.values[0]}
    middle = energy.where(ds.near_ring != 1).sel(cell).sel(position="middle")
    print(f"{energy.attrs.get('long_name', energy.name)}, middle bond, kcal/mol")
    print(middle.to_pandas().round(2).to_string())

    # With four units the middle bond has one neighbour on either side; what longer chains add is long-ranged.
    beyond = (middle.sel(length=slice(5, None)) - middle.sel(length=4)).max("length")
    print("\nlargest gain over four units, kcal/mol")
    print(beyond.to_series().dropna().round(2).to_string())


if __name__ == "__main__":
    typer.run(main)
