"""Download a checkpoint once, on a machine with internet: verified, resumed, under a lock; workers never do this."""

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
    find,
    first_seen,
    sha256_of,
)

OFFLINE_VARIABLE = "HBCOOP_OFFLINE"
TIMEOUT_SECONDS = 30
Progress = Callable[[int, int], None]
"""Gets the bytes that are here and the bytes there are in all (0 when the server does not say)."""


def fetch(card: ModelCard, progress: Progress = lambda here, total: None) -> Checkpoint:
    """The checkpoint of a card, downloaded into the user cache unless it is somewhere already.

    Raises
    ------
    CheckpointError
        When a copy that is here is not the card's, the card names no public address (or, of a pickle, no hash),
        ``HBCOOP_OFFLINE`` forbids it, the download breaks off (the next one goes on from there), or what came is not
        the card's.
    """
    if card.checkpoint is None:
        raise CheckpointError(f"model {card.name}: its parameters come with a package, there is nothing to fetch")
    kept = cache_folder() / card.checkpoint
    if found := _here(card, kept):
        return found
    if card.url is None or (card.pickled and card.sha256 is None):
        raise CheckpointError(f"model {card.name}: expected a public address and a hash in its card, found none")
    if os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0"):
        raise CheckpointError(
            f"model {card.name}: expected leave to download, found {OFFLINE_VARIABLE} set; {_by_hand(card.url, kept)}"
        )
    from filelock import FileLock

    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.with_name(f"{kept.name}.lock")):
        # another process may have fetched it meanwhile
        return _here(card, kept) or _fetched(card, card.url, kept, progress)


def _by_hand(url: str, kept: Path) -> str:
    return f"a machine with internet can fetch {url}; it belongs at {kept}"


def _here(card: ModelCard, kept: Path) -> Checkpoint | None:
    """A copy that is here already; a wrong one of our own is removed, a user's own is not."""
    try:
        return find(card)
    except WrongCheckpointError as error:
        if error.path != kept:
            raise
        _remove(kept)
    except CheckpointError:
        pass
    return None


def _fetched(card: ModelCard, url: str, kept: Path, progress: Progress) -> Checkpoint:
    folder = card.options.get("archive")
    if isinstance(folder, str):
        archive = kept.with_name(f"{kept.name}.zip")
        _download(card, url, None, archive, progress)
        _unpack(card, archive, folder, kept)
    else:
        _download(card, url, card.sha256, kept, progress)
        if card.sha256 is None:
            first_seen(kept).write_text(sha256_of(kept))
    try:
        return find(card)
    except WrongCheckpointError as error:
        _remove(kept)
        raise CheckpointError(f"model {card.name}: what {url} sent is not its checkpoint: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _unpack(card: ModelCard, archive: Path, folder: str, kept: Path) -> None:
    """One folder of an archive, there as a whole or not at all."""
    part = kept.with_name(f"{kept.name}.unpacked")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.startswith(f"{folder}/")]
            if not names:
                raise CheckpointError(f"model {card.name}: expected folder {folder} in {card.url}, found none")
            opened.extractall(part, names)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"model {card.name}: what {card.url} sent is no zip archive: {error}") from error
    finally:
        archive.unlink()
    (part / folder).rename(kept)
    shutil.rmtree(part)


def _download(card: ModelCard, url: str, sha256: str | None, kept: Path, progress: Progress) -> None:
    import pooch
    import requests

    # it says where from and where to, on stderr, in the middle of the bar
    pooch.get_logger().setLevel("WARNING")
    part = kept.with_name(f"{kept.name}.part")

    def resume(url: str, output: str, _: object) -> None:
        _append(url, part, progress)
        shutil.copyfile(part, output)

    known = None if sha256 is None else f"sha256:{sha256}"
    try:
        pooch.retrieve(url, known, kept.name, kept.parent, downloader=resume)
    except requests.RequestException as error:
        begun = part.exists() and part.stat().st_size
        next_ = "what has come is kept, the same command goes on from there" if begun else _by_hand(url, kept)
        raise CheckpointError(f"model {card.name}: {error}; {next_}") from error
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"model {card.name}: what {url} sent is not its checkpoint: expected sha256 {sha256}"
        ) from error
    part.unlink(missing_ok=True)


def _append(url: str, part: Path, progress: Progress) -> None:
    """Load what a file still lacks; a server that cannot send the rest sends the whole."""
    import requests

    here = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={here}-"} if here else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            here = 0
        total = here + int(answer.headers.get("content-length", 0))
        with part.open("ab" if here else "wb") as file:
            for chunk in answer.iter_content(2**16):
                file.write(chunk)
                here += len(chunk)
                progress(here, total)


def accepted(card: ModelCard) -> bool:
    """Whether the licence of a card need not be accepted, or was once."""
    return not card.restricted or card.licence in _acceptances()


def accept(card: ModelCard) -> None:
    """Note that the user has accepted a licence."""
    path = _acceptances_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**_acceptances(), card.licence: datetime.now(UTC).isoformat(timespec="seconds")}))


def _acceptances_path() -> Path:
    return cache_folder() / "accepted-licences.json"


def _acceptances() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(_acceptances_path().read_text())
    except FileNotFoundError:
        return {}
    return found
