"""Structures of a store for the chemiscope viewer, whose script is bundled into the report.

Hydrogen bonds are drawn as dashed cylinders from H to O wherever the distance is short enough, whether or not the
campaign lists that pair as an H-bond of its chain.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from ase import Atoms

from hbcoop_dist.analysis import geometries
from hbcoop_dist.analysis.report_content import StructureViewer
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures.chains import CELL_DIMS
from hbcoop_dist.structures.geometry import HBOND_DISTANCE_LIMIT

_FIRST_LENGTH = 6
"""Units of the chain shown first; the first chain of the store where there is none."""
_DASHES, _RADIUS, _COLOUR = 3, 0.06, 0x00A0C0
_HYDROGEN, _CARBON, _OXYGEN = 1, 6, 8


def chain_viewer(ds: xr.Dataset) -> StructureViewer | None:
    """Viewer of the minimised complexes of a store of hydrogen-bonded chains.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    StructureViewer or None
        The complexes of all done cells, or None when no cell is done.
    """
    import chemiscope

    frames = list(geometries(ds))
    if not frames:
        return None
    for frame in frames:
        frame.positions = np.round(_principal_axes(frame.positions), 3)
    data = chemiscope.create_input(
        structures=frames,
        metadata={"name": "geometries"},
        shapes={"hydrogen bonds": _hbond_cylinders(frames)},
        settings={"structure": [{"shape": "hydrogen bonds", "axes": "off", "spaceFilling": False}]},
    )
    script = files("chemiscope").joinpath("sphinx", "static", "chemiscope.min.js").read_text(encoding="utf-8")
    return StructureViewer(
        caption="Any chain of the store, with hydrogen bonds dashed. Drag to rotate, scroll to zoom.",
        script=script,
        licence=f"chemiscope {version('chemiscope')}, BSD-3-Clause, with 3Dmol.js, BSD-3-Clause",
        structures=json.dumps(data, separators=(",", ":")),
        dims=CELL_DIMS,
        labels=tuple(tuple(str(frame.info[dim]) for dim in CELL_DIMS) for frame in frames),
        values_title="Cooperative energy of every hydrogen bond from the head, kcal/mol",
        values=tuple(_energies(frame) for frame in frames),
        first=next((index for index, frame in enumerate(frames) if frame.info["length"] == _FIRST_LENGTH), 0),
    )


def _energies(frame: Atoms) -> str:
    return ", ".join(f"{value:.2f}" for value in np.atleast_1d(frame.info["cooperative_energy_kcal_per_mol"]))


def _principal_axes(positions: FloatArray) -> FloatArray:
    """Centred positions with the longest axis along x and the plane of the chain facing the viewer."""
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    # a reflection would show the mirror image
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    return np.asarray(centred @ axes.T)


def _hbond_cylinders(frames: list[Atoms]) -> dict[str, Any]:
    """Short cylinders along every H-bond of all structures, as a chemiscope shape."""
    cylinders = []
    for frame in frames:
        bases, vectors = [], []
        for hydrogen, oxygen in _hbonds(frame):
            line = frame.positions[oxygen] - frame.positions[hydrogen]
            for dash in range(_DASHES):
                bases.append((frame.positions[hydrogen] + line * (dash + 0.25) / _DASHES).round(2).tolist())
                vectors.append((line * 0.5 / _DASHES).round(2).tolist())
        # chemiscope requires one cylinder per structure; without H-bonds it is too small to be seen
        cylinders.append({"bases": bases or [[0.0, 0.0, 0.0]], "vectors": vectors or [[0.0, 0.0, 1e-3]]})
    return {
        "kind": "cylinders",
        "parameters": {"global": {"radii": _RADIUS, "colors": _COLOUR}, "structure": cylinders},
    }


def _hbonds(frame: Atoms) -> list[tuple[int, int]]:
    """Pairs (H, O) of an H on N or O and another O within the distance limit of an H-bond."""
    distances = np.linalg.norm(frame.positions[:, None] - frame.positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    is_hydrogen, is_oxygen = frame.numbers == _HYDROGEN, frame.numbers == _OXYGEN
    pairs = []
    for hydrogen in np.flatnonzero(is_hydrogen):
        donor = int(np.argmin(np.where(is_hydrogen, np.inf, distances[hydrogen])))
        if frame.numbers[donor] == _CARBON:
            continue
        acceptors = np.flatnonzero(is_oxygen & (distances[hydrogen] < HBOND_DISTANCE_LIMIT))
        pairs += [(int(hydrogen), int(oxygen)) for oxygen in acceptors if oxygen != donor]
    return pairs
