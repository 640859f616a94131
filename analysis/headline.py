"""The picture at the top of the README: cooperative energy against length, bare arcs of every model, MP2 in black.

python analysis/headline.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "docs/headline.png") -> None:
    ds = hb.open_store(store).sel(geometry=["own"])
    # a chain whose ends meet is a ring, whose bonds have more neighbours than its length says
    ds = ds.assign(status=ds.status.where(ds.near_ring != 1, "unconverged"))
    drawn = analysis.cooperative_energy_against_length(
        ds, pattern="arc", capping="none", reference="rimp2:cc-pvtz:frozen-core"
    )
    print(analysis.save_figure(drawn, figure))


if __name__ == "__main__":
    run_script(main, __doc__)
