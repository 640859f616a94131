"""Numbers from a store's dataset; tables are made by `analysis.tables`, figures by `analysis.plots`.

Every function takes the dataset of `hbcoop_dist.open_store` or of plain ``xarray.open_zarr``, or a part of it selected
with lists (``ds.sel(pattern=["arc"])``), so that the label dims stay. Nothing here imports matplotlib.
"""

from hbcoop_dist.analysis.exports import geometries, leaderboard, structure_of, tidy
from hbcoop_dist.analysis.free_dimer_outcomes import dimer_outcomes, free_dimers
from hbcoop_dist.analysis.growth_fits import growth, units_seen
from hbcoop_dist.analysis.model_scores import by_rotamer, compare, largest, ranks, reference_width, scores
from hbcoop_dist.analysis.quantities import (
    by_molecule,
    cooperative_energies,
    hbond_distances,
    interaction_energies,
    middle_bond,
    spread_words,
    syn_anti_difference,
    with_spread,
)
from hbcoop_dist.analysis.reference_levels import ComparisonError, beside_published, same_geometry, with_references
from hbcoop_dist.analysis.selection import NotDone, done, mark_pending, needed_dimers, not_done, readable, select

__all__ = [
    "ComparisonError",
    "NotDone",
    "beside_published",
    "by_molecule",
    "by_rotamer",
    "compare",
    "cooperative_energies",
    "dimer_outcomes",
    "done",
    "free_dimers",
    "geometries",
    "growth",
    "hbond_distances",
    "interaction_energies",
    "largest",
    "leaderboard",
    "mark_pending",
    "middle_bond",
    "needed_dimers",
    "not_done",
    "ranks",
    "readable",
    "reference_width",
    "same_geometry",
    "scores",
    "select",
    "spread_words",
    "structure_of",
    "syn_anti_difference",
    "tidy",
    "units_seen",
    "with_references",
    "with_spread",
]
