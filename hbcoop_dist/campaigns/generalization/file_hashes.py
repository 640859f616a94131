"""What tells files of a set from others: hashes, which decide the keys of all that is made of them.

Sets of up to a gibibyte are hashed whole.  Of larger ones, where that would take from minutes to hours before anything
is planned, the sizes are hashed, both ends, and blocks spread over every file.  What a database or an LMDB has been
written to since differs at the front, where they count their changes; what is not noticed is a byte in the middle of a
large text file, changed in place.  Neither names nor times count, so a copy elsewhere is the same set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hbcoop_dist.learning.datasets.readers.file_rows import content_files

WHOLE = 2**30
"""Bytes of a set up to which its files are hashed whole."""

_END, _BLOCK, _BLOCKS = 2**20, 2**16, 64


def hash_files(files: Sequence[Path | str]) -> tuple[str, ...]:
    """One hash for each file or folder.

    Raises
    ------
    ReadError
        When one is not there, or is no set.
    """
    parts = [content_files(file) for file in files]
    size = sum(part.stat().st_size for listed in parts for part in listed)
    return tuple(_joined([_hash(part, size > WHOLE) for part in listed]) for listed in parts)


def _joined(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _hash(path: Path, sampled: bool) -> str:
    with path.open("rb") as file:
        if not sampled:
            return hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        digest = hashlib.sha256(f"sampled {size}".encode())
        digest.update(file.read(_END))
        for number in range(1, _BLOCKS):
            file.seek(size * number // _BLOCKS)
            digest.update(file.read(_BLOCK))
        file.seek(max(0, size - _END))
        digest.update(file.read(_END))
        return digest.hexdigest()
