"""A tour of a store, for an editor or notebook that runs the cells between `# %%` one by one, or as a script.

Run it in the repository's root, or set STORE to a store of your own.
"""

# %%
import hbcoop_dist as hb
from hbcoop_dist import analysis

STORE = "store/nma.zarr.zip"
ds = hb.open_store(STORE)
print(ds.sizes)

# %% Every number has labels and units.
bond = {"pattern": "arc", "capping": "none", "geometry": "own", "position": "middle"}
middle = analysis.done(ds).sel(bond).isel(rotamer=0, constraint=0)
print(middle.cooperative_energy.attrs["long_name"], middle.cooperative_energy.attrs["units"])
print(middle.cooperative_energy.to_pandas().round(2).to_string())

# %% Cells that are not done hold no results: `done` masked them, `not_done` groups them by reason.
for group in analysis.not_done(ds):
    print(group.count, group.status, "" if group.alike else "e.g.", group.reason[:80])

# %% Ensemble spread: the standard deviation over the networks of an ensemble; single models have none.
print(middle.cooperative_energy_spread.sel(model=analysis.with_spread(ds)).to_pandas().round(2).to_string())

# %% The electronic part has the dimer at the complex's geometry; the rest is geometric.
parts = middle[["cooperative_energy_electronic", "cooperative_energy_geometric"]].sel(length=4)
print(parts.reset_coords(drop=True).to_dataframe().round(2).to_string())

# %% Every H-bond of a chain of eight, from its head to its tail.
bonds = analysis.done(ds).hbond_cooperative_energy.sel(pattern="arc", capping="none", geometry="own", length=8)
print(bonds.squeeze().sel(hbond=bonds.hbond < 8).to_pandas().round(2))

# %% One row per model, and the ranks that the uncertainty of the reference allows.
board = analysis.scores(ds)
print(board.join(analysis.ranks(board.rmse_there, analysis.reference_width())).round(2).T.to_string())
