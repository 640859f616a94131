"""Cooperative energy against length: print the table and draw the figure of a store.

python analysis/cooperative_energy.py STORE [FIGURE]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import hbcoop_dist as hb
from hbcoop_dist import analysis


def main() -> None:
    parser = argparse.ArgumentParser(description="Cooperative energy against length: table and figure of a store.")
    parser.add_argument("store", type=Path, help="result store, e.g. quickstart.zarr")
    parser.add_argument("figure", type=Path, nargs="?", help="where to draw (png, pdf, svg); STORE.png by default")
    asked = parser.parse_args()

    ds = hb.open_store(asked.store)
    print(analysis.render(ds, width=shutil.get_terminal_size((100, 40)).columns))
    figure = analysis.cooperative_energy_against_length(ds)
    print("figure:", analysis.save_figure(figure, asked.figure or asked.store.with_suffix(".png")))


if __name__ == "__main__":
    main()
