"""Compare a plan with a store: which cells are to be computed, and which stored results no longer count.

The store is read by whole variables, never cell by cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter

from hbcoop_dist.campaigns.kind import AnyKind, AnyPlan, Cell, Labels
from hbcoop_dist.core.results import Record, installed_version
from hbcoop_dist.store import Journal, StoreWriter
from hbcoop_dist.store.schema import Schema

FINAL = ("done", "unconverged", "broken-geometry", "quarantined", "failed")
"""Statuses that a run leaves alone unless they are to be retried."""
RETRYABLE = FINAL[1:]
FILE, PARAMETERS = "checkpoint_sha256", "parameter_hash"
Hashes = tuple[str, str]
"""Hashes of the file of a checkpoint and of its parameters."""


def labels_of(schema: Schema) -> attrgetter[Labels]:
    """Return the function that gives the labels of a cell as a tuple."""
    return attrgetter(*schema.cells.dims)


@dataclass(frozen=True, slots=True)
class PendingCells:
    """What a run has to do.

    Attributes
    ----------
    statuses : mapping of tuple to str
        Status of every cell of the store, by labels.
    cells : tuple of Cell
        Cells of the plan that are to be computed.
    repeat : frozenset of str
        Keys of tasks whose stored results do not count.
    """

    statuses: Mapping[Labels, str]
    cells: tuple[Cell, ...]
    repeat: frozenset[str]


def retry_filter(schema: Schema, writer: StoreWriter, retry: Collection[str], match: str) -> Callable[[Labels], bool]:
    """Return the function that selects the cells of a retry by their labels.

    Parameters
    ----------
    schema : Schema
    writer : StoreWriter
    retry : collection of str
        Final statuses to compute again.
    match : str
        Text that the reason of a cell must contain, in any case.
    """
    statuses = writer.statuses(schema.cells.name)
    reasons = writer.texts(schema.cells.reason) if match else {}
    return lambda labels: statuses[labels] in retry and match.lower() in reasons.get(labels, "").lower()


def find_pending_cells(
    plan: AnyPlan, kind: AnyKind, writer: StoreWriter, journal: Journal, retry: Collection[str] = (), match: str = ""
) -> PendingCells:
    """Compare a plan with a store.

    A cell is computed when it is not final, its tasks have other keys now, its packages have other versions, its value
    or one of its files is missing although it is done, or it is retried. A retry repeats the tasks of
    `CampaignKind.keys_to_retry`.

    Parameters
    ----------
    plan : Plan
    kind : CampaignKind
    writer : StoreWriter
        Of a store that has every cell of the plan.
    journal : Journal
    retry : collection of str
        Final statuses to compute again.
    match : str
        Retry only cells whose reason contains this text, and compute no others.

    Raises
    ------
    StoreError
        When a chunk of the store cannot be read.
    """
    table = kind.schema.cells.name
    statuses, keys = writer.statuses(table), writer.stored_keys(table)
    # values are lost with a chunk; the journal may still have them
    outdated, lost = _outdated(plan, kind.schema, writer), writer.incomplete(table)
    is_retried = retry_filter(kind.schema, writer, retry, match)
    labels_of_cell = labels_of(kind.schema)
    cells: list[Cell] = []
    repeat: set[str] = set()
    for cell, tasks in plan.cell_tasks.items():
        labels = labels_of_cell(cell)
        retried = is_retried(labels)
        if match and not retried:
            continue
        final = statuses[labels] in FINAL and keys.get(labels) == tasks.final_key
        if statuses[labels] == "done" and not all(file.is_file() for file in kind.cell_files(writer.path, cell)):
            final = False
        if final and not retried and labels not in outdated and labels not in lost:
            continue
        cells.append(cell)
        if labels in outdated:
            repeat.update(tasks.keys)
        elif retried:
            repeat.update(kind.keys_to_retry(tasks, journal))
    return PendingCells(statuses, tuple(cells), frozenset(repeat))


def _outdated(plan: AnyPlan, schema: Schema, writer: StoreWriter) -> set[Labels]:
    """Return the cells that were computed with other versions of the packages of their source."""

    @cache
    def changed(text: str, packages: tuple[str, ...]) -> bool:
        before = json.loads(text)
        installed = {package: installed_version(package) for package in packages}
        return any(before.get(package) not in (None, now) for package, now in installed.items() if now is not None)

    versions = writer.texts(schema.cells.versions)
    labels_of_cell = labels_of(schema)
    outdated = set()
    for cell in plan.cell_tasks:
        source, labels = plan.sources[cell.source], labels_of_cell(cell)
        # the versions of this Python do not matter for a source that runs in another
        if source.here and (text := versions[labels]) and changed(text, source.needs.packages):
            outdated.add(labels)
    return outdated


def changed_checkpoints(plan: AnyPlan, schema: Schema, writer: StoreWriter) -> dict[str, Hashes]:
    """Return the stored hashes of the models whose checkpoint is another file now.

    Returns
    -------
    dict of str to (str, str)
        By model; empty for stores without checkpoints.
    """
    if not {FILE, PARAMETERS} <= {variable.name for variable in schema.cells.variables}:
        return {}
    files, parameters = writer.texts(FILE), writer.texts(PARAMETERS)
    changed: dict[str, Hashes] = {}
    for labels, file in files.items():
        source = plan.sources.get(str(labels[0]))
        if file and parameters[labels] and source is not None and file != source.identity:
            changed[source.name] = file, parameters[labels]
    return changed


def describe_change(changed: Mapping[str, Hashes], record: Record) -> tuple[str, str] | None:
    """Describe the change of the checkpoint of a record's model.

    Parameters
    ----------
    changed : mapping of str to (str, str)
        From `changed_checkpoints`.
    record : Record
        First cell of the model as it is now.

    Returns
    -------
    (str, str) or None
        The model and a line for the user; None when there is nothing to compare.
    """
    model = str(record.labels.get("model"))
    parameters = record.values.get(PARAMETERS)
    if model not in changed or not parameters:
        return None
    file, before = changed[model]
    files = f"sha256 {file[:12]}... before, {str(record.values[FILE])[:12]}... now"
    if parameters == before:
        return model, f"{model}: its checkpoint is another file ({files}) with the same parameters, saved again"
    return model, f"{model}: its checkpoint is another file ({files}) with other parameters: another model"
