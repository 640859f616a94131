"""Find the parameters of models on disk, identify them by hash, and download those that are missing.

Nothing is unpickled, and no package of a model is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.models.base import ModelCard, ModelError

CHECKPOINTS_VARIABLE = "HBCOOP_CHECKPOINTS"
CACHE_VARIABLE = "HBCOOP_CACHE"
OFFLINE_VARIABLE = "HBCOOP_OFFLINE"
TIMEOUT_SECONDS = 30
Progress = Callable[[int, int], None]
"""Called with the bytes downloaded so far and their total number (0 when the server does not report it)."""


class CheckpointError(ModelError):
    """A checkpoint is missing, or is not the one its card describes."""


class WrongCheckpointError(CheckpointError):
    """A checkpoint exists and is not the one its card describes.

    Parameters
    ----------
    message : str
    path : Path
        The checkpoint.
    """

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
    """

    path: Path
    sha256: str


def cache_folder() -> Path:
    """Folder of downloaded checkpoints: ``HBCOOP_CACHE``, or the user's cache folder of this platform."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("hbcoop") / "checkpoints"


def find(card: ModelCard, path: str | os.PathLike[str] | None = None) -> Checkpoint:
    """Find a card's checkpoint and verify its hash.

    The first existing file or folder is taken of: `path`, the folders of ``HBCOOP_CHECKPOINTS`` and their subfolders,
    the user cache, the cache of the model's package. If its hash is wrong, the search ends with an error.

    Parameters
    ----------
    card : ModelCard
    path : path, optional
        Path in the spec; no other copy is used in its place.

    Raises
    ------
    CheckpointError
        When no checkpoint exists (the message lists the folders searched) or its hash is not the card's.
    """
    if card.checkpoint.file is None and path is None:
        raise CheckpointError(f"model {card.name}: its parameters come with a package, there is no checkpoint to find")
    candidates = [Path(path).expanduser()] if path is not None else list(dict.fromkeys(_candidates(card)))
    for candidate in candidates:
        if candidate.exists():
            return Checkpoint(candidate, _verified(card, candidate))
    if path is not None:
        raise CheckpointError(f"model {card.name}: expected its checkpoint at {path}, found none")
    folders = ", ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates))
    remedies = [f"put it into a folder named by {CHECKPOINTS_VARIABLE}", "give its path in the spec"]
    if card.checkpoint.url:
        remedies.insert(0, f"fetch it with: hbcoop models fetch {card.name}")
    raise CheckpointError(
        f"model {card.name}: expected checkpoint {card.checkpoint.file}, found none in {folders}; "
        f"{', or '.join(remedies)}"
    )


def _candidates(card: ModelCard) -> Iterator[Path]:
    name = card.checkpoint.file
    assert name is not None
    for entry in os.environ.get(CHECKPOINTS_VARIABLE, "").split(os.pathsep):
        if not entry:
            continue
        folder = Path(entry).expanduser()
        yield folder / name
        if folder.is_dir():
            yield from (sub / name for sub in sorted(folder.iterdir()) if (sub / name).exists())
    yield cache_folder() / name
    if package_cache := _PACKAGE_CACHES.get(card.family):
        yield from package_cache(card, name)


def _mace_cache(_: ModelCard, name: str) -> Iterator[Path]:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mace"
    yield folder / name
    # Older versions of mace-torch remove the punctuation.
    yield folder / re.sub(r"\W", "", name)


def _orb_cache(card: ModelCard, _: str) -> Iterator[Path]:
    """Files of cached_path, newest first; named after the hash of the address, a dot, the hash of the server's tag."""
    if card.checkpoint.url is None:
        return
    folder = Path(os.environ.get("CACHED_PATH_CACHE_ROOT") or Path.home() / ".cache" / "cached_path")
    prefix = hashlib.sha256(card.checkpoint.url.encode()).hexdigest()
    paths = [path for path in folder.glob(f"{prefix}*") if path.suffix not in (".json", ".lock")]
    yield from sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def _torchani_cache(_: ModelCard, name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec("torchani")
    roots = spec.submodule_search_locations or () if spec else ()
    for folder in (*(Path(root) / "resources" for root in roots), Path.home() / ".local" / "torchani"):
        info = folder / f"{name}.info"
        # Wheels contain the files, all of them empty; torchani too checks the size of this one.
        if info.exists() and info.stat().st_size:
            yield folder / name


def _aimnet_cache(_: ModelCard, name: str) -> Iterator[Path]:
    yield Path(os.environ.get("AIMNET_CACHE_DIR") or Path.home() / ".cache" / "aimnet") / name


# Where the package of a family keeps its own downloads.
_PACKAGE_CACHES: Mapping[str, Callable[[ModelCard, str], Iterator[Path]]] = {
    "aimnet": _aimnet_cache,
    "ani": _torchani_cache,
    "mace": _mace_cache,
    "orb": _orb_cache,
}


def identity(card: ModelCard, path: str | os.PathLike[str] | None = None) -> str:
    """Hash of a model's parameters, which is part of its task keys.

    It is the hash of the checkpoint where there is one, that of the parameters shipped in a package (the card's, where
    the package is not installed), or a hash of family and method where the parameters are compiled into a library.

    Parameters
    ----------
    card : ModelCard
    path : path, optional
        Path of the checkpoint in the spec.

    Raises
    ------
    CheckpointError
        When the checkpoint is missing or is not the card's.
    """
    if card.checkpoint.file is not None or path is not None:
        return find(card, path).sha256
    if shipped := embedded(card):
        return shipped.sha256
    if card.checkpoint.sha256 is not None:
        return card.checkpoint.sha256
    method = f"{card.family}:{card.options.get('method', card.name)}"
    return hashlib.sha256(method.encode()).hexdigest()


def embedded(card: ModelCard) -> Checkpoint | None:
    """Find and verify the parameters shipped in a card's package.

    Parameters
    ----------
    card : ModelCard
        Its ``options["embedded"]`` is ``package:path/in/package``.

    Returns
    -------
    Checkpoint or None
        None when the card has no such option or the package is not installed.

    Raises
    ------
    CheckpointError
        When the package does not contain the file, or another one.
    """
    location = card.options.get("embedded")
    if not isinstance(location, str):
        return None
    package, _, relative = location.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    for root in spec.submodule_search_locations:
        path = Path(root) / relative
        if path.exists():
            return Checkpoint(path, _verified(card, path))
    raise CheckpointError(f"model {card.name}: expected parameters {relative} in package {package}, found none")


def given_or_embedded(card: ModelCard, checkpoint: Path | None) -> Path:
    """Path of a checkpoint, or of the parameters shipped in the card's package when there is none.

    Parameters
    ----------
    card : ModelCard
    checkpoint : Path or None

    Raises
    ------
    CheckpointError
        When there is neither.
    """
    shipped = embedded(card) if checkpoint is None else None
    path = checkpoint or (shipped.path if shipped else None)
    if path is None:
        raise CheckpointError(
            f"model {card.name}: expected a checkpoint or parameters shipped with its package, found neither"
        )
    return path


def _verified(card: ModelCard, path: Path) -> str:
    """Hash of a checkpoint, after comparing it with the expected one."""
    patterns = _patterns(card)
    if path.is_dir() and not any(True for pattern in patterns for _ in path.glob(pattern)):
        raise CheckpointError(f"model {card.name}: expected files {', '.join(patterns)} in {path}, found none")
    if path.is_file() and not path.stat().st_size:
        raise WrongCheckpointError(f"model {card.name}: expected a checkpoint in {path}, found an empty file", path)
    sha256, expected = sha256_of(path, patterns), card.checkpoint.sha256
    if expected is not None and sha256 != expected:
        raise WrongCheckpointError(
            f"model {card.name}: {path} is not its checkpoint (another model, or a truncated or re-saved copy): "
            f"expected sha256 {expected}, found {sha256}",
            path,
        )
    record = fetched_hash_path(path)
    if expected is None and record.exists() and sha256 != (fetched := record.read_text().strip()):
        raise WrongCheckpointError(
            f"model {card.name}: {path} has changed since it was fetched: expected sha256 {fetched} as in "
            f"{record.name}, found {sha256}",
            path,
        )
    return sha256


def fetched_hash_path(path: Path) -> Path:
    """File beside a fetched checkpoint without a published hash that contains its hash at the time of the download.

    Parameters
    ----------
    path : Path
        The checkpoint.
    """
    return path.with_name(f"{path.name}.sha256")


def _patterns(card: ModelCard) -> tuple[str, ...]:
    patterns = card.options.get("files", ("**/*",))
    assert isinstance(patterns, tuple)
    return patterns


def sha256_of(path: Path, patterns: tuple[str, ...] = ("**/*",)) -> str:
    """Hash a file, or files of a folder: their sorted relative names and contents.

    Parameters
    ----------
    path : Path
        File or folder.
    patterns : tuple of str
        Glob patterns of the files in a folder that count.
    """
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


def parameter_hash(parameters: Mapping[str, AnyArray]) -> str:
    """Hash named arrays, independently of their order and of the file format they were saved in.

    Parameters
    ----------
    parameters : mapping of str to array
    """
    total = hashlib.sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return total.hexdigest()


def fetch(card: ModelCard, progress: Progress = lambda downloaded, total: None) -> Checkpoint:
    """Download the checkpoint of a card into the user cache, unless it is found on disk.

    Parameters
    ----------
    card : ModelCard
    progress : callable, optional

    Raises
    ------
    CheckpointError
        When a copy on disk is not the card's checkpoint, the card has no public address (or, for a pickle, no hash),
        ``HBCOOP_OFFLINE`` is set, the download is interrupted (the next call resumes it), or the downloaded file is
        not the card's checkpoint.
    """
    info = card.checkpoint
    if info.file is None:
        raise CheckpointError(f"model {card.name}: its parameters come with a package, there is nothing to fetch")
    target = cache_folder() / info.file
    if local := _find_local(card, target):
        return local
    if info.url is None or (info.pickled and info.sha256 is None):
        raise CheckpointError(f"model {card.name}: expected a public address and a hash in its card, found none")
    if os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0"):
        raise CheckpointError(
            f"model {card.name}: expected permission to download, found {OFFLINE_VARIABLE} set; "
            f"{_manual_download(info.url, target)}"
        )
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{target.name}.lock")):
        # Another process may have fetched it in the meantime.
        return _find_local(card, target) or _fetch(card, info.url, target, progress)


def _manual_download(url: str, target: Path) -> str:
    return f"a machine with internet can fetch {url}; it belongs at {target}"


def _find_local(card: ModelCard, target: Path) -> Checkpoint | None:
    """Find a copy on disk; remove a wrong one from the cache, but never a user's own file."""
    try:
        return find(card)
    except WrongCheckpointError as error:
        if error.path != target:
            raise
        _remove(target)
    except CheckpointError:
        pass
    return None


def _fetch(card: ModelCard, url: str, target: Path, progress: Progress) -> Checkpoint:
    folder = card.options.get("archive")
    if isinstance(folder, str):
        archive = target.with_name(f"{target.name}.zip")
        _download(card, url, None, archive, progress)
        _unpack(card, archive, folder, target)
    else:
        _download(card, url, card.checkpoint.sha256, target, progress)
        if card.checkpoint.sha256 is None:
            fetched_hash_path(target).write_text(sha256_of(target))
    try:
        return find(card)
    except WrongCheckpointError as error:
        _remove(target)
        raise CheckpointError(f"model {card.name}: the file from {url} is not its checkpoint: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _unpack(card: ModelCard, archive: Path, folder: str, target: Path) -> None:
    """Move one folder of an archive to its place as a whole, or not at all."""
    partial = target.with_name(f"{target.name}.unpacked")
    shutil.rmtree(partial, ignore_errors=True)
    url = card.checkpoint.url
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.startswith(f"{folder}/")]
            if not names:
                raise CheckpointError(f"model {card.name}: expected folder {folder} in {url}, found none")
            opened.extractall(partial, names)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"model {card.name}: expected a zip archive from {url}, found {error}") from error
    finally:
        archive.unlink()
    (partial / folder).rename(target)
    shutil.rmtree(partial)


