"""Cost of the splits of a large set: SOAP, k-means, farthest points, nearest similarities, and the UMAP coordinates.

One thread, descriptors in blocks of float32, as in campaigns of more than 2,000 structures. Structures are generated
clusters of three neutral molecules; with ``--metals N`` one atom of each is one of N metals, as in sets of frameworks:
80 elements in all, few in each structure. Every structure is a parent of its own, the worst case for a
split. The peak memory is that of the whole process, packages included.

    python benchmarks/splits.py [--structures 20000] [--metals 70] [--umap] [--compare]

``--compare`` repeats the measurement with the dense float64 matrix of small sets and prints the differences.
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
from hbcoop_dist.learning.splits.soap_descriptors import FEATURES, soap_blocks, soap_features
from hbcoop_dist.learning.splits.strategies import farthest_points, separation, split, umap_coordinates

PART = 500


def timed(name: str, action: Callable[[], Any], per: tuple[float, str] = (1.0, "s")) -> Any:
    start, start_cpu = time.perf_counter(), time.process_time()
    result = action()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:<42}{wall:10.1f}{cpu:10.1f}{cpu / per[0]:12.3f} {per[1]:<10}{peak:8.2f}", flush=True)
    return result


def generate(count: int, metals: int) -> list[UnlabelledStructure]:
    structures = []
    for position, cluster in enumerate(generate_clusters("neutral", count, 0, sizes=(3,))):
        numbers = cluster.numbers.copy()
        if metals:
            numbers[0] = 11 + position % metals
        structures.append(replace(cluster, numbers=numbers, parent=str(position)))
    return structures


def describe(structures: list[UnlabelledStructure]) -> ElementBlocks:
    parts = [soap_blocks(structures[first : first + PART]) for first in range(0, len(structures), PART)]
    return ElementBlocks.join(
        [(part.rows, part.elements, part.count) for part in parts], (part.values for part in parts), FEATURES
    )


def split_all(structures: list[UnlabelledStructure], rows: Any, umap: bool) -> dict[str, Any]:
    count = len(structures)
    results = {"cluster": timed("split cluster, k-means of all", lambda: split("cluster", structures, rows))}
    order = timed(f"farthest points, {count // 2} steps", lambda: farthest_points(rows, 0, count // 2))
    results["maxsep_paper"] = timed("split maxsep_paper", lambda: split("maxsep_paper", structures, rows))
    sides = results["maxsep_paper"]
    nearest = timed("separation", lambda: separation(rows, sides))
    print(f"  {len(sides.test)} x {len(sides.train)} similarities, mean of the nearest {nearest.mean:.4f}")
    if umap:
        timed("UMAP", lambda: umap_coordinates(rows), (count / 1000, "ms each"))
    return {**results, "order": order, "separation": nearest}


def compare(blocks: dict[str, Any], dense: dict[str, Any]) -> None:
    for kind in ("cluster", "maxsep_paper"):
        common = np.intersect1d(blocks[kind].test, dense[kind].test)
        print(f"  {kind}: {len(common)} of {len(dense[kind].test)} tested structures are the same")
    differs = blocks["order"] != dense["order"]
    same = differs.argmax() if differs.any() else len(differs)
    shared = len(np.intersect1d(blocks["order"], dense["order"]))
    print(f"  farthest points: the first {same} in the same order, {shared} of {len(blocks['order'])} the same")
    if np.array_equal(blocks["maxsep_paper"].test, dense["maxsep_paper"].test):
        worst = np.abs(blocks["separation"].similarity - dense["separation"].similarity).max()
        print(f"  similarities to the nearest differ by up to {worst:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=20_000)
    parser.add_argument("--metals", type=int, default=0, help="elements of which every structure has one")
    parser.add_argument("--umap", action="store_true", help="UMAP coordinates as well")
    parser.add_argument("--compare", action="store_true", help="repeat with dense float64")
    chosen = parser.parse_args()
    count = chosen.structures
    print(f"{platform.machine()}, 1 thread, {count} structures, {chosen.metals} metals")
    print(f"{'':<42}{'wall s':>10}{'CPU s':>10}{'':>12} {'':<10}{'peak GiB':>8}")
    structures = timed("generation", lambda: generate(count, chosen.metals), (count / 1000, "ms each"))
    atoms = sum(map(len, structures))
    rows = timed(f"SOAP, {atoms} atoms", lambda: describe(structures), (atoms / 1000, "ms/atom"))
    dense = 4 * count * FEATURES * len(rows.species)
    print(
        f"  {len(rows.species)} elements, {rows.values.nbytes / 2**30:.2f} GiB of {dense / 2**30:.2f} GiB as a matrix"
    )
    by_blocks = split_all(structures, rows, chosen.umap)
    if chosen.compare:
        species = sorted({int(z) for structure in structures for z in structure.numbers})
        print("dense float64")
        matrix = timed(f"SOAP, {atoms} atoms", lambda: soap_features(structures, species), (atoms / 1000, "ms/atom"))
        compare(by_blocks, split_all(structures, matrix, chosen.umap))


if __name__ == "__main__":
    main()
