"""Electronic and geometric part of the cooperative energy, side by side: middle H-bond of the bare arc of four units.

python analysis/parts.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "parts.png") -> None:
    print(analysis.save_figure(analysis.parts(hb.open_store(store)), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
