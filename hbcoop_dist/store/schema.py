"""Description of a store as data: axes, tables of variables, static variables.

A campaign kind describes its store by one `Schema`. Creation, writing, merging, verification and the data dictionary
are driven by it; no other module of this package names a dim, a unit or a variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from hbcoop_dist.core.arrays import AnyArray, BoolArray
from hbcoop_dist.core.results import STATUSES, Label

FORMAT = "hbcoop_dist"
FORMAT_VERSION = 1
"""Attributes ``schema`` and ``schema_version`` of every store."""

DType = Literal["float64", "float32", "int64", "flag", "str"]
Fill = float | int | str
AxisLabels = Mapping[str, tuple[Label, ...]]
"""Labels by axis."""

_FILLS: Mapping[DType, Fill] = {"float64": np.nan, "float32": np.nan, "int64": -1, "flag": -1, "str": ""}
_KINDS: Mapping[DType, str] = {"float64": "fiu", "float32": "fiu", "int64": "iu", "flag": "b", "str": "UT"}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a store.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Label dims of the table first, then the dims of one row's value.
    dtype : {"float64", "float32", "int64", "flag", "str"}
        A flag is an int8: 1 yes, 0 no, -1 missing.
    units : str
        Empty for text and flags; "1" for counts.
    long_name : str
    fill : float, int or str
        Value of everything that was not written. It is never a valid value, so that missing is never read as zero.
    comment : str
        Further attribute of the variable in the store.
    """

    name: str
    dims: tuple[str, ...]
    dtype: DType
    units: str
    long_name: str
    fill: Fill
    comment: str = ""

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Dtype in memory and in the store."""
        if self.dtype == "str":
            return np.dtypes.StringDType()
        return np.dtype("int8") if self.dtype == "flag" else np.dtype(self.dtype)

    @property
    def value_kinds(self) -> str:
        """Kinds of numpy dtypes (``dtype.kind``) that a value of this variable may have."""
        return _KINDS[self.dtype]

    def missing(self, shape: tuple[int, ...]) -> AnyArray:
        """Return an array of the given shape in which every value is missing.

        Parameters
        ----------
        shape : tuple of int
        """
        return np.full(shape, self.fill, dtype=self.numpy_dtype)

    def is_missing(self, values: AnyArray) -> BoolArray:
        """Return where values are missing, element by element.

        Parameters
        ----------
        values : array
        """
        if self.dtype in ("float64", "float32"):
            return np.asarray(np.isnan(np.asarray(values, dtype=float)))
        return np.asarray(values == self.fill, dtype=bool)

    def attributes(self) -> dict[str, object]:
        """Return the attributes of the variable in the store, such as long_name and units."""
        attributes: dict[str, object] = {"long_name": self.long_name}
        if self.units:
            attributes["units"] = self.units
        if self.dtype == "flag":
            attributes.update(flag_values=[-1, 0, 1], flag_meanings="missing no yes")
        if self.dtype == "int64":
            attributes["comment"] = "-1 is missing"
        if self.comment:
            attributes["comment"] = self.comment
        return attributes


VariableRow = tuple[str, DType, str, str]
"""Name, dtype, units and long_name of a variable."""


def variables(dims: tuple[str, ...], *rows: VariableRow) -> tuple[Variable, ...]:
    """Return variables that share their dims, with the fill values of their dtypes.

    Parameters
    ----------
    dims : tuple of str
    *rows : tuple of (str, str, str, str)
        Name, dtype, units and long_name of each.
    """
    return tuple(Variable(name, dims, dtype, units, text, _FILLS[dtype]) for name, dtype, units, text in rows)


def status_variables(dims: tuple[str, ...], subject: str, prefix: str = "") -> tuple[Variable, Variable]:
    """Return the variables that hold the status of a row and its reason.

    Parameters
    ----------
    dims : tuple of str
        Label dims of the table.
    subject : str
        What a row stands for, for the long names.
    prefix : str
        Prefix of both names.
    """
    comment = "one of " + ", ".join(STATUSES)
    return (
        Variable(f"{prefix}status", dims, "str", "", f"state of the {subject}, written last", "pending", comment),
        Variable(f"{prefix}reason", dims, "str", "", f"why the {subject} is not done", ""),
    )


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a store.

    Attributes
    ----------
    name : str
        Dim that the axis belongs to.
    dtype : {"str", "int64"}
        Type of the labels.
    long_name : str
    order : {"appended", "sorted"}
        Whether new labels are put behind the others, or all labels are sorted.
    labels : tuple of str or int, optional
        Labels of an axis that is the same in every store.
    derived : bool
        Whether the labels follow from those of other axes (`Schema.derive`).
    choices : tuple of str or int, optional
        Labels that the axis may have; None where any are allowed.
    """

    name: str
    dtype: Literal["str", "int64"]
    long_name: str
    order: Literal["appended", "sorted"] = "appended"
    labels: tuple[Label, ...] | None = None
    derived: bool = False
    choices: tuple[Label, ...] | None = None

    @property
    def is_free(self) -> bool:
        """Whether a campaign chooses the labels: they are neither fixed nor derived."""
        return self.labels is None and not self.derived


