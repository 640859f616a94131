"""Figures 5 and S4 of the paper: O..N distance against length, with caps and without.

python analysis/figure_5.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "figure_5.png") -> None:
    ds = hb.open_store(store).sel(geometry=["own"])
    drawn = analysis.distance_against_length(ds)
    print(analysis.save_figure(drawn, figure))


if __name__ == "__main__":
    run_script(main, __doc__)