def _download(card: ModelCard, url: str, sha256: str | None, target: Path, progress: Progress) -> None:
    import pooch
    import requests

    # pooch reports source and target on stderr, in the middle of the progress bar.
    pooch.get_logger().setLevel("WARNING")
    partial = target.with_name(f"{target.name}.part")

    def resume(url: str, output: str, _: object) -> None:
        _append(url, partial, progress)
        shutil.copyfile(partial, output)

    expected = None if sha256 is None else f"sha256:{sha256}"
    try:
        pooch.retrieve(url, expected, target.name, target.parent, downloader=resume)
    except requests.RequestException as error:
        begun = partial.exists() and partial.stat().st_size
        remedy = "the same command resumes the download" if begun else _manual_download(url, target)
        raise CheckpointError(f"model {card.name}: {error}; {remedy}") from error
    except ValueError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"model {card.name}: the file from {url} is not its checkpoint: expected sha256 {sha256}"
        ) from error
    partial.unlink(missing_ok=True)


def _append(url: str, partial: Path, progress: Progress) -> None:
    """Download the missing rest of a file, or all of it where the server does not support ranges."""
    import requests

    size = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={size}-"} if size else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            size = 0
        total = size + int(answer.headers.get("content-length", 0))
        with partial.open("ab" if size else "wb") as file:
            for chunk in answer.iter_content(2**16):
                file.write(chunk)
                size += len(chunk)
                progress(size, total)


def accepted(card: ModelCard) -> bool:
    """Whether the licence of a card needs no acceptance, or the user has accepted it.

    Parameters
    ----------
    card : ModelCard
    """
    return not card.checkpoint.restricted or card.about.licence in _acceptances()


def accept(card: ModelCard) -> None:
    """Record that the user has accepted a card's licence.

    Parameters
    ----------
    card : ModelCard
    """
    path = _acceptances_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path.write_text(json.dumps({**_acceptances(), card.about.licence: now}))


def _acceptances_path() -> Path:
    return cache_folder() / "accepted-licences.json"


def _acceptances() -> dict[str, str]:
    try:
        acceptances: dict[str, str] = json.loads(_acceptances_path().read_text())
    except FileNotFoundError:
        return {}
    return acceptances
