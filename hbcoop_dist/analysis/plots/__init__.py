"""Matplotlib figures made from a store's dataset."""

from hbcoop_dist.analysis.plots.broken_chains import broken_geometries
from hbcoop_dist.analysis.plots.chain_growth import (
    cooperative_energy_by_scheme,
    cooperative_energy_of_twins,
    growth_curves,
)
from hbcoop_dist.analysis.plots.chains import (
    bare_arcs,
    cooperative_energy_against_length,
    distance_against_length,
    draw_legend,
    every_hbond,
    save_figure,
)
from hbcoop_dist.analysis.plots.generalization import chemical_space, errors_by_split, learning_curves
from hbcoop_dist.analysis.plots.isolated_dimers import dimers, free_dimer_outcomes
from hbcoop_dist.analysis.plots.one_bond import molecule_map, parts, rotamers
from hbcoop_dist.analysis.plots.style import ModelStyle, model_style

__all__ = [
    "ModelStyle",
    "bare_arcs",
    "broken_geometries",
    "chemical_space",
    "cooperative_energy_against_length",
    "cooperative_energy_by_scheme",
    "cooperative_energy_of_twins",
    "dimers",
    "distance_against_length",
    "draw_legend",
    "errors_by_split",
    "every_hbond",
    "free_dimer_outcomes",
    "growth_curves",
    "learning_curves",
    "model_style",
    "molecule_map",
    "parts",
    "rotamers",
    "save_figure",
]
