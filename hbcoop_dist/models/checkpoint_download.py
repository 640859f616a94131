"""Download published checkpoints into the user cache: verified, resumed, under a lock. Workers never download."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.models.checkpoints import (
    Checkpoint,
    CheckpointError,
    WrongCheckpointError,
    cache_folder,
    fetched_hash_path,
    find,
    sha256_of,
)

OFFLINE_VARIABLE = "HBCOOP_OFFLINE"
TIMEOUT_SECONDS = 30
Progress = Callable[[int, int], None]
"""Called with the bytes downloaded so far and their total number (0 when the server does not report it)."""


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
