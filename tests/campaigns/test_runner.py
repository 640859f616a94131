"""Runs of chains into stores: only what is pending is computed, and no kill loses or changes a value."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from stores import differences

import hbcoop_dist as hb
from hbcoop_dist.campaigns import runner
from hbcoop_dist.campaigns.hbond import worker
from hbcoop_dist.campaigns.hbond.kind import KIND
from hbcoop_dist.campaigns.runner import Summary, stored_results
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.models import registry
from hbcoop_dist.store import ProtocolMismatchError, StoreLock, StoreLockedError, verify

HBCOOP = str(Path(sys.executable).with_name("hbcoop"))
BASE = {"campaign": "test", "models": ["toy"], "lengths": [2, 3], "constraint": "mirror"}


def spec_file(folder: Path, **fields: object) -> Path:
    path = folder / "spec.yaml"
    path.write_text(dump_yaml({**BASE, **fields}))
    return path


def run(folder: Path, store: Path, retry: tuple[str, ...] = (), **fields: object) -> Summary:
    made = hb.plan(hb.load_campaign(spec_file(folder, **fields)))
    return hb.run(made, store, serial=True, display=QuietDisplay(), retry=retry)


def test_a_store_holds_every_cell_with_labels_units_and_provenance(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    summary = run(tmp_path, store, patterns=["arc", "linear"], capping=["none", {"name": "water", "lengths": [2]}])
    assert summary.ok
    assert summary.statuses == {"done": 6}
    ds = hb.open_store(store)
    cell = ds.sel(model="toy", pattern="linear", length=3, capping="none").squeeze()
    assert cell.cooperative_energy.attrs["units"] == "kcal/mol"
    head, middle, tail = cell.cooperative_energy.values
    assert head == middle == cell.hbond_cooperative_energy.values[0]
    assert tail == cell.hbond_cooperative_energy.values[1]
    assert cell.cooperative_energy.values == pytest.approx(
        (cell.cooperative_energy_electronic + cell.cooperative_energy_geometric).values
    )
    assert list(cell.position_conformer.values) == ["syn", "syn", "anti"]
    assert "numpy" in json.loads(str(cell.versions.values))
    unasked = ds.sel(model="toy", pattern="arc", length=3, capping="water").squeeze()
    assert str(unasked.status.values) == "skipped"
    assert str(unasked.reason.values) == "not asked for by campaign test"
    assert np.isnan(unasked.cooperative_energy.values).all()
    assert verify(store, KIND.schema) == []


def test_a_store_that_has_grown_equals_one_computed_at_once(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    assert run(tmp_path, store).computed == 2
    before = hb.open_store(store).load()
    assert run(tmp_path, store).computed == 0
    assert run(tmp_path, store, lengths=[2, 3, 4]).computed == 1
    assert run(tmp_path, store, models=["toy", "toy-additive"], lengths=[2, 3, 4]).computed == 3
    grown = hb.open_store(store).load()
    assert list(grown.model.values) == ["toy", "toy-additive"]
    assert list(grown.length.values) == [2, 3, 4]
    kept = grown.sel(model=["toy"], length=[2, 3], hbond=before.hbond, atom=before.atom)
    for name in ("cooperative_energy", "positions", "fragment_energy", "status", "seconds", "computed_at"):
        xr.testing.assert_equal(kept[name], before[name])
    fresh = tmp_path / "b.zarr"
    run(tmp_path, fresh, models=["toy", "toy-additive"], lengths=[2, 3, 4])
    assert differences(store, fresh) == []


def test_another_protocol_is_refused_by_field(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    run(tmp_path, store)
    with pytest.raises(ProtocolMismatchError, match=r"max_force.*(1e-05.*0\.0001|0\.0001.*1e-05)"):
        run(tmp_path, store, minimize={"max_force": 1e-4})


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    with StoreLock(store), pytest.raises(StoreLockedError):
        run(tmp_path, store)


def test_a_model_that_appears_later_is_no_longer_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.available

    def absent(card, path=None, **_):
        return registry.Availability(False, "lent out") if card.name == "toy-additive" else real(card, path)

    store = tmp_path / "a.zarr"
    monkeypatch.setattr(registry, "available", absent)
    summary = run(tmp_path, store, models=["toy", "toy-additive"])
    assert summary.ok
    assert summary.statuses == {"done": 2, "skipped": 2}
    assert set(hb.open_store(store).reason.sel(model="toy-additive").values.ravel()) == {"lent out"}
    monkeypatch.setattr(registry, "available", real)
    assert run(tmp_path, store, models=["toy", "toy-additive"]).statuses == {"done": 4}


def test_final_cells_are_computed_again_only_when_retried(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    first = run(tmp_path, store, minimize={"max_calls": 8})
    assert not first.ok
    assert first.statuses == {"unconverged": 2}
    assert run(tmp_path, store, minimize={"max_calls": 8}).computed == 0
    for calls in (8, 8, 9):  # each try goes on from where the one before gave up; another budget is no other protocol
        again = run(tmp_path, store, ("unconverged",), minimize={"max_calls": calls})
    assert again.statuses == {"done": 2}
    assert float(hb.open_store(store).max_force.max()) < 1e-5
    assert list(tmp_path.glob("*.scratch")) == []


def test_lost_values_are_written_again_from_the_journal(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    run(tmp_path, store)
    before = hb.open_store(store).load()
    (chunk,) = [path for path in (store / "cooperative_energy").iterdir() if path.name != "zarr.json"]
    chunk.unlink()
    assert np.isnan(hb.open_store(store).cooperative_energy.values).all()
    assert run(tmp_path, store).computed == 2
    after = hb.open_store(store).load()
    xr.testing.assert_equal(after.cooperative_energy, before.cooperative_energy)
    xr.testing.assert_equal(after.computed_at, before.computed_at)


def test_a_flipped_bit_on_disk_is_an_error_not_a_number(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    run(tmp_path, store)
    (chunk,) = [path for path in (store / "cooperative_energy").iterdir() if path.name != "zarr.json"]
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        hb.open_store(store).cooperative_energy.load()


def test_without_the_mirror_nothing_stays_on_a_saddle(tmp_path: Path) -> None:
    """The capped trimer of the toy is a saddle in the plane; with only the torsions held, or nothing, it leaves it."""
    stores = {name: tmp_path / f"{name}.zarr" for name in ("mirror", "torsions", "none")}
    cells = {}
    for name, store in stores.items():
        run(tmp_path, store, lengths=[3], capping=["water"], constraint=name, minimize={"max_calls": 2000})
        cells[name] = hb.open_store(store).squeeze().load()
    assert int(cells["mirror"].saddle) == 1
    assert float(cells["mirror"].planarity) < 1e-9
    for name in ("torsions", "none"):
        assert float(cells[name].energy) < float(cells["mirror"].energy) - 1e-3
        assert int(cells[name].saddle) == 0
    phi1 = np.radians(cells["torsions"].phi1.values)
    assert np.cos(phi1) == pytest.approx(1.0, abs=1e-9)


def test_given_geometries_from_xyz_files(tmp_path: Path) -> None:
    """Fragment energies on the very geometries of a folder give what the own geometries gave."""
    own, given, folder = tmp_path / "own.zarr", tmp_path / "given.zarr", tmp_path / "qm"
    run(tmp_path, own)
    ds = hb.open_store(own).load()
    folder.mkdir()
    from ase import Atoms

    for length in (2, 3):
        cell = ds.sel(length=length).squeeze()
        n = 12 * length
        Atoms(cell.atomic_number.values[:n], cell.positions.values[:n]).write(folder / f"{length}.extxyz")
        (folder / f"{length}.extxyz").rename(folder / f"{length}.xyz")
    assert run(tmp_path, given, geometry=str(folder)).statuses == {"done": 2}
    found = hb.open_store(given).load()
    assert list(found.geometry.values) == ["qm"]
    assert found.cooperative_energy.values == pytest.approx(ds.cooperative_energy.values, abs=1e-5)


def kill_and_continue(folder: Path, spec: Path, lines: int) -> Path:
    """Start a campaign, SIGKILL its driver when `lines` results are in the journal, run the same command again."""
    store = folder / f"killed-{lines}.zarr"
    journal = Path(f"{store}.journal")
    command = [HBCOOP, "run", str(spec), str(store)]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline
        assert victim.poll() is None, "the campaign ended before it could be killed"
        time.sleep(0.005)
    children = psutil.Process(victim.pid).children(recursive=True)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "workers outlived their driver"
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "32 done" in done.stdout
    return store


@pytest.mark.parametrize(
    "lines", [pytest.param(2, marks=pytest.mark.slow), 20, pytest.param(45, marks=pytest.mark.slow)]
)
def test_a_killed_campaign_continues_to_the_same_store(tmp_path: Path, lines: int) -> None:
    """SIGKILL early, in the middle and late; the toy's values are the same to the last bit."""
    spec = spec_file(
        tmp_path,
        models=["toy", "toy-additive"],
        patterns=["arc", "linear"],
        lengths="2..5",
        capping=["none", "water"],
    )
    undisturbed = tmp_path / "undisturbed.zarr"
    hb.run(hb.plan(hb.load_campaign(spec)), undisturbed, serial=True, display=QuietDisplay())
    assert differences(kill_and_continue(tmp_path, spec, lines), undisturbed) == []


