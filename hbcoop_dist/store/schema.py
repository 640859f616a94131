"""Description of a store as data: axes, tables of variables, static variables, and the labels along the axes.

A campaign kind describes its store by one `Schema`. Creation, writing, merging, verification and the data dictionary
are driven by it; no other module of this package names a dim, a unit or a variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal, Protocol

import numpy as np

from hbcoop_dist.core.arrays import AnyArray, BoolArray, IntArray
from hbcoop_dist.core.results import STATUSES, Label, LabelTuple
from hbcoop_dist.store.paths import StoreError

FORMAT = "hbcoop_dist"
FORMAT_VERSION = 1
"""Attributes ``schema`` and ``schema_version`` of every store."""

DType = Literal["float64", "int64", "flag", "str"]
Fill = float | int | str
AxisLabels = Mapping[str, tuple[Label, ...]]
"""Labels by axis."""

_FILLS: Mapping[DType, Fill] = {"float64": np.nan, "int64": -1, "flag": -1, "str": ""}
_KINDS: Mapping[DType, str] = {"float64": "fiu", "int64": "iu", "flag": "b", "str": "UT"}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a store.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Label dims of the table first, then the dims of one row's value.
    dtype : {"float64", "int64", "flag", "str"}
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
        if self.dtype == "float64":
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


class Layout:
    """Labels along every axis of a store.

    Parameters
    ----------
    schema : Schema
    labels : mapping of str to iterable of str or int
        Labels of the free axes, without repeats. Label dims need one label at least; other free axes may be left out.

    Raises
    ------
    StoreError
        When a label dim has no label, a label appears twice, or an axis does not allow it.
    """

    __slots__ = ("_labels", "_places", "schema")

    def __init__(self, schema: Schema, labels: Mapping[str, Iterable[Label]]) -> None:
        self.schema = schema
        free = {axis.name: _checked(axis, labels.get(axis.name, ()), schema) for axis in schema.axes if axis.is_free}
        if unknown := set(labels) - set(free):
            raise StoreError(f"labels: expected the axes {', '.join(free)}, found {', '.join(sorted(unknown))}")
        derived = schema.derive(free)
        self._labels = {
            axis.name: axis.labels if axis.labels is not None else (derived if axis.derived else free)[axis.name]
            for axis in schema.axes
        }
        # with thousands of labels, a scan of the axis for every record would grow with their square
        self._places = {
            dim: {label: place for place, label in enumerate(labels)} for dim, labels in self._labels.items()
        }

    def labels(self, dim: str) -> tuple[Label, ...]:
        """Return the labels along an axis, in order.

        Parameters
        ----------
        dim : str
        """
        return self._labels[dim]

    def coordinate(self, dim: str) -> AnyArray:
        """Return the labels along an axis as an array of the dtype that the store has.

        Parameters
        ----------
        dim : str
        """
        is_text = self.schema.axis[dim].dtype == "str"
        return np.array(self._labels[dim], dtype=np.dtypes.StringDType() if is_text else np.dtype("int64"))

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Return the lengths of axes.

        Parameters
        ----------
        dims : sequence of str
        """
        return tuple(len(self._labels[dim]) for dim in dims)

    def chunks(self, variable: Variable) -> tuple[int, ...]:
        """Return the chunk shape of a variable: one label of the partition, the whole of every other axis.

        A chunk then has one writer, and a flush rewrites one file per variable.

        Parameters
        ----------
        variable : Variable
        """
        return tuple(
            1 if dim == self.schema.partition else max(size, 1)
            for dim, size in zip(variable.dims, self.shape(variable.dims), strict=True)
        )

    def place(self, dim: str, label: Label) -> int:
        """Return the index of a label along an axis.

        Parameters
        ----------
        dim : str
        label : str or int

        Raises
        ------
        StoreError
            When the axis lacks the label.
        """
        place = self._places[dim].get(label)
        if place is None:
            raise StoreError(f"{dim}: expected one of {', '.join(map(str, self._labels[dim]))}, found {label!r}")
        return place

    def has(self, dim: str, label: Label) -> bool:
        """Return whether an axis has a label.

        Parameters
        ----------
        dim : str
        label : str or int
        """
        return label in self._places[dim]

    def index(self, table: Table, labels: Mapping[str, Label]) -> tuple[int, ...]:
        """Return the index of a row along the label dims of its table.

        Parameters
        ----------
        table : Table
        labels : mapping of str to str or int
            One label per label dim.

        Raises
        ------
        StoreError
            When the dims are not those of the table, or an axis lacks a label.
        """
        if set(labels) != set(table.dims):
            raise StoreError(f"labels: expected {', '.join(table.dims)}, found {', '.join(labels) or 'none'}")
        return tuple(self.place(dim, labels[dim]) for dim in table.dims)

    def rows(self, table: Table) -> list[LabelTuple]:
        """Return the labels of every row of a table, in the order of its dims, the last dim fastest.

        Parameters
        ----------
        table : Table
        """
        return list(product(*(self._labels[dim] for dim in table.dims)))

    def extent(self, dim: str, labels: Mapping[str, Label]) -> int:
        """Return how far the value of one row may reach along an axis.

        Parameters
        ----------
        dim : str
        labels : mapping of str to str or int
            Labels of the row.
        """
        limit = self.schema.extent(dim, labels)
        return len(self._labels[dim]) if limit is None else limit

    def expected(self, table: Table, variable: Variable) -> BoolArray:
        """Return where the rows of a table have values of a variable when they are done.

        Parameters
        ----------
        table : Table
        variable : Variable
            A variable of the table.

        Returns
        -------
        array of bool
            On the dims of the variable without the partition.
        """
        dims = table.value_dims(variable)
        expected = np.zeros(self.shape(variable.dims[1:]), dtype=bool)
        first = self._labels[table.dims[0]][:1]
        for place in np.ndindex(self.shape(table.dims[1:])):
            labels = dict(zip(table.dims[:1], first, strict=True))
            labels |= {dim: self._labels[dim][i] for dim, i in zip(table.dims[1:], place, strict=True)}
            expected[(*place, *(slice(self.extent(dim, labels)) for dim in dims))] = True
        return expected

    def indexer(self, source: Layout, dims: Sequence[str]) -> tuple[IntArray, ...]:
        """Return the places that the labels of another layout have in this one, to index an array with.

        Parameters
        ----------
        source : Layout
            Layout whose labels this one has, in any order.
        dims : sequence of str

        Returns
        -------
        tuple of array of int
            Open mesh (`numpy.ix_`) over the dims.
        """
        places = [[self._places[dim][label] for label in source.labels(dim)] for dim in dims]
        return np.ix_(*(np.array(along, dtype=np.int64) for along in places))

    def union(self, labels: Mapping[str, Iterable[Label]]) -> Layout:
        """Return this layout with further labels on its free axes.

        Parameters
        ----------
        labels : mapping of str to iterable of str or int
            Labels by axis; those that the layout has already are ignored.
        """
        joined = {dim: tuple(dict.fromkeys((*own, *labels.get(dim, ())))) for dim, own in self.free.items()}
        return Layout(self.schema, joined | {dim: tuple(new) for dim, new in labels.items() if dim not in joined})

    @property
    def free(self) -> dict[str, tuple[Label, ...]]:
        """Labels of the free axes."""
        return {axis.name: self._labels[axis.name] for axis in self.schema.axes if axis.is_free}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.schema.kind == other.schema.kind and self._labels == other._labels

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Layout({self.schema.kind}, {self.free})"


def _checked(axis: Axis, labels: Iterable[Label], schema: Schema) -> tuple[Label, ...]:
    checked = tuple(labels)
    expected = str if axis.dtype == "str" else int
    if wrong := [label for label in checked if not isinstance(label, expected)]:
        raise StoreError(f"{axis.name}: expected labels of type {axis.dtype}, found {wrong[0]!r}")
    if len(set(checked)) != len(checked) or "" in checked or (axis.name in schema.label_dims and not checked):
        raise StoreError(f"{axis.name}: expected one or more different labels, found {checked}")
    if axis.choices is not None and (unknown := [label for label in checked if label not in axis.choices]):
        raise StoreError(
            f"{axis.name}: expected {', '.join(map(str, axis.choices))}, found {', '.join(map(str, unknown))}"
        )
    return tuple(sorted(checked)) if axis.order == "sorted" else checked
