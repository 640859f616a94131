"""Figure S1 of the paper: what broke, the shortest chain of each model, pattern and capping, lost H-bonds dotted.

python analysis/figure_s1.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "figure_s1.png") -> None:
    ds = hb.open_store(store).sel(geometry=["own"])
    print(analysis.save_figure(analysis.broken_geometries(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
