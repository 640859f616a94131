"""Every H-bond of a chain, from its head to its tail, where the paper shows three: bare arcs at own minima.

python analysis/every_hbond.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "every_hbond.png") -> None:
    print(analysis.save_figure(analysis.every_hbond(hb.open_store(store)), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
