"""A distribution of one's own adds a model: the template keeps the contract, and in a scratch environment it runs."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.campaigns.kind import load_campaign, plan
from hbcoop_dist.cli.model_commands import NewModel, new_model
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.models import ModelError, broken_families, card, identity, load, registry
from hbcoop_dist.models.checks.contract import check

CHECKOUT = Path(__file__).resolve().parents[2]
CAMPAIGN = "campaign: private\nmodels: [{name}]\nlengths: [2, 3]\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewModel]:
    """A new distribution on the path, as a wheel of it would be unpacked."""
    new = new_model("not-my-model.2", tmp_path / "new")
    site = tmp_path / "site"
    info = site / "not_my_model_2-0.1.0.dist-info"
    info.mkdir(parents=True)
    project = tomllib.loads((new.folder / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["hbcoop_dist.models"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1.0\n")
    lines = [f"{family} = {module}" for family, module in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[hbcoop_dist.models]", *lines]))
    for module in project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]:
        shutil.copy(new.folder / module, site)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry.refresh()
    yield new
    sys.modules.pop(new.module, None)
    registry.refresh()


def test_what_is_made_keeps_the_contract_and_finishes_a_campaign(made: NewModel, tmp_path: Path) -> None:
    assert (made.name, made.module) == ("not-my-model.2", "not_my_model_2")
    assert not broken_families()
    potential = load(made.name)
    failed = [result for result in check(potential) if not result.passed]
    assert not failed, "\n".join(map(str, failed))
    assert potential.parameter_hash == identity(card(made.name))
    assert card(made.name).needs.packages == (made.name, "numpy")
    (tmp_path / "spec.yaml").write_text(CAMPAIGN.format(name=made.name))
    drawn = plan(load_campaign(tmp_path / "spec.yaml"))
    results = list(
        iter_results(drawn.batches, ChainWork.factory(drawn.sources, drawn.spec.minimize), {}, SerialBackend())
    )
    assert results
    assert {result.status for result in results} == {"done"}


def test_nothing_is_left_of_the_template_s_name(made: NewModel) -> None:
    assert set(made.files) == {"README.md", "pyproject.toml", f"{made.module}.py", f"test_{made.module}.py"}
    for file in made.files:
        text = (made.folder / file).read_text().replace(made.name, "").replace(made.module, "")
        assert "my-model" not in text
        assert "my_model" not in text


def test_the_next_two_commands_are_said(made: NewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = [line.strip() for line in str(made).splitlines() if line.startswith("  ")]
    assert first == f"{sys.executable} -m pip install --editable {tmp_path}/new"
    assert second == "hbcoop models check not-my-model.2"
    monkeypatch.chdir(tmp_path)
    # a bare name would be taken from a registry
    assert "--editable ./mine\n" in str(new_model("mine"))


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    first = new_model("mine", tmp_path / "mine")
    (first.folder / "mine.py").write_text("work of weeks")
    with pytest.raises(ModelError, match=r"expected .*mine to be new or empty, found README\.md, mine\.py, pyproject"):
        new_model("mine", tmp_path / "mine")
    assert (first.folder / "mine.py").read_text() == "work of weeks"
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"expected a folder .*file to write into, found .*File exists"):
        new_model("mine", tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2fast", "expected letters"),
        ("mine-", "expected letters"),
        ("my model", "expected letters"),
        ("../mine", "expected letters"),
        ("naïve", "expected letters"),
        ("Class", "expected letters"),
        ("toy", "found a registered model"),
        ("ase", "found a family ase"),
        ("email", "found a module email that is installed here"),
        ("hbcoop-dist", "found a module hbcoop_dist that is installed here"),
    ],
)
def test_names_that_would_not_work_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason):
        new_model(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def _run(*command: object, cwd: Path, code: int = 0) -> str:
    # the scratch environment's own package is to be found, not the checkout's
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**env, "COLUMNS": "200"}, capture_output=True, text=True, timeout=400
    )
    assert found.returncode == code, f"{command}: {found.stdout}\n{found.stderr}"
    return found.stdout + found.stderr


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a wheel of this package in it, and the packages that it depends on beside it."""
    folder = tmp_path_factory.mktemp("scratch")
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # a .pth file adds a folder, and leaves the .pth files in it alone: the editable package there is not seen
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _install(folder, CHECKOUT)
    where = _run(folder / "env/bin/python", "-c", "import hbcoop_dist; print(hbcoop_dist.__file__)", cwd=folder)
    assert where.startswith(str(site))
    return folder


def _install(scratch: Path, folder: Path) -> None:
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    pip = (sys.executable, "-m", "pip", "--python", scratch / "env/bin/python", "install", *offline)
    _run(*pip, folder, cwd=scratch)


@pytest.mark.slow  # a minute of processor time, most of it programs that start
@pytest.mark.timeout(1200)
def test_a_private_distribution_from_its_first_line_to_a_store(scratch: Path) -> None:
    hbcoop = scratch / "env/bin/hbcoop"
    said = _run(hbcoop, "models", "new", "in-house", cwd=scratch)
    assert f"{scratch}/env/bin/python -m pip install --editable ./in-house" in said
    assert "hbcoop models check in-house" in said
    _install(scratch, scratch / "in-house")
    assert "in-house" in _run(hbcoop, "models", "list", cwd=scratch)
    kept = _run(hbcoop, "models", "check", "in-house", cwd=scratch)
    assert "forces are the gradient" in kept
    assert "NO" not in kept
    python = scratch / "env/bin/python"
    assert "passed" in _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=scratch / "in-house")

    # somebody else's, that is broken: named with its reason, and in nobody's way
    _run(hbcoop, "models", "new", "sick", cwd=scratch)
    module = scratch / "sick/sick.py"
    module.write_text(module.read_text().replace("import numpy", "import no_such_package\nimport numpy", 1))
    _install(scratch, scratch / "sick")
    listed = _run(hbcoop, "models", "list", cwd=scratch)
    assert "entry point sick = sick:FAMILY: ModuleNotFoundError: No module named 'no_such_package'" in listed
    assert "no_such_package" in _run(hbcoop, "models", "check", "sick", cwd=scratch, code=2)

    (scratch / "spec.yaml").write_text(CAMPAIGN.format(name="in-house"))
    ran = _run(hbcoop, "run", "spec.yaml", "x.zarr", "--workers", "2", cwd=scratch)
    assert "2 cells: 2 done; 2 computed now" in ran
    with xr.open_zarr(scratch / "x.zarr") as store:
        mine = store.sel(model="in-house", pattern="arc", capping="none").load()
    assert set(mine.status.values.ravel()) == {"done"}
    energies = mine.cooperative_energy_electronic.sel(length=3).values
    energies = energies[np.isfinite(energies)]
    assert len(energies)
    # a sum over pairs: three bodies are no more than their dimers
    np.testing.assert_allclose(energies, 0.0, atol=1e-6)
    assert mine.dimer_interaction_energy.sel(conformer="syn").item() < -5.0
    versions = json.loads(str(mine.versions.values.ravel()[0]))
    assert versions["in-house"] == "0.1.0"
