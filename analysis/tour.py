"""A store from the inside: run the cells one by one in an editor that knows `# %%`, or all of them at once.

python analysis/tour.py [STORE]
"""

# %%
import sys

import hbcoop_dist as hb
from hbcoop_dist import analysis

ds = hb.open_store(sys.argv[1] if len(sys.argv) > 1 else "store/nma.zarr.zip")
print(ds.sizes)

# %% Every number has its labels, and its units.
middle = (
    analysis.done(ds).cooperative_energy.sel(pattern="arc", capping="none", geometry="own", position="middle").squeeze()
)
print(middle.attrs["long_name"], middle.attrs["units"])
print(middle.to_pandas().round(2).to_string())

# %% What is not done is no result: `done` masked it above, `not_done` says why.
for group in analysis.not_done(ds):
    print(group.count, group.status, "" if group.alike else "e.g.", group.reason[:80])

# %% Its electronic part, with the dimer at the complex's geometry; the rest is geometric.
parts = analysis.done(ds)[["cooperative_energy_electronic", "cooperative_energy_geometric"]]
parts = parts.sel(pattern="arc", capping="none", geometry="own", position="middle", length=4)
print(parts.squeeze(drop=True).to_dataframe().round(2).to_string())

# %% Every H-bond of a chain of eight, from its head to its tail.
chain = (
    analysis.done(ds).hbond_cooperative_energy.sel(pattern="arc", capping="none", geometry="own", length=8).squeeze()
)
print(chain.sel(hbond=chain.hbond < 8).to_pandas().round(2))

# %% A row per model, and which ranks the reference allows.
board = analysis.scores(ds)
print(board.join(analysis.ranks(board.rmse_there, analysis.reference_width())).round(2).T.to_string())
