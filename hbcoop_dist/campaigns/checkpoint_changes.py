"""Report whether a checkpoint whose file has changed holds other parameters, or the same ones saved again."""

from __future__ import annotations

from collections.abc import Mapping

from hbcoop_dist.campaigns.kind import AnyPlan
from hbcoop_dist.core.results import Record
from hbcoop_dist.store import StoreWriter
from hbcoop_dist.store.schema import Schema

FILE, PARAMETERS = "checkpoint_sha256", "parameter_hash"

Hashes = tuple[str, str]
"""Hashes of the file of a checkpoint and of its parameters."""


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
