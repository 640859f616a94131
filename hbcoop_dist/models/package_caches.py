"""Where the packages of models keep what they have downloaded themselves, so that nothing is downloaded twice."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hbcoop_dist.models.base import ModelCard


def places(card: ModelCard) -> Iterator[Path]:
    """Paths at which the package of a card's family would keep its checkpoint, whether or not they exist."""
    if card.checkpoint is not None and (known := _KNOWN.get(card.family)):
        yield from known(card, card.checkpoint)


def _mace(_: ModelCard, checkpoint: str) -> Iterator[Path]:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mace"
    yield folder / checkpoint
    # older versions drop the punctuation
    yield folder / re.sub(r"\W", "", checkpoint)


def _orb(card: ModelCard, _: str) -> Iterator[Path]:
    """Files of cached_path: the hash of the address, a dot, the hash of the server's tag; the newest first."""
    if card.url is None:
        return
    folder = Path(os.environ.get("CACHED_PATH_CACHE_ROOT") or Path.home() / ".cache" / "cached_path")
    start = hashlib.sha256(card.url.encode()).hexdigest()
    found = [path for path in folder.glob(f"{start}*") if path.suffix not in (".json", ".lock")]
    yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _torchani(_: ModelCard, checkpoint: str) -> Iterator[Path]:
    spec = importlib.util.find_spec("torchani")
    roots = spec.submodule_search_locations or () if spec else ()
    for folder in (*(Path(root) / "resources" for root in roots), Path.home() / ".local" / "torchani"):
        info = folder / f"{checkpoint}.info"
        # wheels come with the files, all of them empty; torchani itself goes by the size of this one
        if info.exists() and info.stat().st_size:
            yield folder / checkpoint


def _aimnet(_: ModelCard, checkpoint: str) -> Iterator[Path]:
    yield Path(os.environ.get("AIMNET_CACHE_DIR") or Path.home() / ".cache" / "aimnet") / checkpoint


_KNOWN = {"aimnet": _aimnet, "mace": _mace, "orb": _orb, "ani": _torchani}
