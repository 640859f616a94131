"""Contract suite for kinds of campaigns, as a class of pytest tests.

Subclass `KindContract` in a test module, name it ``Test...`` and define `KindContract.write_campaign`; pytest then runs
every test on the kind. Tests of a kind may need seconds to minutes, as long as its smallest campaign takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis.report_content import ReportOptions
from hbcoop_dist.campaigns import pending_cells
from hbcoop_dist.campaigns.kind import AnyKind, AnyPlan, find_kind, load_campaign, plan, specs_in_history
from hbcoop_dist.campaigns.runner import Summary, run
from hbcoop_dist.core import results
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import (
    Journal,
    arrays_path,
    history_of,
    journal_path,
    kind_of_store,
    merge_stores,
    models_path,
    open_store,
    verify,
)

VOLATILE = ("seconds", "computed_at", "host")
"""Variables that differ between two runs of the same campaign."""

_KEYS_SCRIPT = """
import json, sys
from hbcoop_dist.campaigns.kind import load_campaign, plan
made = plan(load_campaign(sys.argv[1]))
print(json.dumps([list(made.tasks), [batch.name for batch in made.batches], "torch" in sys.modules]))
"""


def store_differences(first: xr.Dataset, second: xr.Dataset) -> list[str]:
    """Return the names of variables and dims in which two stores differ, `VOLATILE` ones aside."""
    differences = [f"dim {dim}" for dim in first.dims if list(first[dim].values) != list(second[dim].values)]
    for name in first.data_vars:
        if name not in VOLATILE and not differences:
            values = first[name].values, second[name].values
            equal_nan = values[0].dtype.kind == "f"
            if not np.array_equal(*values, equal_nan=equal_nan):
                differences.append(str(name))
    return differences


class KindContract:
    """Tests that every kind of campaign passes.

    Attributes
    ----------
    name : str
        Name of the kind.
    import_free : tuple of str
        Modules that planning must not import.
    """

    name: ClassVar[str]
    import_free: ClassVar[tuple[str, ...]] = ("torch", "openmm", "matplotlib")

    def write_campaign(self, folder: Path, partitions: int = 1) -> Path:
        """Write a small campaign and return its path.

        Parameters
        ----------
        folder : Path
        partitions : int
            Number of labels on the partition axis, 1 or 2; the first label is the same in both cases. A campaign of two
            has all the cells of one.
        """
        raise NotImplementedError

    def change_source(self, made: AnyPlan, folder: Path) -> AnyPlan | None:
        """Return the plan of the same campaign with another checkpoint or package; None where it has none."""
        return None

    @property
    def kind(self) -> AnyKind:
        """The kind under test."""
        return find_kind(self.name)

    @pytest.fixture(scope="class")
    @classmethod
    def workspace(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Folder that the tests of a class share."""
        return tmp_path_factory.mktemp(f"contract-{cls.name}")

    @pytest.fixture(scope="class")
    @classmethod
    def campaign(cls, workspace: Path) -> Path:
        """Campaign with one label on the partition axis."""
        return cls().write_campaign(workspace, 1)

    @pytest.fixture(scope="class")
    @classmethod
    def finished(cls, workspace: Path, campaign: Path) -> Path:
        """Store of that campaign, run to the end without a disturbance. Tests must not change it."""
        store = workspace / "finished.zarr"
        summary = cls().run(campaign, store)
        assert set(summary.statuses) == {"done"}, summary
        return store

    def run(self, campaign: Path, store: Path, **options: Any) -> Summary:
        """Run a campaign in this process."""
        return run(plan(load_campaign(campaign)), store, serial=True, display=QuietDisplay(), **options)

    def test_spec_survives_a_round_trip_through_json(self, campaign: Path) -> None:
        spec = load_campaign(campaign)
        assert spec.kind == self.name
        assert self.kind.spec_from_json(spec.to_json()) == spec

    def test_unknown_field_is_refused_by_line(self, campaign: Path, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text(campaign.read_text() + "\nnot_a_field: 1\n")
        with pytest.raises(hb.CampaignError, match=r"bad\.yaml:\d+: field not_a_field"):
            load_campaign(path)

    def test_plan_is_pure_and_the_same_in_every_process(self, campaign: Path) -> None:
        made = plan(load_campaign(campaign))
        for seed in ("1", "2"):
            answer = subprocess.run(
                [sys.executable, "-c", _KEYS_SCRIPT, str(campaign)],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            )
            keys, batches, _ = json.loads(answer.stdout.splitlines()[-1])
            assert keys == list(made.tasks)
            assert batches == [batch.name for batch in made.batches]

    def test_planning_imports_nothing_heavy(self, campaign: Path) -> None:
        script = _KEYS_SCRIPT + f"\nprint(json.dumps([m for m in {self.import_free!r} if m in sys.modules]))"
        answer = subprocess.run(
            [sys.executable, "-c", script, str(campaign)], capture_output=True, text=True, check=True
        )
        assert json.loads(answer.stdout.splitlines()[-1]) == []

    def test_every_task_of_the_plan_is_in_one_batch_after_its_inputs(self, campaign: Path) -> None:
        made = plan(load_campaign(campaign))
        batched = [task.key for batch in made.batches for task in batch.tasks]
        assert sorted(batched) == sorted(made.tasks)
        for position, key in enumerate(made.tasks):
            assert set(made.tasks[key].inputs) <= set(list(made.tasks)[:position])

    def test_finished_store_is_complete_and_verified(self, finished: Path) -> None:
        assert kind_of_store(finished) == self.name
        assert verify(finished, self.kind.schema) == []
        ds = open_store(finished, kind=self.name)
        cells = self.kind.schema.cells
        assert set(ds[cells.status].values.ravel()) == {"done"}
        for name in cells.required:
            assert np.isfinite(ds[name].values).any()

    def test_second_run_computes_nothing(self, finished: Path, campaign: Path) -> None:
        before = Journal(journal_path(finished), self.kind.payloads).keys()
        assert self.run(campaign, finished).computed == 0
        assert Journal(journal_path(finished), self.kind.payloads).keys() == before

    def test_journal_rebuilds_a_lost_store(self, finished: Path, campaign: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy.zarr"
        journal_path(copy).write_bytes(journal_path(finished).read_bytes())
        if (arrays := arrays_path(finished)).is_dir():
            os.symlink(arrays, arrays_path(copy))
        self.run(campaign, copy)
        assert store_differences(open_store(finished).load(), open_store(copy).load()) == []

    def test_killed_run_resumes_to_the_same_store(self, finished: Path, campaign: Path, tmp_path: Path) -> None:
        store = tmp_path / "killed.zarr"
        command = [sys.executable, "-m", "hbcoop_dist", "run", str(campaign), str(store), "--serial"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal, deadline = journal_path(store), time.monotonic() + 300
        while (
            process.poll() is None and not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.run(campaign, store)
        assert store_differences(open_store(finished).load(), open_store(store).load()) == []

    def test_other_package_version_makes_cells_stale(
        self, finished: Path, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = _copy(finished, tmp_path)
        made = plan(load_campaign(campaign))
        packages = {name for cell in made.cell_tasks for name in made.sources[cell.source].needs.packages}
        if not packages:
            pytest.skip("no package decides the numbers of this campaign")
        changed = sorted(packages)[0]
        real = results.installed_version
        monkeypatch.setattr(pending_cells, "installed_version", lambda name: "99.0" if name == changed else real(name))
        # one package of several that has changed is enough
        assert self.run(campaign, store).computed == len(made.cell_tasks)

    def test_other_source_makes_cells_stale(self, finished: Path, campaign: Path, tmp_path: Path) -> None:
        store = _copy(finished, tmp_path)
        changed = self.change_source(plan(load_campaign(campaign)), tmp_path)
        if changed is None:
            pytest.skip("the sources of this campaign have no checkpoint")
        summary = run(changed, store, serial=True, display=QuietDisplay())
        assert summary.computed == len(changed.cell_tasks)

    def test_history_of_what_is_not_installed_is_read(self, finished: Path, campaign: Path, tmp_path: Path) -> None:
        store = _copy(finished, tmp_path)
        strangers: list[dict[str, Any]] = [
            {"campaign": "of a stranger", "kind": "not-installed", "anything": [1, 2]},
            {"campaign": "older", "kind": self.name, "field of an older version": True},
        ]
        root = store / "zarr.json"
        content = json.loads(root.read_text())
        history = json.loads(content["attributes"]["history"])
        events = [{"at": "2020-01-01T00:00:00+00:00", "event": "run", "spec": json.dumps(spec)} for spec in strangers]
        content["attributes"]["history"] = json.dumps([*events, *history])
        root.write_text(json.dumps(content))
        assert [spec["campaign"] for spec in specs_in_history(history_of(store))][:2] == ["of a stranger", "older"]
        assert self.kind.requested(strangers)(tuple("x" for _ in self.kind.schema.cells.dims)) is False
        summary = self.run(campaign, store)
        assert summary.ok
        assert summary.computed == 0

    def test_larger_campaign_extends_the_store_and_keeps_what_it_had(self, finished: Path, tmp_path: Path) -> None:
        store = _copy(finished, tmp_path)
        larger = self.write_campaign(tmp_path, 2)
        before = open_store(store).load()
        summary = self.run(larger, store)
        assert summary.ok
        assert summary.computed == summary.statuses["done"] - before[self.kind.schema.cells.status].size
        after = open_store(store).load()
        part = after.sel({self.kind.schema.partition: before[self.kind.schema.partition]})
        for variable in self.kind.schema.cells.variables:
            if variable.dims == self.kind.schema.cells.dims:
                xr.testing.assert_equal(part[variable.name].variable, before[variable.name].variable)

    def test_parts_merge_into_the_whole(self, finished: Path, tmp_path: Path) -> None:
        whole = _copy(finished, tmp_path)
        larger = self.write_campaign(tmp_path, 2)
        self.run(larger, whole)
        merged = tmp_path / "merged.zarr"
        merge_stores([finished, whole], merged, self.kind.schema)
        assert store_differences(open_store(whole).load(), open_store(merged).load()) == []
        assert self.run(larger, merged).computed == 0

    def test_comparison_with_itself_finds_no_difference(self, finished: Path) -> None:
        ds = open_store(finished).load()
        comparison = self.kind.compare(ds, ds)
        assert comparison.largest == 0.0
        assert comparison.lines

    def test_every_export_is_written(self, finished: Path, tmp_path: Path) -> None:
        ds = open_store(finished).load()
        for suffix, exporter in self.kind.exporters().items():
            path = tmp_path / f"export{suffix}"
            if suffix == ".parquet":
                pytest.importorskip("pyarrow")
            assert exporter.write(ds, path)
            assert path.stat().st_size > 0

    def test_tables_and_report_of_a_finished_store(self, finished: Path) -> None:
        ds = open_store(finished).load()
        assert self.kind.status(ds)
        assert self.kind.analyse(ds)
        report = self.kind.report(ds, ReportOptions())
        assert report.title
        assert report.summary

    def test_empty_and_partly_done_stores_are_shown(self, finished: Path) -> None:
        ds = open_store(finished).load()
        cells = self.kind.schema.cells
        empty = ds.copy(deep=True)
        for variable in cells.variables:
            empty[variable.name].values[...] = variable.fill
        partly = ds.copy(deep=True)
        first = (0,) * len(cells.dims)
        partly[cells.status].values[first] = "failed"
        partly[cells.reason].values[first] = "code: an error"
        for other in (empty, partly):
            assert self.kind.status(other)
            self.kind.analyse(other)
            self.kind.report(other, ReportOptions())

    def test_failed_cell_is_kept_with_its_reason_and_retried(
        self, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = tmp_path / "failed.zarr"
        made = plan(load_campaign(campaign))
        real = type(self.kind).work

        def broken(kind: AnyKind, made: AnyPlan, arrays: Path) -> Any:
            return lambda *arguments: _FailingWork(arguments[0])

        monkeypatch.setattr(type(self.kind), "work", broken)
        summary = run(made, store, serial=True, display=QuietDisplay())
        assert set(summary.statuses) == {"failed"}
        reasons = set(open_store(store)[self.kind.schema.cells.reason].values.ravel())
        assert all("planted" in reason for reason in reasons)
        monkeypatch.setattr(type(self.kind), "work", real)
        assert self.run(campaign, store).computed == 0
        assert set(self.run(campaign, store, retry=("failed",)).statuses) == {"done"}


class _FailingWork:
    """Work that raises, to see that every cell becomes a row with a reason."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def do(self) -> list[Any]:
        raise RuntimeError("planted")


def _copy(store: Path, folder: Path) -> Path:
    """Copy a store with its journal and its large results."""
    import shutil

    copy = folder / "copied.zarr"
    shutil.copytree(store, copy)
    for path_of in (journal_path, arrays_path, models_path):
        companion, target = path_of(store), path_of(copy)
        if companion.is_dir():
            shutil.copytree(companion, target)
        elif companion.exists():
            shutil.copy(companion, target)
    return copy
