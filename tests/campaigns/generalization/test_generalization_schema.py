"""The store of a generalization campaign: whole on disk, grown without loss, and never mixed with another kind."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.store import GeneralizationStore

from hbcoop_dist.campaigns.generalization.schema import KIND, VARIABLES
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec, TrainingCell, cells_of
from hbcoop_dist.store import (
    Layout,
    ProtocolMismatchError,
    StoreSchemaError,
    kind_of_store,
    merge_stores,
    open_store,
    prepare_store,
)

BASE = {
    "campaign": "test",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 40},
    "splits": ["random", "size"],
    "schemes": ["none", "les"],
}


def spec(**changes: object) -> GeneralizationSpec:
    return GeneralizationSpec.model_validate(BASE | changes)


def test_every_variable_is_there_and_missing_at_first(tmp_path: Path) -> None:
    GeneralizationStore(tmp_path / "s.zarr", spec())
    found = xr.open_zarr(tmp_path / "s.zarr")
    assert set(found.data_vars) == set(VARIABLES)
    assert set(found["status"].values.ravel().tolist()) == {"pending"}
    assert np.isnan(found["energy_rmse"].values).all()
    for name, variable in VARIABLES.items():
        assert found[name].dims == variable.dims
        assert found[name].attrs["long_name"] == variable.long_name


def test_values_stay_at_their_labels_when_axes_grow(tmp_path: Path) -> None:
    first = GeneralizationStore(tmp_path / "s.zarr", spec())
    cell = TrainingCell("ionic", "size", "mace", "les", 0)
    first.put(cell.labels, {"energy_rmse": 3.0, "status": "done"})
    first.put(cell.labels, {"training_loss": [5.0, 4.0]}, {"step": [100, 200]})
    first.flush()
    grown = GeneralizationStore(
        tmp_path / "s.zarr", spec(splits=["cluster", "size"], schemes=["efa", "les"], seeds=[1, 0])
    )
    grown.put(TrainingCell("ionic", "size", "mace", "les", 1).labels, {"training_loss": [9.0]}, {"step": [150]})
    grown.flush()
    found = open_store(tmp_path / "s.zarr", kind=KIND)
    assert float(found["energy_rmse"].sel(cell.labels)) == 3.0
    assert int(np.isfinite(found["energy_rmse"].values).sum()) == 1
    assert found["training_loss"].sel(cell.labels).values.tolist()[::2] == [5.0, 4.0]
    assert found["step"].values.tolist() == [100, 150, 200]
    assert found["seed"].values.tolist() == [0, 1]
    assert grown.statuses()[cell][0] == "done"
    assert len(grown.statuses()) == 3 * 3 * 2


def test_a_shorter_value_leaves_the_rest_missing(tmp_path: Path) -> None:
    store = GeneralizationStore(tmp_path / "s.zarr", spec())
    cell = cells_of(spec())[0]
    store.put(cell.labels, {"training_loss": [5.0, 4.0]}, {"step": [100, 200]})
    store.put(cell.labels, {"training_loss": [3.0]}, {"step": [200]})
    values = store.ds["training_loss"].sel(cell.labels).values
    assert np.isnan(values[0])
    assert values[1] == 3.0


def test_another_protocol_or_another_meaning_of_a_name_is_refused(tmp_path: Path) -> None:
    GeneralizationStore(tmp_path / "s.zarr", spec())
    with pytest.raises(ProtocolMismatchError, match=r"training\.steps: the store has 1200, this campaign asks for 7"):
        GeneralizationStore(tmp_path / "s.zarr", spec(training={"steps": 7}))
    with pytest.raises(
        ProtocolMismatchError, match=r"scheme les\.options\.self_energy: the store has 'nothing', .* True"
    ):
        GeneralizationStore(tmp_path / "s.zarr", spec(schemes={"name": "les", "options": {"self_energy": True}}))


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    GeneralizationStore(tmp_path / "s.zarr", spec())
    assert kind_of_store(tmp_path / "s.zarr") == KIND
    layout = Layout(("toy",), ("arc",), (2,), ("none",))
    for use in (
        lambda: open_store(tmp_path / "s.zarr"),
        lambda: merge_stores([tmp_path / "s.zarr", tmp_path / "s.zarr"], tmp_path / "t.zarr"),
        lambda: prepare_store(tmp_path / "s.zarr", layout, protocol={"kind": "hbond"}),
    ):
        with pytest.raises(
            StoreSchemaError, match="expected a store of a campaign of kind hbond, found one of kind gen"
        ):
            use()


def test_a_half_written_store_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GeneralizationStore(tmp_path / "s.zarr", spec())
    cell = cells_of(spec())[0]
    store.put(cell.labels, {"energy_rmse": 1.0})
    store.flush()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hbcoop_dist.campaigns.generalization.store.swap", killed)
    store.put(cell.labels, {"energy_rmse": 2.0})
    with pytest.raises(KeyboardInterrupt):
        store.flush()
    assert float(open_store(tmp_path / "s.zarr", kind=KIND)["energy_rmse"].sel(cell.labels)) == 1.0
    monkeypatch.undo()
    again = GeneralizationStore(tmp_path / "s.zarr", spec())
    assert float(again.ds["energy_rmse"].sel(cell.labels)) == 1.0
