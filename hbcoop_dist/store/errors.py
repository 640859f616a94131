"""One family of errors, so that callers catch everything the store refuses with a single ``except StoreError``."""

from __future__ import annotations


class StoreError(Exception):
    """The store, its journal or its lock refuses something; the message names what was expected and found."""


class StoreLockedError(StoreError):
    """Another driver holds the store."""


class StoreSchemaError(StoreError):
    """The path is not a store of ours, or it was written with another schema version."""


class ProtocolMismatchError(StoreError):
    """The store was made with another protocol than the one asked for."""
