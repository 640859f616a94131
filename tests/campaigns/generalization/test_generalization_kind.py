"""Commands on stores of trained networks, and what a store refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from ruamel.yaml import YAML
from small_networks import needs_packages, run_here, small_spec
from typer.testing import CliRunner

from hbcoop_dist.campaigns.generalization.kind import KIND
from hbcoop_dist.campaigns.generalization.plan import make_plan
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.store import ProtocolMismatchError, StoreSchemaError, models_path, open_store, prepare_store


def hbcoop(*arguments: object) -> tuple[int, str]:
    """Run a command in this process; return its exit code and its output in one line."""
    answer = CliRunner().invoke(app, list(map(str, arguments)))
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, " ".join(answer.output.replace("│", " ").split())


def prepare(store: Path, spec: GeneralizationSpec) -> None:
    plan = make_plan(spec)
    prepare_store(
        store,
        KIND.schema,
        KIND.axis_labels(plan),
        protocol=spec.protocol,
        spec=spec.to_json(),
        definitions=KIND.definitions(plan),
    )


def test_another_training_and_another_meaning_of_a_name_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    prepare(store, small_spec(schemes=["none", "les"]))
    with pytest.raises(ProtocolMismatchError, match=r"training\.steps: the store has 4, this campaign asks for 7"):
        prepare(store, small_spec(training={"steps": 7}))
    scheme = {"name": "les", "options": {"self_energy": True}}
    with pytest.raises(ProtocolMismatchError, match=r"scheme les, .*self_energy: the store has 'nothing', .* True"):
        prepare(store, small_spec(schemes=scheme))


def test_labels_that_are_excluded_from_every_network_are_not_in_the_store(tmp_path: Path) -> None:
    exclude = {"scheme": "les"}
    prepare(tmp_path / "s.zarr", small_spec(schemes=["none", "les"], exclude=exclude))
    assert open_store(tmp_path / "s.zarr")["scheme"].values.tolist() == ["none"]
    prepare(tmp_path / "s.zarr", small_spec(schemes=["none", "les"]))
    ds = open_store(tmp_path / "s.zarr")
    assert '"scheme":"les"' in str(ds["scheme_definition"].sel(scheme="les").item())


def test_commands_on_an_empty_store(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    prepare(store, small_spec(splits=["random", "size"], schemes=["none", "les"]))
    assert hbcoop("status", store)[0] == 1
    assert "0 of 4 networks are done" in hbcoop("analyse", store, "--figure", tmp_path / "f.png")[1]
    for name in ("r.html", "r.md", "r.pdf"):
        assert hbcoop("report", store, "-o", tmp_path / name)[0] == 0
    assert hbcoop("export", store, "-o", tmp_path / "e.csv")[0] == 0
    text = (tmp_path / "r.md").read_text()
    assert "0 of 4 networks are done" in text
    assert "## Training" not in text
    assert "Learning curves" not in text
    code, text = hbcoop("bridge", store, "-o", tmp_path / "b.yaml")
    assert code == 2
    assert "expected trained networks" in text
    assert not (tmp_path / "b.yaml").exists()


@needs_packages
def test_commands_on_a_finished_store(networks: Path, tmp_path: Path) -> None:
    code, text = hbcoop("status", networks)
    assert code == 0
    assert "done" in text
    code, _ = hbcoop("analyse", networks, "--figure", tmp_path / "errors.png")
    assert code == 0
    assert (tmp_path / "errors.png").stat().st_size > 1000
    for name in ("r.html", "r.md", "r.pdf"):
        assert hbcoop("report", networks, "-o", tmp_path / name)[0] == 0
    assert "UMAP" in (tmp_path / "r.md").read_text()
    assert hbcoop("analyse", networks, "--against", "so3lr")[0] == 2


@needs_packages
def test_an_exported_archive_has_the_same_values(networks: Path, tmp_path: Path) -> None:
    archive, table = tmp_path / "x.zarr.zip", tmp_path / "x.csv"
    for output in (archive, table):
        assert hbcoop("export", networks, "-o", output)[0] == 0
    original, packed = (open_store(path, kind="generalization").load() for path in (networks, archive))
    xr.testing.assert_equal(original.drop_vars("host"), packed.drop_vars("host"))
    assert set(packed["host"].values.ravel().tolist()) == {""}
    assert len(pd.read_csv(table)) == int((original["status"] == "done").any("seed").sum())
    assert hbcoop("report", archive, "-o", tmp_path / "x.md")[0] == 0
    before = archive.read_bytes()
    with pytest.raises(StoreSchemaError, match="expected a folder, found an archive, which is only read"):
        run_here(make_plan(small_spec()), archive)
    assert archive.read_bytes() == before


@needs_packages
def test_networks_are_models_of_a_campaign_of_hydrogen_bonds(networks: Path, tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    for option, message in (
        ("--lengths=2-8", "\"2..12\", found '2-8'"),
        ("--pattern=ring", "expected 'arc' or 'linear'"),
    ):
        code, text = hbcoop("bridge", networks, "-o", path, option)
        assert code == 2
        assert message in text
        assert not path.exists()
    code, text = hbcoop("bridge", networks, "-o", path, "--split", "random", "--lengths", "2")
    assert code == 0, text
    models = YAML(typ="safe", pure=True).load(path.read_text())["models"]
    assert models[0] == "gfn2-xtb"
    assert [entry["name"] for entry in models[1:]] == ["ionic-random-mace-none-0", "ionic-random-mace-les-0"]
    assert all(Path(entry["checkpoint"]).parent == models_path(networks) for entry in models[1:])
    code, text = hbcoop("plan", path)
    assert code == 0, text
    assert "skipped" not in text
