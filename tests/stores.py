"""Two stores side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hbcoop_dist as hb

INCIDENTAL = ("seconds", "computed_at", "host")


def differences(one: Path, other: Path, within: float = 0.0) -> list[str]:
    """Variables in which two stores differ, timings and hosts aside."""
    a, b = (hb.open_store(path).load() for path in (one, other))
    found = []
    for name in sorted((set(a.variables) | set(b.variables)) - set(INCIDENTAL)):
        x, y = a[name].values, b[name].values
        if x.shape != y.shape:
            found.append(f"{name}: {x.shape} {y.shape}")
        elif x.dtype.kind == "f":
            if not np.allclose(x, y, rtol=0.0, atol=within, equal_nan=True):
                found.append(f"{name}: {np.nanmax(np.abs(x - y))}")
        elif not np.array_equal(x, y):
            found.append(str(name))
    return found
