"""Write a campaign of NMA dimers that nothing constrains: syn and anti, each from a few starts moved by chance.

python analysis/free_dimers.py FOLDER [--seeds 5] [--kick 0.1]
"""

import argparse
from pathlib import Path

import numpy as np
from ase.io import write

from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.structures import CONFORMERS, DEFAULT_ROTAMER, Chain
from hbcoop_dist.structures.construction import build

MODELS = ["so3lr", "gfn2-xtb", "gfn1-xtb", "ani-2x", "ani-1ccx", "ani-1x", "amber14", "amoeba2018", "charmm36"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="starts of each conformer")
    parser.add_argument("--kick", type=float, default=0.1, help="standard deviation of every coordinate, A")
    asked = parser.parse_args()

    asked.folder.mkdir(parents=True, exist_ok=True)
    systems = []
    for name, conformer, seed in [(f"{c}-{seed}", c, seed) for c in CONFORMERS for seed in range(1, asked.seeds + 1)]:
        dimer = build(Chain((conformer,), (DEFAULT_ROTAMER,) * 2, "none")).to_ase()
        dimer.positions += np.random.default_rng(seed).normal(0.0, asked.kick, dimer.positions.shape)
        write(asked.folder / f"{name}.xyz", dimer, format="xyz")
        systems.append({"name": name, "file": f"{name}.xyz", "A": "0-11", "B": "12-23", "geometry": "free"})
    spec = {"campaign": "free-dimers", "models": MODELS, "minimize": {"max_calls": 2000}, "systems": systems}
    (asked.folder / "free-dimers.yaml").write_text(dump_yaml(spec))
    print(f"hbcoop run {asked.folder / 'free-dimers.yaml'} {asked.folder / 'free-dimers.zarr'}")


if __name__ == "__main__":
    main()
