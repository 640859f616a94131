"""What splits of a large set cost: SOAP, k-means, farthest points, similarities to the nearest, and the UMAP picture.

One thread, descriptors by blocks in float32 as campaigns of more than 2,000 structures keep them.  Structures are
generated clusters of three neutral molecules; with ``--metals`` one atom of each is one of so many metals, as in sets
of frameworks, of whose 80 elements no structure has more than a few.  Every structure is a parent of its own, the most
that a split can have to do.  The peak is that of the whole process, packages included.

    python benchmarks/splits.py [--structures 20000] [--metals 70] [--umap] [--compare]

``--compare`` does the same with the dense float64 matrix of small sets, and says how far the two differ.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"


import numpy as np

from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters
from hbcoop_dist.learning.datasets.labelled_structures import UnlabelledStructure
from hbcoop_dist.learning.splits.feature_rows import ElementBlocks
from hbcoop_dist.learning.splits.side_separation import separation, umap_coordinates
from hbcoop_dist.learning.splits.soap import FEATURES, soap_blocks, soap_features
from hbcoop_dist.learning.splits.strategies import farthest_points, split

PART = 500


def timed(name: str, action: Callable[[], Any], per: tuple[float, str] = (1.0, "s")) -> Any:
    start, start_cpu = time.perf_counter(), time.process_time()
    found = action()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:<42}{wall:10.1f}{cpu:10.1f}{cpu / per[0]:12.3f} {per[1]:<10}{peak:8.2f}", flush=True)
    return found


def made(count: int, metals: int) -> list[UnlabelledStructure]:
    found = []
    for place, one in enumerate(generate_clusters("neutral", count, 0, sizes=(3,))):
        numbers = one.numbers.copy()
        if metals:
            numbers[0] = 11 + place % metals
        found.append(replace(one, numbers=numbers, parent=str(place)))
    return found


def described(structures: list[UnlabelledStructure]) -> ElementBlocks:
    parts = [soap_blocks(structures[first : first + PART]) for first in range(0, len(structures), PART)]
    return ElementBlocks.join(
        [(one.rows, one.elements, one.count) for one in parts], (one.values for one in parts), FEATURES
    )


def split_all(structures: list[UnlabelledStructure], rows: Any, umap: bool) -> dict[str, Any]:
    count = len(structures)
    found = {"cluster": timed("split cluster, k-means of all", lambda: split("cluster", structures, rows))}
    order = timed(f"farthest points, {count // 2} steps", lambda: farthest_points(rows, 0, count // 2))
    found["maxsep_paper"] = timed("split maxsep_paper", lambda: split("maxsep_paper", structures, rows))
    apart = timed("separation", lambda: separation(rows, found["maxsep_paper"]))
    kept = found["maxsep_paper"]
    print(f"  {len(kept.test)} x {len(kept.train)} similarities, mean of the nearest {apart.mean:.4f}")
    if umap:
        timed("UMAP", lambda: umap_coordinates(rows), (count / 1000, "ms each"))
    return {**found, "order": order, "separation": apart}


def compare(one: dict[str, Any], other: dict[str, Any]) -> None:
    for kind in ("cluster", "maxsep_paper"):
        common = np.intersect1d(one[kind].test, other[kind].test)
        print(f"  {kind}: {len(common)} of {len(other[kind].test)} tested structures are the same")
    same = (one["order"] == other["order"]).argmin() if (one["order"] != other["order"]).any() else len(one["order"])
    shared = len(np.intersect1d(one["order"], other["order"]))
    print(f"  farthest points: the first {same} in the same order, {shared} of {len(one['order'])} the same")
    if np.array_equal(one["maxsep_paper"].test, other["maxsep_paper"].test):
        worst = np.abs(one["separation"].similarity - other["separation"].similarity).max()
        print(f"  similarities to the nearest differ by up to {worst:.1e}")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--structures", type=int, default=20_000)
    reader.add_argument("--metals", type=int, default=0, help="elements of which every structure has one")
    reader.add_argument("--umap", action="store_true", help="the picture as well")
    reader.add_argument("--compare", action="store_true", help="with dense float64")
    chosen = reader.parse_args()
    count = chosen.structures
    print(f"{platform.machine()}, 1 thread, {count} structures, {chosen.metals} metals")
    print(f"{'':<42}{'wall s':>10}{'CPU s':>10}{'':>12} {'':<10}{'peak GiB':>8}")
    structures = timed("generated", lambda: made(count, chosen.metals), (count / 1000, "ms each"))
    atoms = sum(len(one) for one in structures)
    rows = timed(f"SOAP, {atoms} atoms", lambda: described(structures), (atoms / 1000, "ms/atom"))
    dense = 4 * count * FEATURES * len(rows.species)
    print(
        f"  {len(rows.species)} elements, {rows.values.nbytes / 2**30:.2f} GiB of {dense / 2**30:.2f} GiB as a matrix"
    )
    found = split_all(structures, rows, chosen.umap)
    if chosen.compare:
        species = sorted({int(z) for one in structures for z in one.numbers})
        print("dense float64")
        matrix = timed(f"SOAP, {atoms} atoms", lambda: soap_features(structures, species), (atoms / 1000, "ms/atom"))
        compare(found, split_all(structures, matrix, chosen.umap))


if __name__ == "__main__":
    main()
