"""A store from the inside: run the cells one by one in an editor that knows `# %%`, or all of them at once.

python analysis/tour.py [STORE]
"""

# %%
from hbcoop_dist import analysis
from hbcoop_dist.cli.scripts import opened

ds = opened(__doc__, "store/nma.zarr.zip")
print(ds.sizes)

# %% Every number has its labels, and its units.
bond = {"pattern": "arc", "capping": "none", "geometry": "own", "position": "middle"}
middle = analysis.done(ds).sel(bond).squeeze()
print(middle.cooperative_energy.attrs["long_name"], middle.cooperative_energy.attrs["units"])
print(middle.cooperative_energy.to_pandas().round(2).to_string())

# %% What is not done is no result: `done` masked it above, `not_done` says why.
for group in analysis.not_done(ds):
    print(group.count, group.status, "" if group.alike else "e.g.", group.reason[:80])

# %% How far the networks of an ensemble are from one another; what is no ensemble has no such number.
print(middle.cooperative_energy_spread.sel(model=analysis.with_spread(ds)).to_pandas().round(2).to_string())

# %% Its electronic part, with the dimer at the complex's geometry; the rest is geometric.
parts = middle[["cooperative_energy_electronic", "cooperative_energy_geometric"]].sel(length=4)
print(parts.reset_coords(drop=True).to_dataframe().round(2).to_string())

# %% Every H-bond of a chain of eight, from its head to its tail.
bonds = analysis.done(ds).hbond_cooperative_energy.sel(pattern="arc", capping="none", geometry="own", length=8)
print(bonds.squeeze().sel(hbond=bonds.hbond < 8).to_pandas().round(2))

# %% A row per model, and which ranks the reference allows.
board = analysis.scores(ds)
print(board.join(analysis.ranks(board.rmse_there, analysis.reference_width())).round(2).T.to_string())
