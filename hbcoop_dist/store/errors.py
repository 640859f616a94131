"""One family of errors, so that callers catch everything the store refuses with a single ``except StoreError``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class StoreError(Exception):
    """The store, its journal or its lock refuses something; the message names what was expected and found."""


class StoreLockedError(StoreError):
    """Another driver holds the store."""


class StoreSchemaError(StoreError):
    """The path is not a store of ours, or it was written with another schema version."""


class StoreWriteError(StoreError):
    """The disk refuses: full, gone, read-only. What was kept before is there, and the same run goes on from it."""


class ProtocolMismatchError(StoreError):
    """The store was made with another protocol than the one asked for."""


@contextlib.contextmanager
def writing(what: object) -> Iterator[None]:
    """Name what was being written when the disk refuses."""
    try:
        yield
    except OSError as error:
        raise StoreWriteError(f"{what}: expected room and leave to write, found {error}") from error
