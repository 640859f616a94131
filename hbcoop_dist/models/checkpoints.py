"""Find a model's parameters on disk and say what they are: by hash, never by name alone.  Torch-free.

A planner on a login node asks here for the hash that goes into every task key, so nothing is unpickled and no
model package is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models import package_caches
from hbcoop_dist.models.base import ModelCard, ModelError

CHECKPOINTS_VARIABLE = "HBCOOP_CHECKPOINTS"
CACHE_VARIABLE = "HBCOOP_CACHE"


class CheckpointError(ModelError):
    """A checkpoint is missing, or is not the one its card names."""


class WrongCheckpointError(CheckpointError):
    """A checkpoint is there and is not the one its card names; `path` is where."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Parameters on disk.

    Attributes
    ----------
    path : Path
        File or folder.
    sha256 : str
        Hash of the file, or of the files that matter in the folder.
    source : str
        Where it was found: ``spec``, ``HBCOOP_CHECKPOINTS``, ``cache``, ``package cache`` or ``embedded``.
    """

    path: Path
    sha256: str
    source: str


def cache_folder() -> Path:
    """Folder of downloaded checkpoints: ``HBCOOP_CACHE``, or the user's cache folder of this platform."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("hbcoop") / "checkpoints"


def find(card: ModelCard, path: str | os.PathLike[str] | None = None) -> Checkpoint:
    """Find a card's checkpoint and verify its hash.

    Looked at, in order: `path` (the spec's), every folder of ``HBCOOP_CHECKPOINTS`` and its subfolders, the user
    cache, the cache of the family's own package.  The first that exists decides: a wrong hash there is an error, not a
    reason to look further.

    Raises
    ------
    CheckpointError
        When nothing is found (the message lists what was looked at) or the hash is not the card's.
    """
    if card.checkpoint is None and path is None:
        raise CheckpointError(f"model {card.name}: its parameters come with a package, there is no checkpoint to find")
    looked_at: list[Path] = []
    for source, candidate in _candidates(card, path):
        if candidate in looked_at:
            continue
        looked_at.append(candidate)
        if candidate.exists():
            return Checkpoint(candidate, _verified(card, candidate), source)
    raise CheckpointError(_nowhere(card, path, looked_at))


def _nowhere(card: ModelCard, path: str | os.PathLike[str] | None, looked_at: list[Path]) -> str:
    if path is not None:
        return f"model {card.name}: expected its checkpoint at {path}, found none"
    folders = ", ".join(dict.fromkeys(str(place.parent) for place in looked_at))
    remedies = [f"put it into a folder named by {CHECKPOINTS_VARIABLE}", "give its path in the spec"]
    if card.url:
        remedies.insert(0, f"fetch it with: hbcoop models fetch {card.name}")
    return (
        f"model {card.name}: expected checkpoint {card.checkpoint}, found none in {folders}; {', or '.join(remedies)}"
    )


def _candidates(card: ModelCard, path: str | os.PathLike[str] | None) -> Iterator[tuple[str, Path]]:
    if path is not None:
        # A path in the spec is a promise: never replace it silently by another copy.
        yield "spec", Path(path).expanduser()
        return
    assert card.checkpoint is not None
    for entry in os.environ.get(CHECKPOINTS_VARIABLE, "").split(os.pathsep):
        if not entry:
            continue
        folder = Path(entry).expanduser()
        yield CHECKPOINTS_VARIABLE, folder / card.checkpoint
        if folder.is_dir():
            for below in sorted(child for child in folder.iterdir() if child.is_dir()):
                if (below / card.checkpoint).exists():
                    yield CHECKPOINTS_VARIABLE, below / card.checkpoint
    yield "cache", cache_folder() / card.checkpoint
    for place in package_caches.places(card):
        yield "package cache", place


def identity(card: ModelCard, path: str | os.PathLike[str] | None = None) -> str:
    """Hash that decides the task keys of a model, known without importing its package.

    The checkpoint's hash where there is one; the shipped file's for embedded weights (the card's where the package
    is not installed, as on a login node); a hash of family and method for parameters compiled into a library.

    Raises
    ------
    CheckpointError
        When the checkpoint is missing or is not the card's.
    """
    if card.checkpoint is not None or path is not None:
        return find(card, path).sha256
    if shipped := embedded(card):
        return shipped.sha256
    if card.sha256 is not None:
        return card.sha256
    method = f"{card.family}:{card.options.get('method', card.name)}"
    return hashlib.sha256(method.encode()).hexdigest()


def embedded(card: ModelCard) -> Checkpoint | None:
    """The weights shipped inside a card's package, verified; None when there are none or it is not installed.

    A card names them in ``options["embedded"]`` as ``package:path/inside``.
    """
    place = card.options.get("embedded")
    if not isinstance(place, str):
        return None
    package, _, inside = place.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    for root in spec.submodule_search_locations:
        path = Path(root) / inside
        if path.exists():
            return Checkpoint(path, _verified(card, path), "embedded")
    raise CheckpointError(f"model {card.name}: expected weights {inside} inside package {package}, found none")


def _verified(card: ModelCard, path: Path) -> str:
    patterns = _patterns(card)
    if path.is_dir() and not any(True for pattern in patterns for _ in path.glob(pattern)):
        raise CheckpointError(f"model {card.name}: expected files {', '.join(patterns)} in {path}, found none")
    if path.is_file() and not path.stat().st_size:
        raise WrongCheckpointError(f"model {card.name}: expected a checkpoint in {path}, found an empty file", path)
    found = sha256_of(path, patterns)
    if card.sha256 is not None and found != card.sha256:
        raise WrongCheckpointError(
            f"model {card.name}: {path} is not its checkpoint (another model, or a truncated or re-saved copy): "
            f"expected sha256 {card.sha256}, found {found}",
            path,
        )
    seen = first_seen(path)
    if card.sha256 is None and seen.exists() and found != seen.read_text().strip():
        raise WrongCheckpointError(
            f"model {card.name}: {path} is not what was fetched: expected sha256 {seen.read_text().strip()} as in "
            f"{seen.name}, found {found}",
            path,
        )
    return found


def first_seen(path: Path) -> Path:
    """File that keeps the hash of a checkpoint as it came, where nobody has published one."""
    return path.with_name(f"{path.name}.sha256")


def _patterns(card: ModelCard) -> tuple[str, ...]:
    patterns = card.options.get("files", ("**/*",))
    assert isinstance(patterns, tuple)
    return patterns


def sha256_of(path: Path, patterns: tuple[str, ...] = ("**/*",)) -> str:
    """Sha256 of a file, or of the files in a folder that match `patterns`: sorted relative names and contents."""
    if path.is_file():
        return _file_hash(path).hexdigest()
    names = sorted({file.relative_to(path).as_posix() for p in patterns for file in path.glob(p) if file.is_file()})
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\0".encode() + _file_hash(path / name).digest())
    return total.hexdigest()


def _file_hash(path: Path) -> hashlib._Hash:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256")


def parameter_hash(parameters: Mapping[str, NDArray[np.generic]]) -> str:
    """Sha256 of named arrays in name order: the same for every way of saving the same parameters."""
    total = hashlib.sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return total.hexdigest()
