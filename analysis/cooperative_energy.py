"""Cooperative energy against length: print the table and draw the figure of a store (png, pdf, svg).

python analysis/cooperative_energy.py [STORE] [FIGURE]
"""

from __future__ import annotations

import shutil

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "cooperative_energy.png") -> None:
    ds = hb.open_store(store)
    print(analysis.render(ds, width=shutil.get_terminal_size((100, 40)).columns))
    print("figure:", analysis.save_figure(analysis.cooperative_energy_against_length(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
