"""Does a model's cooperative energy go on growing with the chain, and beside how far it sees? Middle bond, bare arcs.

python analysis/growth.py [STORE] [FIGURE]
"""

from __future__ import annotations

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", figure: str = "growth.png") -> None:
    ds = hb.open_store(store).sel(pattern=["arc"], capping=["none"], geometry=["own"])
    # a chain whose ends meet has no ends: its bonds have more neighbours than its length says
    ds = ds.assign(cooperative_energy=ds.cooperative_energy.where(ds.near_ring != 1))
    found = analysis.growth(ds).sel(position="middle", shape="exponential").squeeze()
    print(found.increment.to_pandas().round(3).to_string())
    table = found[["saturation_length", "asymptote", "asymptote_error"]].to_dataframe()
    print(table[["saturation_length", "asymptote", "asymptote_error"]].round(2).to_string())
    print(analysis.save_figure(analysis.growth_curves(ds), figure))


if __name__ == "__main__":
    run_script(main, __doc__)