@pytest.mark.slow
def test_a_killed_campaign_of_real_models_continues_to_the_same_store(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, models=["so3lr", "gfn2-xtb"], lengths=[2, 3])
    undisturbed, killed = tmp_path / "undisturbed.zarr", tmp_path / "killed.zarr"
    subprocess.run([HBCOOP, "run", str(spec), str(undisturbed)], check=True, capture_output=True, timeout=300)
    command = [HBCOOP, "run", str(spec), str(killed)]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = Path(f"{killed}.journal")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert victim.poll() is None, "the campaign ended before it could be killed"
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    # energies (eV) and cooperative energies (kcal/mol) to 1e-6; flat directions let positions differ a little more
    strict = [text for text in differences(killed, undisturbed, 1e-6) if "positions" not in text]
    assert [text for text in strict if "energy" in text or "status" in text] == []
    assert differences(killed, undisturbed, 1e-3) == []


@pytest.mark.parametrize("victim", ["worker", pytest.param("nanny", marks=pytest.mark.slow)])
def test_killed_workers_cost_nothing_but_time(tmp_path: Path, victim: str) -> None:
    """A worker is restarted by its nanny; where that died too, the campaign starts another."""
    spec = spec_file(tmp_path, patterns=["arc", "linear"], lengths="2..6", capping=["none", "water"])
    store, calm = tmp_path / "a.zarr", tmp_path / "b.zarr"
    driver = subprocess.Popen(
        [HBCOOP, "run", str(spec), str(store)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = Path(f"{store}.journal")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        time.sleep(0.005)
    mark = "spawn_main" if victim == "worker" else "hbcoop_dist/clusters/dask_worker.py"
    found = [p for p in psutil.Process(driver.pid).children(recursive=True) if mark in " ".join(p.cmdline())]
    assert found
    for process in found[:1] if victim == "worker" else found:
        process.kill()
    assert driver.wait(timeout=300) == 0
    hb.run(hb.plan(hb.load_campaign(spec)), calm, serial=True, display=QuietDisplay())
    assert differences(store, calm) == []


def test_serial_and_dask_give_the_same_store(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, patterns=["arc", "linear"], capping=["none", "water"])
    dask, serial = tmp_path / "a.zarr", tmp_path / "b.zarr"
    subprocess.run([HBCOOP, "run", str(spec), str(dask)], check=True, capture_output=True, timeout=300)
    hb.run(hb.plan(hb.load_campaign(spec)), serial, serial=True, display=QuietDisplay())
    assert differences(dask, serial) == []


def test_a_script_needs_no_main_guard_and_plain_xarray_reads_the_store(tmp_path: Path) -> None:
    spec_file(tmp_path)
    (tmp_path / "example.py").write_text(
        "import hbcoop_dist as hb\n"
        "plan = hb.plan(hb.load_campaign('spec.yaml'))\n"
        "print(plan)\n"
        "hb.run(plan, 'x.zarr')\n"
        "ds = hb.open_store('x.zarr')\n"
        "print(ds.cooperative_energy.sel(model='toy', pattern='arc', capping='none', position='middle').values)\n"
    )
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    reader = (
        "import sys, warnings; warnings.simplefilter('error'); import xarray as xr; ds = xr.open_zarr('x.zarr');"
        "assert 'hbcoop_dist' not in sys.modules;"
        "v = ds.cooperative_energy.sel(model='toy', pattern='arc', length=3, position='middle');"
        "print(float(v.squeeze()), v.attrs['units'], ds.status.values.ravel())"
    )
    read = subprocess.run([sys.executable, "-c", reader], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith("0.7")
    assert "kcal/mol" in read.stdout


def test_the_journal_keeps_every_task_with_its_time(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    run(tmp_path, store)
    found = list(stored_results(store, KIND.payloads))
    assert len(found) == len(hb.plan(hb.load_campaign(tmp_path / "spec.yaml")).tasks)
    assert all(result.seconds > 0 for result in found)


def test_lowest_rotamers_are_chosen_by_energy_and_recorded(tmp_path: Path) -> None:
    """The toy's rotamers differ by little, but differ: no cell of the default rotamer is lower."""
    lowest, default = tmp_path / "lowest.zarr", tmp_path / "default.zarr"
    fields = {"patterns": ["arc", "linear"], "lengths": [2, 3]}
    first = run(tmp_path, lowest, rotamer="lowest", **fields)
    assert first.statuses == {"done": 4}
    assert run(tmp_path, lowest, rotamer="lowest", **fields).computed == 0
    run(tmp_path, default, **fields)
    ds, plain = hb.open_store(lowest).squeeze().load(), hb.open_store(default).squeeze().load()
    assert str(ds.rotamer.values) == "lowest"
    assert (ds.energy <= plain.energy + 1e-6).all()
    assert (ds.energy < plain.energy - 1e-4).any()
    rotamers = str(ds.unit_rotamers.sel(pattern="linear", length=3).values).split("; ")
    assert len(rotamers) == 3
    assert len(set(rotamers)) > 1


def test_without_all_candidates_no_rotamers_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that failed leaves its cells failed, with its reason; the next run tries it again and chooses."""
    store = tmp_path / "a.zarr"
    real = worker._Stages._candidates

    def spoilt(stages: Any, tasks: Any) -> Any:
        if any(task.chain.length == 3 for task in tasks):
            raise ValueError("no such orbital")
        return real(stages, tasks)

    monkeypatch.setattr(worker._Stages, "_candidates", spoilt)
    summary = run(tmp_path, store, rotamer="lowest", lengths=[2, 3])
    assert summary.statuses == {"done": 1, "failed": 1}
    reason = str(hb.open_store(store).reason.sel(length=3).values.squeeze())
    assert reason.startswith("its tasks could not be decided: task ")
    assert reason.endswith("code: ValueError: no such orbital")
    monkeypatch.setattr(worker._Stages, "_candidates", real)
    assert run(tmp_path, store, rotamer="lowest", lengths=[2, 3]).statuses == {"done": 2}


def test_a_retry_of_one_reason_computes_the_candidates_of_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "a.zarr"
    made = hb.plan(hb.load_campaign(spec_file(tmp_path, rotamer="lowest", lengths=[3])))
    real, lengths = worker._Stages._candidates, list[int]()

    def counted(stages: Any, tasks: Any) -> Any:
        lengths.extend(task.chain.length for task in tasks)
        raise ValueError("no such orbital")

    def retry(text: str) -> Summary:
        return hb.run(made, store, serial=True, display=QuietDisplay(), retry=("failed",), match=text)

    monkeypatch.setattr(worker._Stages, "_candidates", counted)
    assert retry("no such orbital").statuses == {"pending": 1}
    assert lengths == []
    assert hb.run(made, store, serial=True, display=QuietDisplay()).statuses == {"failed": 1}
    reason = str(hb.open_store(store).reason.values.squeeze())
    lengths.clear()
    assert retry("out of memory").statuses == {"failed": 1}
    assert lengths == []
    assert str(hb.open_store(store).reason.values.squeeze()) == reason
    monkeypatch.setattr(worker._Stages, "_candidates", real)
    assert retry("NO SUCH ORBITAL").statuses == {"done": 1}


def test_a_retry_of_one_reason_leaves_everything_else_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "a.zarr"
    assert run(tmp_path, store, minimize={"max_calls": 1}, lengths=[2]).statuses == {"unconverged": 1}
    made = hb.plan(hb.load_campaign(spec_file(tmp_path, minimize={"max_calls": 1})))

    def again(match: str) -> Summary:
        return hb.run(made, store, serial=True, display=QuietDisplay(), retry=("unconverged",), match=match)

    assert again("out of memory").computed == 0, "a cell without that reason was computed, or one that was pending"
    found = again("CALLS")
    assert (found.computed, found.statuses) == (1, {"unconverged": 1, "pending": 1})


def test_cells_of_an_interrupted_campaign_stay_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second campaign skips only cells that no campaign of the store asks for."""
    store = tmp_path / "a.zarr"
    with monkeypatch.context() as interrupted:
        interrupted.setattr(runner._Run, "compute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, store)
    assert run(tmp_path, store, campaign="other", lengths=[2, 4], capping="water").ok
    ds = hb.open_store(store)
    first, other = (ds.sel(model="toy", capping=capping).squeeze() for capping in ("none", "water"))
    assert first.status.sel(length=[2, 3]).values.tolist() == ["pending", "pending"]
    assert first.status.sel(length=4).item() == "skipped"
    assert first.reason.sel(length=4).item() == "not asked for by campaign other"
    assert other.status.values.tolist() == ["done", "skipped", "done"]
    assert run(tmp_path, store).ok
    assert hb.open_store(store).status.sel(capping="none", length=[2, 3]).values.ravel().tolist() == ["done", "done"]


def test_a_killed_run_leaves_no_reason_of_another_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "a.zarr"
    run(tmp_path, store, capping=["none", {"name": "water", "lengths": [2]}])
    monkeypatch.setattr(runner._Run, "compute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, store, capping="water")
    cell = hb.open_store(store).sel(model="toy", length=3, capping="water").squeeze()
    assert (cell.status.item(), cell.reason.item()) == ("pending", "")
