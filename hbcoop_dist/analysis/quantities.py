"""Pick one physical quantity out of a store's sixty variables, masked, with what is needed to read it.

Each function gives a dataset of the store's own variables (names, units and long names unchanged), so that one
quantity can be drawn, printed or written to a file without a look at the schema.
"""

from __future__ import annotations

from collections.abc import Collection

import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done

_CELL = ("status", "reason", "saddle", "near_ring")
_DIMER = ("dimer_status", "dimer_reason", "dimer_saddle")
_BOND = ("position_conformer", "position_hbond", "units_before", "units_after", "hbond_conformer")
"""Context: in the linear pattern the conformer of middle and tail alternates with the length."""


def cooperative_energies(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Cooperative energy, its electronic and its geometric part, by head, middle and tail; kcal/mol."""
    parts = ("cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric")
    return _select(ds, (*parts, *_CELL, *_BOND), statuses)


def interaction_energies(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Interaction energies of A and B; kcal/mol.

    By position, inside the complex (``interaction_energy``) and in the isolated dimer of the same conformer and
    rotamers (``interaction_energy_dimer``); and the dimers themselves, by conformer (``dimer_interaction_energy``).
    """
    energies = ("interaction_energy", "interaction_energy_dimer", "dimer_interaction_energy")
    return _select(ds, (*energies, *_CELL, *_DIMER, *_BOND), statuses)


def hbond_distances(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """O..N and O..H distances and N-H..O angles: by position, of every H-bond, and in the isolated dimers."""
    measures = ("distance_on", "distance_oh", "angle")
    names = [f"{prefix}{measure}" for prefix in ("", "hbond_", "dimer_") for measure in measures]
    return _select(ds, (*names, *_CELL, *_DIMER, *_BOND), statuses)


def _select(ds: xr.Dataset, names: Collection[str], statuses: Collection[str]) -> xr.Dataset:
    return done(ds[[name for name in names if name in ds]], statuses)
