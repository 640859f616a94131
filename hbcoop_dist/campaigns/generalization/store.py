"""The store of a generalization campaign: some hundred networks, so it is kept in memory and written anew as a whole.

On disk it is swapped in whole, beside its journal, with the same companions as every other store of the package.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hbcoop_dist.campaigns.generalization.schema import AXES, DEFINITIONS, INTEGER_AXES, KIND, VARIABLES
from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS, GeneralizationSpec, TrainingCell, cells_of
from hbcoop_dist.store import open_store
from hbcoop_dist.store.archive import refuse_archive
from hbcoop_dist.store.create import differences, history, recover_held, swap
from hbcoop_dist.store.errors import ProtocolMismatchError, writing
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.schema import SCHEMA, SCHEMA_VERSION, Variable

FLUSH_SECONDS = 20.0
_TITLE = "Generalization of force fields with and without long-range schemes"


class GeneralizationStore:
    """A store that the caller holds the lock of; made, or grown by what a campaign asks for beyond it.

    Parameters
    ----------
    path : str or Path
    spec : GeneralizationSpec

    Raises
    ------
    StoreError
        When `path` is something else, or made with another protocol, or a label there stands for something else.
    """

    def __init__(self, path: str | Path, spec: GeneralizationSpec) -> None:
        self._paths = StorePaths.of(path)
        refuse_archive(self._paths.store)
        recover_held(self._paths)
        self._since: float | None = None
        if self._paths.store.exists():
            self.ds = open_store(self._paths.store, kind=KIND).load()
            self._check(spec)
            events = json.loads(self.ds.attrs["history"])
            text = spec.model_dump_json()
            if text != events[-1]["spec"]:
                self.ds.attrs["history"] = history(events, "run", text)
        else:
            self.ds = xr.Dataset(attrs=_attributes(spec))
        cells = cells_of(spec)
        self.grow({dim: [cell.labels[dim] for cell in cells] for dim in CELL_DIMS})
        for dim, entries in spec.definitions().items():
            for name, text in entries.items():
                self.put({dim: name}, {f"{dim}_definition": text})
        self.flush()

    def _check(self, spec: GeneralizationSpec) -> None:
        asked = json.loads(json.dumps(spec.protocol))
        lines = list(differences(json.loads(str(self.ds.attrs["protocol"])), asked))
        for variable in DEFINITIONS:
            dim = variable.dims[0]
            before = dict(zip(self.ds[dim].values.tolist(), self.ds[variable.name].values.tolist(), strict=True))
            for name, text in spec.definitions()[dim].items():
                if known := before.get(name):
                    lines += differences(json.loads(known), json.loads(text), f"{dim} {name}")
        if lines:
            raise ProtocolMismatchError(
                f"{self._paths.store}: expected what the store was made with, found another\n  "
                + "\n  ".join(lines)
                + "\nUse what the store has, give another name, or use another store."
            )

    def grow(self, labels: Mapping[str, Iterable[str | int]]) -> None:
        """Have at least these labels along these axes; what is new is missing."""
        wanted: dict[str, list[str | int]] = {}
        for dim, asked in labels.items():
            known = self.ds[dim].values.tolist() if dim in self.ds.coords else []
            joined = list(dict.fromkeys((*known, *asked)))
            if joined != known:
                wanted[dim] = sorted(joined) if dim in INTEGER_AXES else joined
        if wanted or not self.ds.data_vars:
            self.ds = _laid_out(self.ds, wanted)

    def put(
        self,
        labels: Mapping[str, str | int],
        values: Mapping[str, object],
        along: Mapping[str, Sequence[str | int]] = MappingProxyType({}),
    ) -> None:
        """Set variables at these labels.

        Parameters
        ----------
        labels : mapping of str to str or int
        values : mapping of str to object
            By name; one that has an axis beside those of `labels` lies along it, and what it is too short for becomes
            missing.
        along : mapping of str to sequence
            Labels of such axes, which grow by them.
        """
        self.grow(along)
        for name, value in values.items():
            variable = VARIABLES[name]
            block = self.ds[name].values
            place = tuple(self.ds.indexes[dim].get_loc(labels[dim]) for dim in variable.dims if dim in labels)
            rest = [dim for dim in variable.dims if dim not in labels]
            if rest:
                block[place] = variable.fill
                block[place][self.ds.indexes[rest[0]].get_indexer(pd.Index(along[rest[0]]))] = value
            else:
                block[place] = value
        if self._since is None:
            self._since = time.monotonic()

    def asked(self) -> set[TrainingCell]:
        """Cells that the campaigns of this store ask for."""
        texts = {str(event["spec"]) for event in json.loads(str(self.ds.attrs["history"]))}
        return {cell for text in texts for cell in cells_of(GeneralizationSpec.model_validate_json(text))}

    def statuses(self) -> dict[TrainingCell, tuple[str, str]]:
        """Status and task key of every cell of the store."""
        stacked = self.ds[["status", "task_key"]].stack(cell=CELL_DIMS)
        labels: Sequence[Hashable] = stacked.indexes["cell"].tolist()
        pairs = zip(stacked["status"].values.tolist(), stacked["task_key"].values.tolist(), strict=True)
        return {TrainingCell(*label): pair for label, pair in zip(labels, pairs, strict=True)}  # type: ignore[misc]

    def flush_if_due(self) -> None:
        """Write when something has waited long enough."""
        if self._since is not None and time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the store anew and swap it in."""
        with writing(self._paths.store):
            shutil.rmtree(self._paths.growing, ignore_errors=True)
            _writable(self.ds).to_zarr(
                self._paths.growing, mode="w", zarr_format=3, consolidated=False, encoding=_encoding(self.ds)
            )
            swap(self._paths)
        self._since = None


