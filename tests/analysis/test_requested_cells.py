"""Cells that an earlier campaign of the history requests become pending again."""

from __future__ import annotations

import json
from operator import attrgetter

import xarray as xr

from hbcoop_dist.analysis import mark_pending
from hbcoop_dist.analysis.selection import requested_by
from hbcoop_dist.campaigns.hbond.spec import HBondSpec, cells_of
from hbcoop_dist.structures.chains import CELL_DIMS

cell_labels = attrgetter(*CELL_DIMS)
RULES = ["cis-N, trans-C", {"odd": "cis-N, cis-C"}]


def _spec(**fields: object) -> HBondSpec:
    return HBondSpec.model_validate({"campaign": "x", "models": ["toy"], "lengths": [2, 3], **fields})


def _history(*specs: str) -> str:
    return json.dumps([{"at": "", "event": "run", "spec": spec} for spec in specs])


def test_a_history_requests_the_cells_of_its_campaigns_and_no_others() -> None:
    specs = [
        _spec(capping=["none", {"name": "water", "lengths": [4]}], rotamer=RULES, geometry=["own", "nma-so3lr"]),
        _spec(models=["toy-additive"], patterns=["linear"], lengths="2..4"),
    ]
    old = '{"campaign": "of a version without models"}'
    is_requested = requested_by(_history("", old, *(spec.to_json() for spec in specs)))
    every = cells_of(
        _spec(
            models=["toy", "toy-additive"],
            patterns=["arc", "linear"],
            lengths=[2, 3, 4],
            capping=["none", "water"],
            rotamer=RULES,
            geometry=["own", "nma-so3lr"],
        )
    )
    expected = {cell_labels(cell) for spec in specs for cell in cells_of(spec)}
    found = {labels for cell in every if is_requested(labels := cell_labels(cell))}
    assert found == expected
    assert len(expected) < len(every)


def test_only_requested_cells_become_pending(ds: xr.Dataset) -> None:
    assert mark_pending(ds) is ds
    models, length = [str(name) for name in ds["model"].values[:2]], int(ds["length"].values[0])
    labels = {dim: str(ds[dim].values[0]) for dim in CELL_DIMS if dim != "length"} | {"length": length}
    spec = {
        "models": [{"name": models[0]}],
        "patterns": [labels["pattern"]],
        "lengths": [length],
        "capping": [{"name": labels["capping"]}],
        "geometry": [labels["geometry"]],
        "rotamer": [{"all": labels["rotamer"]}],
        "constraint": [labels["constraint"]],
    }
    said = ds.copy(deep=True).assign_attrs(history=_history(json.dumps(spec)))
    for name in models:
        said["status"].loc[labels | {"model": name}] = "skipped"
        said["reason"].loc[labels | {"model": name}] = "not asked for by campaign later"
    found = mark_pending(said)
    assert found["status"].sel(labels).item() == "pending"
    assert found["status"].sel(labels | {"model": models[1]}).item() == "skipped"
    assert int((found["status"] != said["status"]).sum()) == 1
