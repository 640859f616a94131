"""The labelled Zarr store of a campaign, its journal and its lock.

Making one: `prepare_store`, `Layout`. Joining several: `merge_stores`. Writing: `StoreWriter`, `Journal`, `StoreLock`.
Reading: `open_store`, `verify`. Giving away: `write_archive`. The schema, as data and as text: `VARIABLES`, `describe`.
"""

from hbcoop_dist.store.archive import is_archive, write_archive
from hbcoop_dist.store.create import prepare_store, recover
from hbcoop_dist.store.errors import (
    ProtocolMismatchError,
    StoreError,
    StoreLockedError,
    StoreSchemaError,
    StoreWriteError,
)
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.layout import Labels, Layout, static_variables
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.merge import merge_stores
from hbcoop_dist.store.paths import journal_path, kept_path, logs_path, progress_path, scratch_path
from hbcoop_dist.store.read import history_of, kind_of_store, open_store, verify
from hbcoop_dist.store.schema import (
    CELL_VARIABLES,
    DIMER_VARIABLES,
    SCHEMA_VERSION,
    STATIC_VARIABLES,
    VARIABLES,
    Variable,
    describe,
)
from hbcoop_dist.store.systems import SystemsWriter, has_systems, open_systems
from hbcoop_dist.store.writer import StoreWriter

__all__ = [
    "CELL_VARIABLES",
    "DIMER_VARIABLES",
    "SCHEMA_VERSION",
    "STATIC_VARIABLES",
    "VARIABLES",
    "Journal",
    "Labels",
    "Layout",
    "ProtocolMismatchError",
    "StoreError",
    "StoreLock",
    "StoreLockedError",
    "StoreSchemaError",
    "StoreWriteError",
    "StoreWriter",
    "SystemsWriter",
    "Variable",
    "describe",
    "has_systems",
    "history_of",
    "is_archive",
    "journal_path",
    "kept_path",
    "kind_of_store",
    "logs_path",
    "merge_stores",
    "open_store",
    "open_systems",
    "prepare_store",
    "progress_path",
    "recover",
    "scratch_path",
    "static_variables",
    "verify",
    "write_archive",
]
