"""Draw what broke, as the paper's figure S1 does: the last geometry of chains that did not stay what they were."""

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
from numpy.typing import NDArray

from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.structures import NMA_ATOMS, WATER_ATOMS, Structure
from hbcoop_dist.structures.chains import CELL_DIMS
from hbcoop_dist.structures.geometry import hbonds
from hbcoop_dist.structures.structure import MOLECULE_BONDS

FloatArray = NDArray[np.float64]

MOST = 12
"""Panels of one figure."""
_COLUMNS = 4
_ALONE = "isolated dimer of H-bond "
# Conventional colours (Corey, Pauling, Koltun, as Jmol has them); radii are a third of the covalent ones.
_COLOURS = {1: "#FFFFFF", 6: "#606060", 7: "#3050F8", 8: "#FF0D0D"}
_RADIUS = 0.4
# Okabe and Ito's vermilion for what is lost; shape tells too, since red oxygens are near.
_WHOLE: dict[str, Any] = {"color": "#303030", "linestyle": (0, (2.0, 1.2)), "linewidth": 1.1}
_LOST: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (1.0, 2.0)), "linewidth": 1.6}


@dataclass(frozen=True, slots=True)
class _Broken:
    """One cell that broke: labels, reason, and what is drawn of it; None where its geometry is not stored."""

    labels: tuple[str | int, ...]
    reason: str
    conformers: tuple[str, ...]
    structure: Structure | None

    @property
    def words(self) -> str:
        model, pattern, length, capping = self.labels[:4]
        return f"{model}, {pattern}, n = {length}" + ("" if capping == "none" else ", capped")


def broken_geometries(ds: xr.Dataset) -> Figure:
    """The geometry in which a minimisation stopped because the chain broke, a panel per model, pattern and capping.

    Drawn is the shortest chain that broke itself; where only isolated dimers broke, the dimer of the shortest one.
    Atoms are projected onto the plane that fits them best. H-bonds that hold are dashed in black, those lost or turned
    over dotted in red. There are `MOST` panels at the most, bare chains first; the figure says how many broke.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    """
    found = sorted(_shortest(ds), key=lambda one: one.labels[3] != "none")
    drawn = found[:MOST]
    columns = min(_COLUMNS, max(len(drawn), 1))
    rows = max(math.ceil(len(drawn) / columns), 1)
    with mpl.rc_context(RC):
        size = (max(1.25 * PANEL_WIDTH * columns, 3.0), (PANEL_HEIGHT + 0.25) * rows + 0.35)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, one in zip(panels, drawn, strict=False):
            panel.set_title(f"{one.words}\n{_short(one.reason)}", fontsize=7.0)
            if one.structure is None:
                panel.text(0.5, 0.5, "no geometry", transform=panel.transAxes, ha="center", va="center", color=GREY)
            else:
                _draw(panel, one)
        if not drawn:
            panels[0].text(0.5, 0.5, "nothing broke", ha="center", va="center", color=GREY)
        else:
            handles = [Line2D([], [], label="H-bond", **_WHOLE), Line2D([], [], label="lost or turned over", **_LOST)]
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
        if len(found) > len(drawn):
            figure.suptitle(f"{len(drawn)} of {len(found)} that broke", fontsize=RC["axes.labelsize"])
    return figure


def _shortest(ds: xr.Dataset) -> Iterator[_Broken]:
    """Of every model, pattern and capping what is drawn, in the store's order."""
    names = [name for name in ("status", "reason", "positions", "dimer_positions", "molecule") if name in ds]
    found = readable(ds[[*names, "hbond_conformer"]])
    broke = (found["status"] == "broken-geometry").transpose(*CELL_DIMS).compute()
    reasons = found["reason"].transpose(*CELL_DIMS).compute().values
    groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in map(tuple, np.argwhere(broke.values).tolist()):
        groups.setdefault((place[0], place[1], place[3]), []).append(place)
    for places in groups.values():
        lengths = ds["length"].values
        place = min(places, key=lambda at: (str(reasons[at]).startswith(_ALONE), lengths[at[2]]))
        cell = dict(zip(CELL_DIMS, place, strict=True))
        yield _read(found.isel(cell), str(reasons[place]))


