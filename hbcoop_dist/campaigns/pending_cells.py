"""What a store has of a plan, and so what a run has to do: asked of whole variables at once, never cell by cell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter

import numpy as np

from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.core.results import CELL_DIMS
from hbcoop_dist.store import Labels, StoreWriter

FINAL = ("done", "unconverged", "broken-geometry", "quarantined", "failed")
"""Statuses that a run leaves alone unless it is asked to retry them."""
RETRYABLE = FINAL[1:]

labels_of = attrgetter(*CELL_DIMS)
"""The labels of a cell, as a tuple."""


@dataclass(frozen=True, slots=True)
class Survey:
    """How a store stands before a run.

    Attributes
    ----------
    statuses : mapping of Labels to str
        Of every cell of the store.
    todo : tuple of Cell
        Cells of the plan that are to be computed.
    again : frozenset of str
        Keys of tasks whose kept results do not count.
    """

    statuses: Mapping[Labels, str]
    todo: tuple[Cell, ...]
    again: frozenset[str]


def survey(plan: Plan, writer: StoreWriter, retry: Collection[str], match: str = "") -> Survey:
    """Compare a plan with a store.

    Parameters
    ----------
    plan : Plan
    writer : StoreWriter
        Of a store that has every cell of the plan.
    retry : collection of str
        Final statuses to compute again.
    match : str
        Only where the reason has this text in it, and no cells beside them.

    Raises
    ------
    StoreError
        When a chunk of the store cannot be read.
    """
    statuses, keys = writer.statuses(), writer.stored_keys()
    outdated, lost = _outdated(plan, writer), _lost(writer)
    reasons = writer.texts("reason") if match else {}

    def retried(labels: Labels) -> bool:
        return statuses[labels] in retry and match.lower() in reasons.get(labels, "").lower()

    todo: list[Cell] = []
    again: set[str] = set()
    for cell, tasks in plan.cell_tasks.items():
        labels = labels_of(cell)
        if match and not retried(labels):
            continue
        final = statuses[labels] in FINAL and keys.get(labels) == tasks.complex.energies[-1]
        if final and not retried(labels) and labels not in outdated and labels not in lost:
            continue
        todo.append(cell)
        if labels in outdated or retried(labels):
            again.update(tasks.keys)
    return Survey(statuses, tuple(todo), frozenset(again))


def _outdated(plan: Plan, writer: StoreWriter) -> set[Labels]:
    """Cells whose family package has another version now than when they were computed."""

    @cache
    def changed(text: str, packages: tuple[str, ...]) -> bool:
        before = json.loads(text)
        return any(
            before.get(package) not in (None, now) for package in packages if (now := _version(package)) is not None
        )

    # of a model that runs in another Python the versions here say nothing
    here = {name for name, source in plan.sources.items() if source.here}
    return {
        labels
        for labels, text in writer.texts("versions").items()
        if text and labels[0] in here and changed(text, plan.sources[str(labels[0])].needs.packages)
    }


def _version(package: str) -> str | None:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def _lost(writer: StoreWriter) -> set[Labels]:
    """Cells that are done and have no value: a chunk is gone; the journal may still hold what was in it."""
    done = writer.values("status") == "done"
    gone = done & np.isnan(writer.values("cooperative_energy").astype(float, copy=False)).any(axis=-1)
    cells = writer.layout.cells()
    return {cells[place] for place in np.flatnonzero(gone)}
