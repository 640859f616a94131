"""What becomes of a dimer that nothing constrains (paper, 3.1): which models keep the H-bond, and which stack.

python analysis/figure_free.py [STORE] [FIGURE]
"""

from __future__ import annotations

from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script
from hbcoop_dist.store import open_systems


def main(store: str = "store/free-dimers.zarr.zip", figure: str = "figure_free.png") -> None:
    systems = open_systems(store)
    print(analysis.free_dimers(systems).dropna(axis="columns", how="all").round(2).to_string())
    print(analysis.save_figure(analysis.free_dimer_outcomes(systems), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
