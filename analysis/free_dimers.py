"""Write a campaign of free NMA dimers: syn and anti, each from several randomly displaced starts, unconstrained.

`hbcoop plot free-dimers STORE` counts and draws the outcomes of the finished campaign.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from ase.io import write

from hbcoop_dist.structures import CONFORMERS, DEFAULT_ROTAMER, Chain
from hbcoop_dist.structures.monomers import build

MODELS = ["so3lr", "gfn2-xtb", "gfn1-xtb", "ani-2x", "ani-1ccx", "ani-1x", "amber14", "amoeba2018", "charmm36"]


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the campaign and its geometries.")],
    seeds: Annotated[int, typer.Option(help="Starts of each conformer.")] = 5,
    kick: Annotated[float, typer.Option(help="Standard deviation of every coordinate, A.")] = 0.1,
) -> None:
    """Write the campaign and print the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    complexes = []
    for conformer in CONFORMERS:
        for seed in range(1, seeds + 1):
            name = f"{conformer}-{seed}"
            dimer = build(Chain((conformer,), (DEFAULT_ROTAMER,) * 2)).to_ase()
            dimer.positions += np.random.default_rng(seed).normal(0.0, kick, dimer.positions.shape)
            write(folder / f"{name}.xyz", dimer, format="xyz")
            complexes.append({"name": name, "file": f"{name}.xyz", "A": "0-11", "B": "12-23", "geometry": "free"})
    spec = {
        "campaign": "free-dimers",
        "kind": "complexes",
        "models": MODELS,
        "minimize": {"max_calls": 2000},
        "complexes": complexes,
    }
    (folder / "free-dimers.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    print(f"hbcoop run {folder / 'free-dimers.yaml'} {folder / 'free-dimers.zarr'}")


if __name__ == "__main__":
    typer.run(main)
