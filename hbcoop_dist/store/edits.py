"""Conversion of records to checked changes of one chunk, so that nothing invalid reaches the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.core.results import STATUSES, Label, Record
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.paths import StoreError
from hbcoop_dist.store.schema import Table, Variable


@dataclass(frozen=True, slots=True)
class Edit:
    """Change of one row of a table, checked against the schema.

    Attributes
    ----------
    table : Table
    index : tuple of int
        Index of the row along the label dims, the partition first.
    values : mapping of str to array
        Status and reason included.
    along : mapping of str to tuple of str or int
        Labels at which arrays lie along a dim; without an entry they start at the first label.
    is_whole : bool
        Whether variables that `values` lacks become missing; otherwise they keep their values.
    """

    table: Table
    index: tuple[int, ...]
    values: Mapping[str, AnyArray]
    along: Mapping[str, tuple[Label, ...]]
    is_whole: bool

    def apply(self, variable: Variable, block: AnyArray, layout: Layout) -> None:
        """Put the value of one variable into a chunk.

        Parameters
        ----------
        variable : Variable
        block : array
            Values of the chunk, on the dims of the variable without the partition; changed in place.
        layout : Layout
            Layout of the chunk; has the labels of `along`.
        """
        row = self.index[1:]
        if self.is_whole:
            block[row] = variable.fill
        if variable.name not in self.values:
            return
        value = self.values[variable.name]
        dims = self.table.value_dims(variable)
        if not any(dim in self.along for dim in dims):
            block[row + tuple(slice(size) for size in value.shape)] = value
            return
        places = (
            [layout.place(dim, label) for label in self.along[dim]] if dim in self.along else range(size)
            for dim, size in zip(dims, value.shape, strict=True)
        )
        block[row][np.ix_(*places)] = value


def edit_of(record: Record, layout: Layout, *, is_whole: bool) -> Edit:
    """Check a record against the schema and the axes.

    Parameters
    ----------
    record : Record
    layout : Layout
        Its axes may lack the labels of ``record.along``.
    is_whole : bool
        Whether the record replaces its row as a whole.

    Raises
    ------
    StoreError
        For an unknown table or variable, a wrong type or shape, or a label that its axis lacks; names the row, the
        variable, what was expected and what was found.
    """
    schema = layout.schema
    try:
        table = schema.table(record.table)
    except KeyError as error:
        raise StoreError(str(error.args[0])) from None
    row = f"{table.name} ({', '.join(f'{dim}={label}' for dim, label in record.labels.items())})"
    try:
        index = layout.index(table, record.labels)
    except StoreError as error:
        raise StoreError(f"{row}, {error}") from None
    if record.status not in STATUSES:
        raise StoreError(f"{row}, status: expected one of {', '.join(STATUSES)}, found {record.status!r}")
    along = {dim: tuple(labels) for dim, labels in record.along.items()}
    for dim in along:
        if dim not in schema.axis or dim in schema.label_dims or not schema.axis[dim].is_free:
            raise StoreError(f"{row}, along: expected dims that records may extend, found {dim!r}")
    reserved = {table.status, table.reason} - {""}
    known = {variable.name: variable for variable in table.variables if variable.name not in reserved}
    values: dict[str, AnyArray] = {}
    for name, value in record.values.items():
        if name not in known:
            but = f" other than {' and '.join(sorted(reserved, reverse=True))}" if reserved else ""
            raise StoreError(f"{row}, {name}: expected a variable of the table {table.name}{but}")
        dims = table.value_dims(known[name])
        limits = tuple(len(along[dim]) if dim in along else layout.extent(dim, record.labels) for dim in dims)
        values[name] = _checked(value, known[name], dims, limits, along, f"{row}, {name}")
    if table.status:
        values[table.status] = np.asarray(record.status, dtype=np.dtypes.StringDType())
        values[table.reason] = np.asarray(record.reason, dtype=np.dtypes.StringDType())
    return Edit(table, index, values, along, is_whole)


def _checked(
    value: object,
    variable: Variable,
    dims: tuple[str, ...],
    limits: tuple[int, ...],
    along: Mapping[str, tuple[Label, ...]],
    where: str,
) -> AnyArray:
    array = np.asarray(value)
    if array.dtype.kind not in variable.value_kinds and array.size:
        expected = "bool" if variable.dtype == "flag" else variable.dtype
        raise StoreError(f"{where}: expected {expected}, found {array.dtype}")
    if array.ndim != len(limits) or any(size > limit for size, limit in zip(array.shape, limits, strict=True)):
        raise StoreError(f"{where}: expected shape ({', '.join(dims)}) of at most {limits}, found {array.shape}")
    if short := [dim for dim, size in zip(dims, array.shape, strict=True) if dim in along and size != len(along[dim])]:
        raise StoreError(
            f"{where}: expected a value for each of the {len(along[short[0]])} labels along {short[0]}, found "
            f"{array.shape[dims.index(short[0])]}"
        )
    return array.astype(variable.numpy_dtype)
