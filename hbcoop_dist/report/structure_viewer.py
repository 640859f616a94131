"""Geometries of a store for a viewer in the page: chemiscope's, whose script is bundled into the report.

H-bonds are dashed cylinders from H to O, by the distance alone: what is drawn is the geometry, not what the campaign
calls its H-bonds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from ase import Atoms
from numpy.typing import NDArray

from hbcoop_dist.analysis import geometries

LABELS = ("model", "pattern", "length", "capping", "geometry", "rotamer")
_LONGEST = 2.5
"""A; an O..H contact that close is drawn as an H-bond."""
_BOND = 1.3
_DASHES, _RADIUS, _COLOUR = 3, 0.06, 0x00A0C0
_OXYGEN, _HYDROGEN, _CARBON = 8, 1, 6


@dataclass(frozen=True, slots=True)
class Viewer:
    """What the page needs to show geometries.

    Attributes
    ----------
    script : str
        The viewer's JavaScript.
    licence : str
        Its name, version and licence.
    data : str
        Geometries as JSON, in the viewer's format.
    labels : str
        JSON: for every geometry the labels of its cell, in the order of `LABELS`, then its cooperative energies.
    """

    script: str
    licence: str
    data: str
    labels: str


def viewer(ds: xr.Dataset) -> Viewer | None:
    """Every done cell's complex; None when nothing is done.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    """
    import chemiscope

    frames = list(geometries(ds))
    if not frames:
        return None
    for frame in frames:
        frame.positions = np.round(_laid_flat(frame.positions), 3)
    data = chemiscope.create_input(
        structures=frames,
        metadata={"name": "geometries"},
        shapes={"hydrogen bonds": _dashes(frames)},
        settings={"structure": [{"shape": "hydrogen bonds", "axes": "off", "spaceFilling": False}]},
    )
    script = files("chemiscope").joinpath("sphinx", "static", "chemiscope.min.js").read_text(encoding="utf-8")
    labels = [[*(str(frame.info[name]) for name in LABELS), _words(frame)] for frame in frames]
    return Viewer(
        script=script,
        licence=f"chemiscope {version('chemiscope')}, BSD-3-Clause, with 3Dmol.js, BSD-3-Clause",
        data=json.dumps(data, separators=(",", ":")),
        labels=json.dumps(labels),
    )


def _words(frame: Atoms) -> str:
    return ", ".join(f"{value:.2f}" for value in np.atleast_1d(frame.info["cooperative_energy_kcal_per_mol"]))


def _laid_flat(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred, longest axis along x and the plane facing the reader."""
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    return np.asarray(centred @ axes.T)


def _dashes(frames: list[Atoms]) -> dict[str, Any]:
    """Short cylinders on the line of every H-bond, for all geometries."""
    pieces = []
    for frame in frames:
        starts, vectors = [], []
        for hydrogen, oxygen in _hbonds(frame):
            line = frame.positions[oxygen] - frame.positions[hydrogen]
            for dash in range(_DASHES):
                starts.append((frame.positions[hydrogen] + line * (dash + 0.25) / _DASHES).round(2).tolist())
                vectors.append((line * 0.5 / _DASHES).round(2).tolist())
        # chemiscope wants a cylinder at least, so a geometry without H-bonds gets one too small to see
        pieces.append({"bases": starts or [[0.0, 0.0, 0.0]], "vectors": vectors or [[0.0, 0.0, 1e-3]]})
    return {
        "kind": "cylinders",
        "parameters": {"global": {"radii": _RADIUS, "colors": _COLOUR}, "structure": pieces},
    }


def _hbonds(frame: Atoms) -> list[tuple[int, int]]:
    """Every H on N or O with an O of another molecule nearby."""
    distances = np.linalg.norm(frame.positions[:, None] - frame.positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    found = []
    for hydrogen in np.flatnonzero(frame.numbers == _HYDROGEN):
        heavy = int(np.argmin(np.where(frame.numbers == _HYDROGEN, np.inf, distances[hydrogen])))
        if frame.numbers[heavy] == _CARBON:
            continue
        close = (frame.numbers == _OXYGEN) & (distances[hydrogen] < _LONGEST) & (distances[hydrogen] > _BOND)
        found += [(int(hydrogen), int(oxygen)) for oxygen in np.flatnonzero(close)]
    return found
