"""From a store's dataset to datasets, terminal tables and figures. Reads datasets only, never a store.

Masking: `done`. What was asked for: `as_asked`. Quantities: `cooperative_energies`, `interaction_energies`,
`hbond_distances`. By molecule (Eqs. 2 to 5): `by_molecule`. With the length: `growth`. How far a model sees:
`units_seen`. Model by model: `scores`, `ranks` within `reference_width`, `beside_published`. In every methyl rotamer:
`by_rotamer`. Over the networks of an ensemble: `with_spread`, `spread_words`. What becomes of dimers that nothing
constrains: `free_dimers`, `dimer_outcomes`. What is missing and why: `not_done`. At the geometries of a reference:
`same_geometry`, `same_geometry_tables`, `with_references` (`ComparisonError` where they cannot be). In a terminal:
`tables`, `status_tables`, `render`, `complex_tables`. Figures: `cooperative_energy_against_length`,
`cooperative_energy_of_twins`, `dimers`, `distance_against_length`, `free_dimer_outcomes`, `broken_geometries`,
`every_hbond`, `growth_curves`, `molecule_map`, `parts`, `rotamers`, `save_figure`, `model_style`. For others: `select`,
`tidy`, `leaderboard`, `geometries` and their `structure_of`. Two stores: `compare`, `largest`.

Every function takes the dataset of `hbcoop_dist.open_store` or of plain ``xarray.open_zarr``, or a part of it
selected with lists (``ds.sel(pattern=["arc"])``), so that the label dims stay.
"""

from hbcoop_dist.analysis.common_geometries import ComparisonError, same_geometry, same_geometry_tables, with_references
from hbcoop_dist.analysis.decomposition import by_molecule
from hbcoop_dist.analysis.ensemble_spread import spread_words, with_spread
from hbcoop_dist.analysis.free_dimer_outcomes import dimer_outcomes, free_dimers
from hbcoop_dist.analysis.growth_fits import growth
from hbcoop_dist.analysis.model_scores import ranks, reference_width, scores
from hbcoop_dist.analysis.paper_values import beside_published
from hbcoop_dist.analysis.plots.bonds_along_chain import every_hbond
from hbcoop_dist.analysis.plots.broken import broken_geometries
from hbcoop_dist.analysis.plots.chains import (
    cooperative_energy_against_length,
    distance_against_length,
    draw_legend,
    save_figure,
)
from hbcoop_dist.analysis.plots.energy_parts import molecule_map, parts
from hbcoop_dist.analysis.plots.growth import growth_curves
from hbcoop_dist.analysis.plots.isolated_dimers import dimers, free_dimer_outcomes, syn_anti_difference
from hbcoop_dist.analysis.plots.methyl_rotamers import rotamers
from hbcoop_dist.analysis.plots.style import ModelStyle, model_style
from hbcoop_dist.analysis.plots.twins import cooperative_energy_by_scheme, cooperative_energy_of_twins
from hbcoop_dist.analysis.quantities import cooperative_energies, hbond_distances, interaction_energies
from hbcoop_dist.analysis.receptive_field import units_seen
from hbcoop_dist.analysis.rotamer_effects import by_rotamer
from hbcoop_dist.analysis.selection import as_asked, done, readable
from hbcoop_dist.analysis.store_comparison import compare, largest
from hbcoop_dist.analysis.tables.hbonds import geometries, leaderboard, select, structure_of, tidy
from hbcoop_dist.analysis.tables.terminal import (
    complex_tables,
    cooperative_energy_table,
    dimer_table,
    not_done_table,
    render,
    status_tables,
    tables,
)
from hbcoop_dist.analysis.unfinished_cells import NotDone, needed_dimers, not_done

__all__ = [
    "ComparisonError",
    "ModelStyle",
    "NotDone",
    "as_asked",
    "beside_published",
    "broken_geometries",
    "by_molecule",
    "by_rotamer",
    "compare",
    "complex_tables",
    "cooperative_energies",
    "cooperative_energy_against_length",
    "cooperative_energy_by_scheme",
    "cooperative_energy_of_twins",
    "cooperative_energy_table",
    "dimer_outcomes",
    "dimer_table",
    "dimers",
    "distance_against_length",
    "done",
    "draw_legend",
    "every_hbond",
    "free_dimer_outcomes",
    "free_dimers",
    "geometries",
    "growth",
    "growth_curves",
    "hbond_distances",
    "interaction_energies",
    "largest",
    "leaderboard",
    "model_style",
    "molecule_map",
    "needed_dimers",
    "not_done",
    "not_done_table",
    "parts",
    "ranks",
    "readable",
    "reference_width",
    "render",
    "rotamers",
    "same_geometry",
    "same_geometry_tables",
    "save_figure",
    "scores",
    "select",
    "spread_words",
    "status_tables",
    "structure_of",
    "syn_anti_difference",
    "tables",
    "tidy",
    "units_seen",
    "with_references",
    "with_spread",
]
