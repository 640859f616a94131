"""The command line as a user meets it: real processes, exit codes, words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hbcoop_dist.cli.command_line import main
from hbcoop_dist.core.yaml_source import dump_yaml

HBCOOP = str(Path(sys.executable).with_name("hbcoop"))
Here = Callable[..., subprocess.CompletedProcess[str]]
SPEC = {"campaign": "test", "models": ["toy"], "lengths": [2, 3]}


def hbcoop(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HBCOOP, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(dump_yaml(SPEC))
    return tmp_path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The same in this process, where not every command has to import everything anew."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["hbcoop", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_a_campaign_from_plan_to_figure(folder: Path) -> None:
    planned = hbcoop("plan", "spec.yaml", "--cells", cwd=folder)
    assert planned.returncode == 0
    assert "2 cells,    2 minimisations" in planned.stdout
    assert "toy, arc, n = 3, capping none, torsions (cis-N, trans-C)" in planned.stdout
    ran = hbcoop("run", "spec.yaml", "x.zarr", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "2 cells: 2 done; 2 computed now" in ran.stdout
    assert "licence MIT" in ran.stdout
    assert "Dask dashboard: http" in ran.stderr
    assert "2/2 cells" in ran.stderr
    status = hbcoop("status", "x.zarr", cwd=folder)
    assert status.returncode == 0
    assert "done" in status.stdout
    analysed = hbcoop("analyse", "x.zarr", "--figure", "x.png", cwd=folder)
    assert analysed.returncode == 0, analysed.stderr
    assert "0.80" in analysed.stdout
    assert (folder / "x.png").read_bytes().startswith(b"\x89PNG")
    costs = hbcoop("plan", "spec.yaml", "--store", "x.zarr", cwd=folder)
    assert "0 of 5 tasks left" in costs.stdout


def test_some_cells_not_done_is_exit_code_1(folder: Path, here: Here) -> None:
    (folder / "spec.yaml").write_text(dump_yaml({**SPEC, "minimize": {"max_calls": 5}}))
    ran = here("run", "spec.yaml", "x.zarr", "--serial")
    assert ran.returncode == 1
    assert "2 unconverged" in ran.stdout
    status = here("status", "x.zarr")
    assert status.returncode == 1
    assert "after 5 force calls" in status.stdout
    again = here("run", "spec.yaml", "x.zarr", "--serial", "--retry", "unconverged")
    assert "2 computed now" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml", "x.zarr"], "nowhere.yaml: expected a file"),
        (["plan", "bad.yaml"], "bad.yaml:2: field models[0]: model 'toi' is not known; near: toy"),
        (["status", "nowhere.zarr"], "nowhere.zarr"),
        (["analyse", "spec.yaml"], "spec.yaml"),
        (["models", "show", "so3lt"], "near: so3lr"),
        (["models", "new", "toy"], "model toy: expected a new name, found a registered model"),
        (["run", "spec.yaml"], "Missing argument 'STORE'"),
        (["run", "spec.yaml", "x.zarr", "--retry", "gone"], "expected unconverged, broken-geometry"),
        (["run", "spec.yaml", "x.zarr", "--frobnicate"], "No such option"),
        (["walk"], "No such command"),
        (["run", "spec.yaml", "x.zarr", "--device", "gpu"], "device: expected cpu, cuda or cuda:N, found 'gpu'"),
        (["run", "spec.yaml", "x.zarr", "--device", "cuda:7"], "CUDA devices torch sees here, found 'cuda:7'"),
        (["run", "mine.yaml", "x.zarr"], "model mine: expected its checkpoint at"),
        (["plan", "marked.yaml"], "complex nowhere: expected a file"),
        (["run", "given.yaml", "x.zarr"], "or a folder of .xyz files, found no "),
        (["plan", "spec.yaml", "--store", "nowhere.zarr"], "nowhere.zarr"),
        (["models", "check", "toy", "--spec", "generalization-quick"], "expected one of its models (), found 'toy'"),
    ],
)
def test_bad_input_is_exit_code_2_in_clear_words(folder: Path, here: Here, arguments: list[str], words: str) -> None:
    (folder / "bad.yaml").write_text("campaign: x\nmodels: [toi]\nlengths: 2\n")
    mine = {"name": "mine", "family": "ani", "checkpoint": "nowhere"}
    (folder / "mine.yaml").write_text(dump_yaml({**SPEC, "models": [mine]}))
    marked = {
        "campaign": "x",
        "kind": "complexes",
        "models": ["toy"],
        "complexes": [{"file": "nowhere.xyz", "A": 0, "B": 1}],
    }
    (folder / "marked.yaml").write_text(dump_yaml(marked))
    (folder / "given.yaml").write_text(dump_yaml({**SPEC, "geometry": "nowhere"}))
    found = here(*arguments)
    assert found.returncode == 2
    assert words in found.stderr
    assert not list(folder.glob("*.zarr*"))


def test_a_folder_that_is_no_store_is_left_alone(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    found = hbcoop("run", "spec.yaml", "mine", cwd=folder)
    assert found.returncode == 2
    assert "mine" in found.stderr
    assert "Traceback" not in found.stderr
    assert (folder / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_is_exit_code_3_and_continues(folder: Path, name: str) -> None:
    fields = {**SPEC, "lengths": "2..5", "patterns": ["arc", "linear"], "capping": ["none", "water"]}
    (folder / "spec.yaml").write_text(dump_yaml(fields))
    journal = folder / "x.zarr.journal"
    running = subprocess.Popen(
        # tests that a shell put into its background have inherited that SIGINT is ignored
        ["env", "--default-signal=INT", HBCOOP, "run", "spec.yaml", "x.zarr"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.Signals[name])
    _, words = running.communicate(timeout=60)
    assert running.returncode == 3
    assert "the same command continues from here" in words
    if name == "SIGTERM":
        assert hbcoop("run", "spec.yaml", "x.zarr", "--serial", cwd=folder).returncode == 0


def test_help_reads_like_documentation(here: Here) -> None:
    found = here("--help")
    for word in ("plan", "run", "status", "analyse", "models", "doctor", "quickstart"):
        assert word in found.stdout
    assert "continues after any interruption" in here("run", "--help").stdout


def test_models_and_doctor(folder: Path, here: Here) -> None:
    empty = {"HBCOOP_CHECKPOINTS": str(folder), "HBCOOP_CACHE": str(folder)}
    listed = here("models", "list", env=empty)
    assert listed.returncode == 0
    assert "ani-2x: model ani-2x: expected checkpoint ani-2x_8x, found none" in listed.stdout
    shown = here("models", "show", "so3lr")
    assert "PBE0+MBD" in shown.stdout
    assert "H, C, N, O, F, P, S, Cl" in shown.stdout
    checked = here("models", "check", "toy")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for word in ("smooth through the cutoff", "atoms/s", "float64 on cpu", "OMP_NUM_THREADS", "memory"):
        assert word in checked.stdout
    doctor = here("doctor", env=empty)
    assert doctor.returncode == 0
    for word in ("Python", "xarray", "can run here", "GPUs", "cores usable"):
        assert word in doctor.stdout


def test_a_campaign_s_own_model_is_checked(folder: Path, here: Here) -> None:
    lennard = {"calculator": "ase.calculators.lj:LennardJones", "kwargs": {"sigma": 1.2, "rc": 5.0}}
    smooth = {**lennard, "kwargs": {**lennard["kwargs"], "smooth": True}}
    models = ["toy", {"name": "cut", **lennard}, {"name": "smooth", **smooth}]
    (folder / "mine.yaml").write_text(dump_yaml({**SPEC, "models": models}))
    arguments = ("models", "check", "--spec", "mine.yaml", "--no-speed")
    kept = here(*arguments, "smooth")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "atoms/s" not in kept.stdout
    # shifted so that the energy ends at zero, but not the force
    broken = here(*arguments, "cut")
    assert broken.returncode == 1
    (line,) = [line for line in broken.stdout.splitlines() if " NO " in line]
    assert "smooth through the cutoff" in line
    absent = here(*arguments, "mine")
    assert absent.returncode == 2
    assert "mine.yaml: expected one of its models (toy, cut, smooth), found 'mine'" in absent.stderr
