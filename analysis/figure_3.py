"""Figures 3 and S2 of the paper: cooperative energy against length, bare chains, arc and linear; MP2 in black.

python analysis/figure_3.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "figure_3.png") -> None:
    ds = hb.open_store(store).sel(geometry=["own"])
    drawn = analysis.cooperative_energy_against_length(ds, capping="none", reference="rimp2:cc-pvtz:frozen-core")
    print(analysis.save_figure(drawn, figure))


if __name__ == "__main__":
    run_script(main, __doc__)
