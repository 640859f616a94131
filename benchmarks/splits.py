"""What a split of a large set costs: SOAP, k-means, farthest points, similarities to the nearest, and the UMAP picture.

One thread.  Structures are generated neutral clusters; every one is a parent of its own, the most that a split can have
to do.  The peak is that of the whole process, packages included.

    python benchmarks/splits.py [--structures 20000] [--umap]
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


from hbcoop_dist.generalization.clusters import clusters
from hbcoop_dist.generalization.farthest_points import farthest_points
from hbcoop_dist.generalization.separation import flat_map, separation
from hbcoop_dist.generalization.soap import features
from hbcoop_dist.generalization.splits import split


def timed(name: str, action: Callable[[], Any], per: tuple[float, str] = (1.0, "s")) -> Any:
    start, start_cpu = time.perf_counter(), time.process_time()
    found = action()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:<42}{wall:10.1f}{cpu:10.1f}{cpu / per[0]:12.3f} {per[1]:<10}{peak:8.2f}", flush=True)
    return found


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--structures", type=int, default=20_000)
    reader.add_argument("--umap", action="store_true", help="the picture as well")
    chosen = reader.parse_args()
    count = chosen.structures
    print(f"{platform.machine()}, 1 thread, {count} structures; farthest points in float32, all else in float64")
    print(f"{'':<42}{'wall s':>10}{'CPU s':>10}{'':>12} {'':<10}{'peak GiB':>8}")
    made = timed("generated", lambda: clusters("neutral", count, 0, sizes=(3,)), (count / 1000, "ms each"))
    made = [replace(one, parent=str(place)) for place, one in enumerate(made)]
    atoms = sum(len(one) for one in made)
    rows = timed(f"SOAP, {atoms} atoms", lambda: features(made, (1, 6, 7, 8)), (atoms / 1000, "ms/atom"))
    print(f"  {rows.shape[1]} features, {rows.nbytes / 2**30:.2f} GiB")
    timed("split cluster, k-means of all", lambda: split("cluster", made, rows))
    timed(f"farthest points, {count // 2} steps", lambda: farthest_points(rows, 0, count // 2))
    kept = timed("split maxsep_paper", lambda: split("maxsep_paper", made, rows))
    found = timed("separation", lambda: separation(rows, kept))
    print(f"  {len(kept.test)} x {len(kept.train)} similarities, mean of the nearest {found.mean:.4f}")
    if chosen.umap:
        timed("UMAP", lambda: flat_map(rows), (count / 1000, "ms each"))


if __name__ == "__main__":
    main()
