"""Splits of a set by chemical space, and how far apart their sides are."""

from hbcoop_dist.learning.splits.side_separation import Separation, separation, umap_coordinates
from hbcoop_dist.learning.splits.soap_descriptors import soap_blocks, soap_features
from hbcoop_dist.learning.splits.strategies import Split, split

__all__ = ["Separation", "Split", "separation", "soap_blocks", "soap_features", "split", "umap_coordinates"]
