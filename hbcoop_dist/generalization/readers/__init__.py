"""Files of labelled structures, one reader a format: any structure at any time, none kept in memory."""

from hbcoop_dist.generalization.readers.files import files_of
from hbcoop_dist.generalization.readers.open_rows import open_rows
from hbcoop_dist.generalization.readers.rows import Rows

__all__ = ["Rows", "files_of", "open_rows"]
