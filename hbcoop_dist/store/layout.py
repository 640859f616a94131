"""Labels along the axes of a store, without any disk access: they decide every shape, and two layouts can be joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from hbcoop_dist.core.arrays import AnyArray, BoolArray, IntArray
from hbcoop_dist.core.results import Label, LabelTuple
from hbcoop_dist.store.paths import StoreError
from hbcoop_dist.store.schema import Axis, Schema, Table, Variable


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