def _read(one: xr.Dataset, reason: str) -> _Broken:
    labels = tuple(one[dim].item() for dim in CELL_DIMS)
    length, capping = int(labels[2]), str(labels[3])
    conformers = tuple(map(str, one["hbond_conformer"].values[: length - 1]))
    kinds = ["nma"] * length + ["water"] * (4 if capping == "water" else 0)
    name = "positions"
    if reason.startswith(_ALONE):
        bond = int(reason.removeprefix(_ALONE).partition(":")[0])
        # what broke is the dimer, so that is what is shown; it has its own count of H-bonds, as its reason has
        conformers, kinds, name = (conformers[bond - 1],), ["nma"] * 2, "dimer_positions"
        one = one.sel(conformer=conformers[0]) if name in one else one
    sizes = [len(NMA_ATOMS if kind == "nma" else WATER_ATOMS) for kind in kinds]
    x = one[name].transpose("atom", "xyz").values[: sum(sizes)] if name in one else np.array([np.nan])
    if not np.isfinite(x).all():
        return _Broken(labels, reason, conformers, None)
    parts = zip(kinds, np.split(x, np.cumsum(sizes)[:-1]), strict=True)
    return _Broken(labels, reason, conformers, Structure.from_molecules(parts))


def _short(reason: str) -> str:
    return textwrap.fill(textwrap.shorten(reason, 110, placeholder=" ..."), 40)


def _draw(panel: Axes, one: _Broken) -> None:
    structure = one.structure
    assert structure is not None
    x = projected(structure.positions)
    panel.add_collection(LineCollection(list(x[_bonds(structure), :2]), colors="#404040", linewidths=1.6, zorder=1))
    # which bond turned over only the reason knows: the minimisation stops while it still points where it did
    named = re.match(r"(?:isolated dimer of H-bond \d+: )?H-bond (\d+)", one.reason)
    for number, bridge in enumerate(hbonds(structure, one.conformers), 1):
        lost = not bridge.intact or (named is not None and number == int(named[1]))
        panel.plot(*x[[bridge.h, bridge.o], :2].T, zorder=2, **(_LOST if lost else _WHOLE))
    heights = np.argsort(np.argsort(x[:, 2])) / len(x)
    for (across, up, _), number, height in zip(x, structure.numbers.tolist(), heights, strict=True):
        radius = _RADIUS * float(covalent_radii[number])
        look: dict[str, Any] = {
            "facecolor": _COLOURS[number],
            "edgecolor": "#303030",
            "linewidth": 0.4,
            "zorder": 3 + height,
        }
        panel.add_patch(Circle((across, up), radius, **look))
    panel.set_aspect("equal")
    panel.autoscale_view()


def _bonds(structure: Structure) -> NDArray[np.int64]:
    found = []
    for molecule, kind in enumerate(structure.kinds):
        names, atoms = NMA_ATOMS if kind == "nma" else WATER_ATOMS, structure.atoms_of(molecule)
        found += [[atoms[names.index(one)], atoms[names.index(other)]] for one, other in MOLECULE_BONDS[kind]]
    return np.array(found)


def projected(positions: FloatArray) -> FloatArray:
    """Positions along their principal axes: the first two span the plane that fits them best, the third is height.

    The first atom lies left of the centre and above it, so that chains are seen from their first unit on.

    Parameters
    ----------
    positions : (N, 3) array
        A.
    """
    centred = positions - positions.mean(axis=0)
    across, up, _ = np.linalg.svd(centred, full_matrices=False)[2]
    across, up = (axis if side * (centred[0] @ axis) > 0 else -axis for side, axis in ((-1, across), (1, up)))
    # a third axis of its own, so that what is drawn is never the mirror image
    return np.asarray(centred @ np.array([across, up, np.cross(across, up)]).T)
