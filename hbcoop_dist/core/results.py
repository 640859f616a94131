"""Results of tasks with their provenance, as workers return them, and records, as the store takes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, Literal, get_args

import numpy as np
from typing_extensions import TypeVar

from hbcoop_dist.core.arrays import AnyArray

Status = Literal["pending", "done", "unconverged", "broken-geometry", "skipped", "quarantined", "failed", "stale"]
STATUSES: tuple[str, ...] = get_args(Status)
NOT_REQUESTED = "not asked for by campaign"
"""Start of the reason of a skipped cell that the campaign being run does not request."""
Label = str | int
"""Label of one place along an axis of the store."""
LabelTuple = tuple[Label, ...]
"""Labels of one row of a table of the store, in the order of the table's dims."""
Value = float | int | bool | str | AnyArray | np.generic | Sequence[float] | Sequence[str]
"""Value of one variable of the store at one row: a scalar, or an array over the dims that are not label dims."""
PayloadT_co = TypeVar("PayloadT_co", covariant=True, default=object)
_ExpectedT = TypeVar("_ExpectedT")


def installed_version(package: str) -> str | None:
    """Return the version of a package in this Python; None when it is not installed."""
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions(*names: str) -> str:
    """Return the versions of the packages that are installed here, as JSON."""
    versions = {name: found for name in names if (found := installed_version(name)) is not None}
    return json.dumps(versions, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and how a task was computed.

    Attributes
    ----------
    host : str
        Name of the machine.
    device : str
        Device that ran the model, e.g. ``cpu`` or ``cuda:0``.
    dtype : str
        Floating-point type that the model ran in.
    parameter_hash : str
        Hash of the parameters as the worker loaded them.
    versions : str
        Versions of the packages that decide the result (JSON object, name to version).
    computed_at : str
        Time at which the task ended (ISO 8601).
    """

    host: str = ""
    device: str = ""
    dtype: str = ""
    parameter_hash: str = ""
    versions: str = ""
    computed_at: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult(Generic[PayloadT_co]):
    """Result of one task, as a worker sends it to the driver and the journal keeps it.

    Attributes
    ----------
    key : str
        Content-hash key of the task.
    status : Status
        ``done``, ``unconverged``, ``broken-geometry``, ``failed`` or ``quarantined``.
    reason : str
        Why the status is not ``done``; empty otherwise.
    payload : object or None
        Frozen dataclass of the campaign kind that holds the computed values; None when the task failed.
    provenance : Provenance
    seconds : float
        Wall-clock time of the task, s.
    """

    key: str
    status: Status
    reason: str = ""
    payload: PayloadT_co | None = None
    provenance: Provenance = Provenance()
    seconds: float = 0.0

    def payload_as(self, expected: type[_ExpectedT]) -> _ExpectedT:
        """Return the payload, checked for its type.

        Parameters
        ----------
        expected : type
            Class of the payload that this kind of task returns.

        Raises
        ------
        TypeError
            When the task has no payload, or one of another class.
        """
        if not isinstance(self.payload, expected):
            raise TypeError(
                f"result {self.key}: expected a payload of type {expected.__name__}, found "
                f"{type(self.payload).__name__} (status {self.status})"
            )
        return self.payload


@dataclass(frozen=True, slots=True)
class Record:
    """Values of one row of a table of the store.

    Attributes
    ----------
    table : str
        Name of a table of the store's schema, e.g. ``cell``.
    labels : mapping of str to str or int
        One label per label dim of the table.
    status : Status
    reason : str
        Why the status is not ``done``; empty otherwise.
    values : mapping of str to Value
        Values by variable name, without the label dims. An array may be shorter than its axes; the rest of the row
        becomes missing, and so do variables that the mapping lacks.
    along : mapping of str to sequence of str or int
        Labels at which arrays lie along a dim that is not a label dim. Without an entry an array starts at the first
        label of the axis. Labels that the axis lacks are added to it.
    """

    table: str
    labels: Mapping[str, Label]
    status: Status = "done"
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    along: Mapping[str, Sequence[Label]] = field(default_factory=dict)


Lookup = Callable[[str], TaskResult[Any]]
"""From the key of a task to its result."""
