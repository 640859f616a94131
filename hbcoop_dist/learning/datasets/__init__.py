"""Labelled sets: structures, their generation and labelling, and files."""

from hbcoop_dist.learning.datasets.frames import ReadError, ReadOptions
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure, UnlabelledStructure
from hbcoop_dist.learning.datasets.set_files import read_set, write_set

__all__ = [
    "LabelledSet",
    "LabelledStructure",
    "ReadError",
    "ReadOptions",
    "UnlabelledStructure",
    "read_set",
    "write_set",
]
