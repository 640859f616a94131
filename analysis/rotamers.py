"""How much a cooperative energy depends on the methyl rotamer, which the paper does not state: table and figure.

python analysis/rotamers.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/rotamers.zarr.zip", figure: str = "rotamers.png") -> None:
    ds = hb.open_store(store)
    print(analysis.by_rotamer(ds).drop(columns="saddles").round(2).to_string())
    print(analysis.save_figure(analysis.rotamers(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
