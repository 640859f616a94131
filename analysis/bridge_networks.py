"""Does the middle bond go on growing after one neighbour, with a long-range scheme and without? Networks trained here.

python analysis/bridge_networks.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/bridge.zarr.zip", figure: str = "bridge-networks.png") -> None:
    ds = hb.open_store(store)
    middle = analysis.done(ds)["cooperative_energy"].sel(pattern="arc", capping="none", geometry="own")
    print(middle.sel(position="middle").isel(rotamer=0).to_pandas().round(2).to_string())
    print(analysis.save_figure(analysis.cooperative_energy_by_scheme(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