def _attributes(spec: GeneralizationSpec) -> dict[str, Any]:
    return {
        "title": _TITLE,
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "protocol": json.dumps(spec.protocol, sort_keys=True),
        "history": history([], "created", spec.model_dump_json()),
    }


def _laid_out(ds: xr.Dataset, wanted: Mapping[str, Sequence[str | int]]) -> xr.Dataset:
    """The same values on longer axes."""
    axes = {dim: list(wanted.get(dim, ds[dim].values.tolist() if dim in ds.coords else [])) for dim in AXES}
    coords = {
        dim: xr.Variable(
            (dim,), np.array(labels, dtype=np.int64 if dim in INTEGER_AXES else object), {"long_name": text}
        )
        for (dim, text), labels in zip(AXES.items(), axes.values(), strict=True)
    }
    arrays = {}
    for variable in VARIABLES.values():
        block = _missing(variable, tuple(len(axes[dim]) for dim in variable.dims))
        if variable.name in ds:
            places = [[axes[dim].index(label) for label in ds[dim].values.tolist()] for dim in variable.dims]
            block[np.ix_(*places)] = ds[variable.name].values
        arrays[variable.name] = xr.Variable(variable.dims, block, variable.attributes())
    return xr.Dataset(arrays, coords, ds.attrs)


def _missing(variable: Variable, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.full(shape, variable.fill, dtype=object if variable.dtype == "str" else variable.numpy_dtype)


def _writable(ds: xr.Dataset) -> xr.Dataset:
    """Text as Zarr keeps it, and no empty axis in the way."""
    text = np.dtypes.StringDType()
    out = ds.copy()
    for name, array in ds.variables.items():
        if array.dtype == object:
            out[name] = xr.Variable(array.dims, array.values.astype(text), array.attrs)
    return out


def _encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    return {
        str(name): {
            "compressors": (ZstdCodec(), Crc32cCodec()),
            "chunks": tuple(max(size, 1) for size in array.shape),
            **({"_FillValue": VARIABLES[str(name)].fill} if str(name) in VARIABLES and array.dtype == float else {}),
        }
        for name, array in ds.variables.items()
    }
