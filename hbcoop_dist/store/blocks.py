"""From a record to the numbers that go into one model's chunks: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.core.results import STATUSES, Record
from hbcoop_dist.store.errors import StoreError
from hbcoop_dist.store.layout import Label, Layout
from hbcoop_dist.store.schema import LABEL_DIMS, STATUS_NAMES, Kind, Variable, variables_of
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

_BY_NAME: dict[Kind, dict[str, Variable]] = {
    "cell": {v.name: v for v in variables_of("cell")},
    "dimer": {v.name: v for v in variables_of("dimer")},
}


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one cell or isolated dimer, checked and ready to be laid into its model's chunks.

    Attributes
    ----------
    kind : {"cell", "dimer"}
    index : tuple of int
        Its place along the label dims, the model first.
    values : mapping of str to array
        Status and reason included.
    whole : bool
        Whether every variable that `values` lacks becomes missing; otherwise it stays as it is.
    """

    kind: Kind
    index: tuple[int, ...]
    values: Mapping[str, NDArray[np.generic]]
    whole: bool


def kind_of(labels: Mapping[str, Label]) -> Kind:
    """Whether labels name a cell or an isolated dimer."""
    for kind, dims in LABEL_DIMS.items():
        if set(labels) == set(dims):
            return kind
    raise StoreError(
        f"labels {dict(labels)}: expected the dims {', '.join(CELL_DIMS)} (a cell) or "
        f"{', '.join(DIMER_DIMS)} (an isolated dimer)"
    )


def edit_of(record: Record, layout: Layout, *, whole: bool) -> Edit:
    """Check `record` against the schema and the axes.

    Raises
    ------
    StoreError
        For an unknown variable, a wrong type or shape, or a label that is not on its axis; names the cell, the
        variable, what was expected and what was found.
    """
    kind = kind_of(record.labels)
    cell = f"{kind} ({', '.join(f'{dim}={record.labels[dim]}' for dim in LABEL_DIMS[kind])})"
    try:
        index = layout.index(kind, record.labels)
    except StoreError as error:
        raise StoreError(f"{cell}, {error}") from None
    if record.status not in STATUSES:
        raise StoreError(f"{cell}, status: expected one of {', '.join(STATUSES)}, found {record.status!r}")
    status, reason = STATUS_NAMES[kind]
    known = _BY_NAME[kind]
    values: dict[str, NDArray[np.generic]] = {}
    for name, value in record.values.items():
        if name not in known or name in (status, reason):
            raise StoreError(f"{cell}, {name}: expected a variable of a {kind} other than {status} and {reason}")
        if value is not None:
            dims = known[name].dims[len(LABEL_DIMS[kind]) :]
            room = tuple(layout.extent(dim, record.labels) for dim in dims)
            values[name] = _checked(value, known[name], dims, room, f"{cell}, {name}")
    values[status] = np.asarray(record.status, dtype=np.dtypes.StringDType())
    values[reason] = np.asarray(record.reason, dtype=np.dtypes.StringDType())
    return Edit(kind, index, values, whole)


_KINDS = {"float64": "fiu", "int64": "iu", "flag": "b", "str": "UT"}


def _checked(
    value: object, variable: Variable, dims: tuple[str, ...], room: tuple[int, ...], where: str
) -> NDArray[np.generic]:
    array = np.asarray(value)
    if array.dtype.kind not in _KINDS[variable.dtype]:
        expected = "bool" if variable.dtype == "flag" else variable.dtype
        raise StoreError(f"{where}: expected {expected}, found {array.dtype}")
    if array.ndim != len(room) or any(size > limit for size, limit in zip(array.shape, room, strict=True)):
        raise StoreError(f"{where}: expected shape ({', '.join(dims)}) of at most {room}, found {array.shape}")
    return array.astype(variable.numpy_dtype)


def lay(edit: Edit, variable: Variable, block: NDArray[np.generic]) -> None:
    """Lay one variable of `edit` into `block`, the chunk of its model, shape (label dims but model, value dims)."""
    place = edit.index[1:]
    if edit.whole:
        block[place] = variable.fill
    if variable.name in edit.values:
        value = edit.values[variable.name]
        block[place + tuple(slice(size) for size in value.shape)] = value