@dataclass(frozen=True, slots=True)
class Table:
    """Variables that share their label dims; a record fills one row of it.

    Attributes
    ----------
    name : str
        Singular word for a row, e.g. ``cell``.
    title : str
        Heading in the data dictionary.
    dims : tuple of str
        Label dims. The first is the partition of the schema.
    variables : tuple of Variable
        Status and reason included.
    status, reason : str
        Names of the variables that hold the status of a row and its reason; empty where the table has none.
    key : str
        Name of the variable that holds the key of the task that gave a row; empty where the table has none.
    versions : str
        Name of the variable that holds the package versions of a row (JSON); empty where the table has none.
    required : tuple of str
        Variables whose values are complete in every row that is done.
    """

    name: str
    title: str
    dims: tuple[str, ...]
    variables: tuple[Variable, ...]
    status: str = ""
    reason: str = ""
    key: str = ""
    versions: str = ""
    required: tuple[str, ...] = ()

    def value_dims(self, variable: Variable) -> tuple[str, ...]:
        """Return the dims of one row's value.

        Parameters
        ----------
        variable : Variable
            A variable of this table.
        """
        return variable.dims[len(self.dims) :]


class LabelledAxes(Protocol):
    """Labels along every axis of a store (`Layout`)."""

    def labels(self, dim: str) -> tuple[Label, ...]:
        """Return the labels along an axis."""

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Return the lengths of axes."""


def _derive_nothing(labels: AxisLabels) -> AxisLabels:
    return {}


def _extend_over_axis(dim: str, labels: Mapping[str, Label]) -> int | None:
    return None


def _no_static_values(layout: LabelledAxes) -> Mapping[str, AnyArray]:
    return {}


@dataclass(frozen=True)
class Schema:
    """Description of the stores of one campaign kind.

    Attributes
    ----------
    kind : str
        Name of the campaign kind; attribute ``kind`` of its stores.
    title : str
        Attribute ``title`` of its stores.
    axes : tuple of Axis
    tables : tuple of Table
        The first holds the cells of the campaign. Records of later tables are written to disk before those of earlier
        ones, since a resumed run looks at the cells alone.
    static : tuple of Variable
        Variables that follow from labels: computed by `static_values`, or given label by label when a store is made
        or grows (``definitions`` of `prepare_store`).
    partition : str
        Dim of which a chunk holds one label. Its labels are appended in place; any other growth writes the store anew.
    derive : callable
        Labels of the free axes -> labels of the derived axes.
    extent : callable
        (dim, labels of a row) -> how far the row's value may reach along the dim; None for the whole axis. It does not
        depend on the label of the partition.
    static_values : callable
        Layout -> values of those static variables that follow from the labels alone, on their whole axes.
    definitions : tuple of str
        Static variables that define what the labels of their first dim stand for: a store refuses other values.
    """

    kind: str
    title: str
    axes: tuple[Axis, ...]
    tables: tuple[Table, ...]
    partition: str
    static: tuple[Variable, ...] = ()
    derive: Callable[[AxisLabels], AxisLabels] = _derive_nothing
    extent: Callable[[str, Mapping[str, Label]], int | None] = _extend_over_axis
    static_values: Callable[[LabelledAxes], Mapping[str, AnyArray]] = _no_static_values
    definitions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tables = [variable for table in self.tables for variable in table.variables]
        names = [variable.name for variable in (*tables, *self.static)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"schema {self.kind}: expected every variable once, found {', '.join(repeated)} again")
        for table in self.tables:
            if table.dims[0] != self.partition or any(v.dims[: len(table.dims)] != table.dims for v in table.variables):
                raise ValueError(
                    f"schema {self.kind}, table {table.name}: expected dims that begin with the partition "
                    f"{self.partition}, and variables whose dims begin with those of the table"
                )
        if unknown := {dim for v in (*tables, *self.static) for dim in v.dims} - set(self.axis):
            raise ValueError(f"schema {self.kind}: expected an axis for every dim, found none for {sorted(unknown)}")

    @property
    def cells(self) -> Table:
        """Table of the cells."""
        return self.tables[0]

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        """Every variable by its name, tables in order and static ones last."""
        tables = (variable for table in self.tables for variable in table.variables)
        return {variable.name: variable for variable in (*tables, *self.static)}

    @cached_property
    def axis(self) -> Mapping[str, Axis]:
        """Every axis by its name."""
        return {axis.name: axis for axis in self.axes}

    @cached_property
    def label_dims(self) -> frozenset[str]:
        """Dims that a record names one label of, in any table."""
        return frozenset(dim for table in self.tables for dim in table.dims)

    @cached_property
    def _tables(self) -> Mapping[str, Table]:
        return {table.name: table for table in self.tables}

    @cached_property
    def _owners(self) -> Mapping[str, Table]:
        return {variable.name: table for table in self.tables for variable in table.variables}

    def table(self, name: str) -> Table:
        """Return a table by its name.

        Parameters
        ----------
        name : str

        Raises
        ------
        KeyError
            When the schema has no such table; names those it has.
        """
        if name not in self._tables:
            raise KeyError(f"table: expected one of {', '.join(self._tables)}, found {name!r}")
        return self._tables[name]

    def table_of(self, variable: str) -> Table:
        """Return the table that a variable belongs to.

        Parameters
        ----------
        variable : str

        Raises
        ------
        KeyError
            When no table has a variable of that name.
        """
        return self._owners[variable]


def describe(schema: Schema) -> str:
    """Return the data dictionary of the stores of a campaign kind, as markdown.

    Parameters
    ----------
    schema : Schema
    """
    lines = [
        f"## Stores of kind `{schema.kind}`\n",
        f"{schema.title}. Only rows whose status is `done` are results. The last column shows the value of what is",
        "missing.\n",
        "| dim | labels | meaning |",
        "|---|---|---|",
        *(f"| `{axis.name}` | {axis.dtype} | {axis.long_name} |" for axis in schema.axes),
        "",
    ]
    for table in schema.tables:
        lines += _rows(f"{table.title} ({', '.join(table.dims)})", len(table.dims), table.variables)
    lines += _rows("Static variables", 0, schema.static)
    return "\n".join(lines)


def _rows(title: str, label_dims: int, variables: Iterable[Variable]) -> Iterator[str]:
    yield f"### {title}\n"
    yield f"| variable | {'further ' if label_dims else ''}dims | dtype | units | meaning | missing |"
    yield "|---|---|---|---|---|---|"
    for v in variables:
        fill = f'"{v.fill}"' if isinstance(v.fill, str) else f"{v.fill}"
        yield f"| `{v.name}` | {', '.join(v.dims[label_dims:])} | {v.dtype} | {v.units} | {v.long_name} | {fill} |"
    yield ""
