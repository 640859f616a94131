"""Figure of broken geometries: the last geometry of minimisations that lost or turned over an H-bond."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from ase.data import covalent_radii
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from hbcoop_dist.analysis.plots.style import PANEL_HEIGHT, PANEL_WIDTH, RC, no_results
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.structures import NMA_ATOMS, WATER_ATOMS, Structure
from hbcoop_dist.structures.chains import CAP_WATERS, CELL_DIMS
from hbcoop_dist.structures.geometry import hbonds
from hbcoop_dist.structures.structure import MOLECULE_BONDS

MOST = 12
"""Largest number of panels."""
_COLUMNS = 4
_ISOLATED_DIMER = "isolated dimer of H-bond "
"""Start of the reason of a cell whose isolated dimer broke."""
# CPK colours (Corey, Pauling, Koltun) as in Jmol.
_COLOURS = {1: "#FFFFFF", 6: "#606060", 7: "#3050F8", 8: "#FF0D0D"}
_RADIUS = 0.4
"""Radius of a drawn atom, covalent radii."""
# Vermilion is close to the red of oxygen, so that lost bonds also have another dash pattern.
_INTACT: dict[str, Any] = {"color": "#303030", "linestyle": (0, (2.0, 1.2)), "linewidth": 1.1}
_LOST: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (1.0, 2.0)), "linewidth": 1.6}


@dataclass(frozen=True, slots=True)
class _BrokenCell:
    """A cell with a broken geometry: labels, reason, and the structure that broke, None where it is not stored."""

    labels: tuple[str | int, ...]
    reason: str
    conformers: tuple[str, ...]
    structure: Structure | None

    @property
    def title(self) -> str:
        model, pattern, length, capping = self.labels[:4]
        return f"{model}, {pattern}, n = {length}" + ("" if capping == "none" else ", capped")


def broken_geometries(ds: xr.Dataset) -> Figure:
    """Draw the geometries in which minimisations stopped, one panel per model, pattern and capping.

    Each panel shows the shortest chain that broke, or, where only isolated dimers broke, the dimer of the shortest
    chain. Atoms are projected onto the plane of best fit. Intact H-bonds are dashed in black, lost or turned ones are
    dotted in red. At most `MOST` panels are drawn, bare chains first. Feng, Xu and Huang (2025), figure S1.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    """
    broken = sorted(_shortest(ds), key=lambda cell: cell.labels[3] != "none")
    drawn = broken[:MOST]
    columns = min(_COLUMNS, max(len(drawn), 1))
    rows = max(math.ceil(len(drawn) / columns), 1)
    with mpl.rc_context(RC):
        size = (max(1.25 * PANEL_WIDTH * columns, 3.0), (PANEL_HEIGHT + 0.25) * rows + 0.35)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, cell in zip(panels, drawn, strict=False):
            panel.set_title(f"{cell.title}\n{_shortened(cell.reason)}", fontsize=7.0)
            if cell.structure is None:
                no_results(panel, "no geometry")
            else:
                _draw(panel, cell.structure, cell)
        if not drawn:
            no_results(panels[0], "no broken geometries")
        else:
            intact = Line2D([], [], label="H-bond", **_INTACT)
            lost = Line2D([], [], label="lost or turned over", **_LOST)
            figure.legend(handles=[intact, lost], loc="outside lower center", ncols=2)
        if len(broken) > len(drawn):
            figure.suptitle(f"{len(drawn)} of {len(broken)} broken geometries", fontsize=RC["axes.labelsize"])
    return figure


def _shortest(ds: xr.Dataset) -> Iterator[_BrokenCell]:
    """The cell to draw for each model, pattern and capping, in the order of the store."""
    names = [name for name in ("status", "reason", "positions", "dimer_positions", "molecule") if name in ds]
    store = readable(ds[[*names, "hbond_conformer"]])
    broken = (store["status"] == "broken-geometry").transpose(*CELL_DIMS).compute()
    reasons = store["reason"].transpose(*CELL_DIMS).compute().values
    lengths = ds["length"].values
    groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for index in map(tuple, np.argwhere(broken.values).tolist()):
        groups.setdefault((index[0], index[1], index[3]), []).append(index)
    for indices in groups.values():
        first = min(indices, key=lambda index: (str(reasons[index]).startswith(_ISOLATED_DIMER), lengths[index[2]]))
        cell = store.isel(dict(zip(CELL_DIMS, first, strict=True)))
        yield _read(cell, str(reasons[first]))


def _read(cell: xr.Dataset, reason: str) -> _BrokenCell:
    labels = tuple(cell[dim].item() for dim in CELL_DIMS)
    length, capping = int(labels[2]), str(labels[3])
    conformers = tuple(map(str, cell["hbond_conformer"].values[: length - 1]))
    kinds = ["nma"] * length + ["water"] * (CAP_WATERS if capping == "water" else 0)
    name = "positions"
    if reason.startswith(_ISOLATED_DIMER):
        bond = int(reason.removeprefix(_ISOLATED_DIMER).partition(":")[0])
        conformers, kinds, name = (conformers[bond - 1],), ["nma"] * 2, "dimer_positions"
        cell = cell.sel(conformer=conformers[0]) if name in cell else cell
    sizes = [len(NMA_ATOMS if kind == "nma" else WATER_ATOMS) for kind in kinds]
    x = cell[name].transpose("atom", "xyz").values[: sum(sizes)] if name in cell else np.array([np.nan])
    if not np.isfinite(x).all():
        return _BrokenCell(labels, reason, conformers, None)
    molecules = zip(kinds, np.split(x, np.cumsum(sizes)[:-1]), strict=True)
    return _BrokenCell(labels, reason, conformers, Structure.from_molecules(molecules))


def _shortened(reason: str) -> str:
    return textwrap.fill(textwrap.shorten(reason, 110, placeholder=" ..."), 40)


def _draw(panel: Axes, structure: Structure, cell: _BrokenCell) -> None:
    x = projected(structure.positions)
    panel.add_collection(LineCollection(list(x[_bonds(structure), :2]), colors="#404040", linewidths=1.6, zorder=1))
    # a minimisation stops before a bond that turns over points elsewhere: only the reason names the bond
    named = re.match(r"(?:isolated dimer of H-bond \d+: )?H-bond (\d+)", cell.reason)
    for number, bridge in enumerate(hbonds(structure, cell.conformers), 1):
        lost = not bridge.intact or (named is not None and number == int(named[1]))
        panel.plot(*x[[bridge.h, bridge.o], :2].T, zorder=2, **(_LOST if lost else _INTACT))
    heights = np.argsort(np.argsort(x[:, 2])) / len(x)
    for (across, up, _), number, height in zip(x, structure.numbers.tolist(), heights, strict=True):
        radius = _RADIUS * float(covalent_radii[number])
        look: dict[str, Any] = {"edgecolor": "#303030", "linewidth": 0.4, "zorder": 3 + height}
        panel.add_patch(Circle((across, up), radius, facecolor=_COLOURS[number], **look))
    panel.set_aspect("equal")
    panel.autoscale_view()


def _bonds(structure: Structure) -> IntArray:
    """Covalent bonds as pairs of atoms, shape (bonds, 2)."""
    pairs = []
    for molecule, kind in enumerate(structure.kinds):
        names, atoms = NMA_ATOMS if kind == "nma" else WATER_ATOMS, structure.atoms_of(molecule)
        pairs += [[atoms[names.index(first)], atoms[names.index(second)]] for first, second in MOLECULE_BONDS[kind]]
    return np.array(pairs)


def projected(positions: FloatArray) -> FloatArray:
    """Rotate positions onto their principal axes.

    Parameters
    ----------
    positions : (N, 3) array
        A.

    Returns
    -------
    (N, 3) array
        The first two coordinates span the plane of best fit, the third is the height above it. The first atom lies to
        the left of the centre and above it. Chirality is preserved.
    """
    centred = positions - positions.mean(axis=0)
    across, up, _ = np.linalg.svd(centred, full_matrices=False)[2]
    across, up = (axis if side * (centred[0] @ axis) > 0 else -axis for side, axis in ((-1, across), (1, up)))
    # the cross product makes the axes right-handed: no mirror image
    return np.asarray(centred @ np.array([across, up, np.cross(across, up)]).T)
