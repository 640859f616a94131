"""Does the middle bond go on growing after one neighbour, with charges and without? Table and figure of the twins.

python analysis/bridge.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script

PAIRS = {"mace-r-4-l-0": "maceles-r-4-l-0", "mace-r-4.5-l-0": "maceles-r-4.5-l-0"}


def main(store: str = "store/twins.zarr.zip", figure: str = "bridge-twins.png") -> None:
    ds = hb.open_store(store)
    middle = analysis.done(ds)["cooperative_energy"].sel(pattern="arc", capping="none", geometry="own")
    print(middle.sel(position="middle").isel(rotamer=0).to_pandas().round(2).to_string())
    print(analysis.save_figure(analysis.cooperative_energy_of_twins(ds, PAIRS), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
