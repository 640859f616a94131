"""Labelled Zarr store of a campaign, driven by the schema of its kind, with its journal, lock and archives."""

from hbcoop_dist.store.creation import Definitions, prepare_store, recover
from hbcoop_dist.store.journal import Journal, PayloadTypes, payload_types
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.merge import merge_stores
from hbcoop_dist.store.paths import (
    ProtocolMismatchError,
    StoreError,
    StoreLockedError,
    StoreSchemaError,
    StoreWriteError,
    arrays_path,
    is_archive,
    journal_path,
    logs_path,
    models_path,
    progress_path,
    scratch_path,
)
from hbcoop_dist.store.reading import history_of, kind_of_store, open_store, verify, write_archive
from hbcoop_dist.store.schema import Axis, Schema, Table, Variable, describe, status_variables, variables
from hbcoop_dist.store.writer import StoreWriter

__all__ = [
    "Axis",
    "Definitions",
    "Journal",
    "Layout",
    "PayloadTypes",
    "ProtocolMismatchError",
    "Schema",
    "StoreError",
    "StoreLock",
    "StoreLockedError",
    "StoreSchemaError",
    "StoreWriteError",
    "StoreWriter",
    "Table",
    "Variable",
    "arrays_path",
    "describe",
    "history_of",
    "is_archive",
    "journal_path",
    "kind_of_store",
    "logs_path",
    "merge_stores",
    "models_path",
    "open_store",
    "payload_types",
    "prepare_store",
    "progress_path",
    "recover",
    "scratch_path",
    "status_variables",
    "variables",
    "verify",
    "write_archive",
]
