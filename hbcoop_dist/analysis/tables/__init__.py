"""Terminal tables and Markdown pages made from a store's dataset."""

from hbcoop_dist.analysis.tables.chains import (
    complex_tables,
    cooperative_energy_table,
    dimer_table,
    not_done_table,
    render,
    result_tables,
    status_tables,
)
from hbcoop_dist.analysis.tables.generalization import errors_in_terminal
from hbcoop_dist.analysis.tables.references import reference_levels_page, same_geometry_tables

__all__ = [
    "complex_tables",
    "cooperative_energy_table",
    "dimer_table",
    "errors_in_terminal",
    "not_done_table",
    "reference_levels_page",
    "render",
    "result_tables",
    "same_geometry_tables",
    "status_tables",
]
