"""Figure 6 of the paper: which molecules the middle bond's cooperative energy comes from (Eqs. 2 to 5), one model.

python analysis/figure_6.py [STORE] [FIGURE] [MODEL]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "figure_6.png", model: str = "ani-2x") -> None:
    ds = hb.open_store(store).sel(geometry=["own"])
    print(analysis.save_figure(analysis.molecule_map(ds, model), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
