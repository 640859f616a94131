"""Figure 2 of the paper: interaction energy and O..N distance of the isolated dimers, syn and anti.

python analysis/figure_2.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "figure_2.png") -> None:
    ds = hb.open_store(store)
    print(analysis.syn_anti_difference(ds).sel(geometry="own").squeeze().to_series().round(2).to_string())
    print(analysis.save_figure(analysis.dimers(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
