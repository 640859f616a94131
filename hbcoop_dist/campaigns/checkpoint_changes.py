"""Whether a checkpoint whose file has changed is another model, or the same parameters saved again."""

from __future__ import annotations

from collections.abc import Mapping

from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.core.results import Record
from hbcoop_dist.store import StoreWriter

Identity = tuple[str, str]
"""Hashes of a checkpoint's file and of its parameters."""


def earlier_identities(plan: Plan, writer: StoreWriter) -> dict[str, Identity]:
    """What gave the numbers that a store has of the models whose checkpoint is another file now, by model."""
    files, parameters = writer.texts("checkpoint_sha256"), writer.texts("parameter_hash")
    found: dict[str, Identity] = {}
    for labels, file in files.items():
        model = str(labels[0])
        if file and parameters[labels] and model in plan.sources and file != plan.sources[model].identity:
            found[model] = file, parameters[labels]
    return found


def compare_identities(earlier: Mapping[str, Identity], record: Record) -> str | None:
    """What to tell of the first cell of such a model; None where there is nothing to compare.

    Parameters
    ----------
    earlier : mapping of str to (str, str)
        As of `earlier_identities`.
    record : Record
        A cell as it is now.
    """
    model = str(record.labels["model"])
    parameters = record.values.get("parameter_hash")
    if model not in earlier or not parameters:
        return None
    file, before = earlier[model]
    files = f"sha256 {file[:12]}... before, {str(record.values['checkpoint_sha256'])[:12]}... now"
    if parameters == before:
        return (
            f"{model}: its checkpoint is another file ({files}) with the same parameters: a copy that was saved again"
        )
    return f"{model}: its checkpoint is another file ({files}) with other parameters: another model"
