"""What comes out of the work: the result of one task, and the record of one cell as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Status = Literal["pending", "done", "unconverged", "broken-geometry", "skipped", "quarantined", "failed", "stale"]
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one task, as it goes over the wire and into the journal.

    Attributes
    ----------
    key : str
        The task's content-hash key.
    status : Status
        ``done``, ``unconverged``, ``broken-geometry``, ``failed`` or ``quarantined``.
    reason : str
        Why it is not ``done``; empty otherwise.
    data : mapping of str to array, number, string or bool
        What was computed; numpy arrays of float64, int64 or bool.
    provenance : mapping of str to str
        host, device, dtype, parameter_hash, versions (JSON), computed_at.
    seconds : float
        Wall-clock seconds spent on it.
    """

    key: str
    status: Status
    reason: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """Values of one cell (or one isolated dimer) at its labels, ready to be written.

    Attributes
    ----------
    labels : mapping
        One label per dim of `CELL_DIMS`, or of `DIMER_DIMS` for an isolated dimer.
    status, reason : str
        As in `TaskResult`, plus ``skipped``.
    values : mapping
        Store variable name -> value without the label dims, e.g. an (n_hbond,) array; arrays may be shorter than the
        store's axis (a short chain has fewer H-bonds), the rest stays missing.
    """

    labels: Mapping[str, str | int]
    status: Status
    reason: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
