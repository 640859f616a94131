"""A generalization campaign as written: what is refused, and the cells it stands for."""

from pathlib import Path

import pytest

from hbcoop_dist.generalization_run.load import is_generalization, load_generalization
from hbcoop_dist.generalization_run.spec import GeneralizationSpec, cells_of
from hbcoop_dist.load_campaign import CampaignError

SPEC = """
campaign: test
kind: generalization
datasets: {name: ionic, generate: ionic, size: 40}
splits: [random, cluster]
schemes: [none, les, {name: les-sum, scheme: les, options: {charge_sum: constrained}}]
seeds: [0, 1]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def test_cells_are_every_combination(tmp_path: Path) -> None:
    spec = load_generalization(written(tmp_path, SPEC))
    cells = cells_of(spec)
    assert len(set(cells)) == len(cells) == 2 * 3 * 2
    assert cells[0].labels == {
        "dataset": "ionic", "split": "random", "architecture": "mace", "scheme": "none", "seed": 0
    }  # fmt: skip
    assert cells[0].name == "ionic-random-mace-none-0"


def test_the_kind_of_a_file_is_seen(tmp_path: Path) -> None:
    assert is_generalization(written(tmp_path, SPEC))
    assert not is_generalization("quickstart")
    assert not is_generalization(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("line", "found"), [("kind: generalisation", "generalisation"), ("", "none"), ("kind: [1]", r"\[1\]")]
)
def test_no_kind_or_an_unknown_one_is_one_complaint(tmp_path: Path, line: str, found: str) -> None:
    with pytest.raises(
        CampaignError, match=rf"spec\.yaml:\d+: field kind: expected hbond or generalization, found {found}$"
    ):
        is_generalization(written(tmp_path, SPEC.replace("kind: generalization", line)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("size: 40", "size: 3", "greater than or equal to 4"),
        (", size: 40", "", "expected size, the number of structures to generate, found none"),
        ("generate: ionic, ", "", "expected either generate or files, found neither"),
        ("generate: ionic", "generate: metals", "'ionic', 'neutral' or 'nma'"),
        ("[random, cluster]", "[random, random]", "expected every name once, found random more than once"),
        ("[random, cluster]", "[scaffold]", "'maxsep_fps'"),
        ("[none, les,", "[none, ewald,", "expected one of none, charge-embedding, les, celli, efa"),
        (
            "scheme: les,",
            "scheme: ewald,",
            "scheme: expected one of none, charge-embedding, les, celli, efa, found 'ewald'",
        ),
        ("size: 40", "size: 40, teacher: so3lr", "expected gfn2-xtb or gfn1-xtb to label ions, found so3lr"),
        ("size: 40", "size: 40, teacher: gfn3", "expected a registered model, found 'gfn3'"),
        ("seeds: [0, 1]", "seeds: [-1]", "greater than or equal to 0"),
        ("seeds: [0, 1]", "training: {steps: 0}", "greater than or equal to 1"),
        ("seeds: [0, 1]", "lengths: 3", "lengths"),
        ("charge_sum: constrained", "charge_sum: fixed", "les-sum: scheme les"),
        ("charge_sum: constrained", "width: 1", "les-sum: scheme les"),
        ("seeds: [0, 1]", "architectures: {name: a, architecture: schnet}", "expected one of mace"),
        ("seeds: [0, 1]", "architectures: {name: a, options: {b: 2}}", "expected options among none, found b"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SPEC
    with pytest.raises(CampaignError, match=r"spec\.yaml:\d+: field ") as caught:
        load_generalization(written(tmp_path, SPEC.replace(old, new)))
    assert words in str(caught.value)


def test_files_are_found_beside_the_campaign(tmp_path: Path) -> None:
    text = SPEC.replace("generate: ionic, size: 40", "files: a.xyz")
    with pytest.raises(CampaignError, match=r"field datasets: set ionic: expected files, found no .*a\.xyz"):
        load_generalization(written(tmp_path, text))
    (tmp_path / "a.xyz").write_text("")
    found = load_generalization(written(tmp_path, text))
    assert found.datasets[0].files == (str(tmp_path / "a.xyz"),)


def test_a_spec_survives_its_text(tmp_path: Path) -> None:
    spec = load_generalization(written(tmp_path, SPEC))
    assert GeneralizationSpec.model_validate_json(spec.model_dump_json()) == spec
