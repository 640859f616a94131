"""One store of several: every cell from the store that has it, journals and marked systems too.

The new store is built beside its path and renamed into it when it is whole; the others are only read.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.store.archive import refuse_archive
from hbcoop_dist.store.create import differences, history, swap
from hbcoop_dist.store.errors import ProtocolMismatchError, StoreError, writing
from hbcoop_dist.store.group import HBOND, OpenGroup, build, check_kind, open_group
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.merge_systems import merge_systems
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.schema import STATUS_NAMES, VARIABLES, Kind, variables_of
from hbcoop_dist.store.sources import Folder, Source, attributes_of, open_source, reading

_PREFERENCE = ("done", "unconverged", "broken-geometry", "failed", "quarantined", "stale", "skipped", "pending")
_KEYS: dict[Kind, str] = {"cell": "task_key", "dimer": "dimer_task_key"}
_NAMED = 5
"""Conflicts that an error names; it counts the others."""
_NOWHERE = -1

IntArray = NDArray[np.int64]
_Origins = Mapping[Kind, IntArray]


def merge_stores(stores: Sequence[str | Path], output: str | Path) -> str:
    """Make one store of several.

    Of a cell that is in more than one, a done one is taken, of several done ones the first; these must come from the
    same tasks. Journals are joined, so that a campaign goes on in the new store where any of them stopped. An archive
    has none: what is done in it stays done, and what is asked for beyond that starts from nothing.

    Parameters
    ----------
    stores : sequence of str or Path
        Folders or archives.
    output : str or Path
        A folder; must not exist.

    Returns
    -------
    str
        What was put together, in words.

    Raises
    ------
    StoreSchemaError
        When one of them is no store of this schema version.
    ProtocolMismatchError
        When their protocols differ; names the field.
    StoreLockedError
        When a driver is writing to one of them.
    StoreError
        When `output` exists, or cells, or marked systems, that are done in two stores come from different tasks.
    """
    sources, paths = [StorePaths.of(store) for store in stores], StorePaths.of(output)
    refuse_archive(paths.store)
    if paths.store.exists() or paths.journal.exists():
        raise StoreError(f"{paths.store}: expected nothing there, and no journal beside it, found one")
    attributes = [attributes_of(source.store) for source in sources]
    for source, found in zip(sources, attributes, strict=True):
        check_kind(source.store, found, HBOND)
    _same_protocol(sources, attributes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(StoreLock(paths.store))
        for source in sources:
            stack.enter_context(reading(source.store))
        opened = [open_source(source.store) for source in sources]
        layout = reduce(Layout.union, (one.layout for one in opened))
        origins = {kind: _origins(layout, opened, kind) for kind in STATUS_NAMES}
        with writing(paths.store):
            new = build(paths.growing, layout, {**attributes[0], "history": _histories(sources, attributes)})
            _fill(new, opened, origins)
            merge_systems([source.store for source in sources], paths.growing)
            _join_journals(sources, paths)
            swap(paths)
    done = int((_statuses(Folder(open_group(paths.store, "r")), layout, "cell") == "done").sum())
    return f"{len(layout.cells())} cells of {len(layout.models)} models, {done} done"


def _same_protocol(sources: Sequence[StorePaths], attributes: Sequence[Mapping[str, object]]) -> None:
    first, *others = [json.loads(str(found["protocol"])) for found in attributes]
    for source, other in zip(sources[1:], others, strict=True):
        words = f"{sources[0].store.name} has {{}}, {source.store.name} has {{}}"
        if lines := list(differences(first, other, words=words)):
            raise ProtocolMismatchError(
                f"{source.store}: expected the protocol of {sources[0].store}, found another\n  " + "\n  ".join(lines)
            )


def _histories(sources: Sequence[StorePaths], attributes: Sequence[Mapping[str, object]]) -> str:
    # parts of one store share what was before they parted
    texts = dict.fromkeys(json.dumps(event) for found in attributes for event in json.loads(str(found["history"])))
    events = [json.loads(text) for text in texts]
    events.sort(key=lambda event: str(event["at"]))
    # the last spec is what a store is asked to hold, and that is the last campaign of any of them
    return history(events, f"merged from {', '.join(source.store.name for source in sources)}", events[-1]["spec"])


def _spread(one: Source, layout: Layout, name: str, dims: Sequence[str]) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Values of a variable model by model, on the axes of `layout`; models that have none are left out."""
    places = [[layout.labels(dim).index(label) for label in one.layout.labels(dim)] for dim in dims[1:]]
    for index, model in enumerate(one.layout.models):
        if (values := one.block(name, index)) is None:
            continue
        block = VARIABLES[name].missing(layout.shape(dims[1:]))
        block[np.ix_(*places)] = values
        yield layout.place("model", model), block


def _statuses(one: Source, layout: Layout, kind: Kind) -> NDArray[np.object_]:
    return _texts(one, layout, kind, STATUS_NAMES[kind][0], "pending")


def _texts(one: Source, layout: Layout, kind: Kind, name: str, missing: str) -> NDArray[np.object_]:
    dims = next(variable.dims for variable in variables_of(kind) if variable.name == name)
    found = np.full(layout.shape(dims), missing, dtype=object)
    for place, block in _spread(one, layout, name, dims):
        found[place] = block.astype(object)
    return found


def _origins(layout: Layout, opened: Sequence[Source], kind: Kind) -> IntArray:
    """Which store every cell is taken from.

    Raises
    ------
    StoreError
        When two have it done by different tasks; names the cells.
    """
    statuses = np.array([_statuses(one, layout, kind) for one in opened])
    keys = np.array([_texts(one, layout, kind, _KEYS[kind], "") for one in opened])
    ranks = np.vectorize(_PREFERENCE.index, otypes=[np.int64])(statuses)
    origin = ranks.argmin(axis=0)
    chosen = np.take_along_axis(keys, origin[None], axis=0)[0]
    conflict = ((statuses == "done") & (keys != chosen)).any(axis=0) & (ranks.min(axis=0) == 0)
    if conflict.any():
        labels = layout.cells(kind)
        named = ["; ".join(map(str, labels[place])) for place in np.flatnonzero(conflict.ravel())]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        what = {"cell": "cells", "dimer": "isolated dimers"}[kind]
        raise StoreError(
            f"expected {what} that are done in two stores to come from the same tasks, found others (another "
            f"checkpoint, or geometry): {' | '.join(named[:_NAMED])}{more}"
        )
    return cast(IntArray, np.where(ranks.min(axis=0) == _PREFERENCE.index("pending"), _NOWHERE, origin))


def _fill(new: OpenGroup, opened: Sequence[Source], origins: _Origins) -> None:
    for kind, origin in origins.items():
        for variable in variables_of(kind):
            blocks: dict[int, NDArray[np.generic]] = {}
            for number, one in enumerate(opened):
                for place, values in _spread(one, new.layout, variable.name, variable.dims):
                    mine = origin[place] == number
                    if mine.any():
                        block = blocks.setdefault(place, variable.missing(new.layout.shape(variable.dims[1:])))
                        block[mine] = values[mine]
            for place, block in blocks.items():
                new.array(variable.name)[place] = block


def _join_journals(sources: Sequence[StorePaths], paths: StorePaths) -> None:
    """A done result of any of them is kept, whatever the others say of its task."""
    with Journal(paths.journal) as joined:
        for source in sources:
            with Journal(source.journal) as journal:
                for result in journal.replay():
                    if joined.status(result.key) != "done":
                        joined.append(result)
