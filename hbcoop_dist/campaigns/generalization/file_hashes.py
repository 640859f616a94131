"""Hashes of the files of a set, which are part of the keys of all tasks on it.

The files of a set of up to `WHOLE` bytes are hashed completely. Of a larger set, which would take minutes to hours to
read before anything is planned, each file contributes its size, both ends and blocks at regular distances. Databases
change their first bytes whenever they are written to; a byte that is changed in place in the middle of a large text
file is not detected. Names and times of files are not hashed, so that copies of a set have the same hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hbcoop_dist.learning.datasets.file_rows import content_files

WHOLE = 2**30
"""Bytes of a set up to which its files are hashed completely."""

_END, _BLOCK, _BLOCKS = 2**20, 2**16, 64


def hash_files(files: Sequence[Path | str]) -> tuple[str, ...]:
    """Return one SHA-256 for each file or folder of a set.

    Parameters
    ----------
    files : sequence of path

    Returns
    -------
    tuple of str
        Hexadecimal hashes in the order of `files`.

    Raises
    ------
    ReadError
        When one does not exist, or holds no set.
    """
    listings = [content_files(file) for file in files]
    size = sum(path.stat().st_size for listing in listings for path in listing)
    return tuple(_join([_hash(path, size > WHOLE) for path in listing]) for listing in listings)


def _join(hashes: list[str]) -> str:
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
