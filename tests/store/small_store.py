"""Labels of the small store that the tests of the store write into."""

from __future__ import annotations

from collections.abc import Mapping

from hbcoop_dist.core.results import Label

LABELS: Mapping[str, tuple[Label, ...]] = {
    "model": ("so3lr", "toy"),
    "pattern": ("arc", "linear"),
    "length": (2, 3, 4),
    "capping": ("none", "water"),
    "geometry": ("own",),
    "rotamer": ("default",),
}
