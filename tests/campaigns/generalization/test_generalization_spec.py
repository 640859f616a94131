"""A generalization campaign as written: what is refused, and the cells it stands for."""

from pathlib import Path

import pytest
from hbcoop_dist.campaigns.generalization.loading import is_generalization, load_generalization

from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec, cells_of
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.learning.networks.registry import ARCHITECTURES

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


def test_excluded_cells_are_those_with_every_label_named(tmp_path: Path) -> None:
    exclude = "exclude: [{split: cluster, scheme: [les, les-sum]}, {seed: 1, scheme: none}]"
    cells = cells_of(load_generalization(written(tmp_path, f"{SPEC}{exclude}\n")))
    left = {(one.split, one.scheme, one.seed) for one in cells}
    assert left == {("random", scheme, 0) for scheme in ("none", "les", "les-sum")} | {
        ("random", "les", 1), ("random", "les-sum", 1), ("cluster", "none", 0)
    }  # fmt: skip


def test_a_spec_that_excludes_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="exclude: expected some networks to be left, found none"):
        load_generalization(written(tmp_path, f"{SPEC}exclude: {{dataset: ionic}}\n"))


def test_a_spec_that_the_program_wrote_out_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "mine.xyz").write_text("")
    text = SPEC.replace("generate: ionic, size: 40", "files: mine.xyz")
    for spec in (load_generalization(written(tmp_path, text)), load_generalization(written(tmp_path, SPEC))):
        assert GeneralizationSpec.model_validate_json(spec.model_dump_json()) == spec


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
        ("generate: ionic", "generate: metals", "'ionic', 'neutral', 'nma' or 'charge-states'"),
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
        ("seeds: [0, 1]", "exclude: {}", "expected one of dataset, split"),
        ("seeds: [0, 1]", "exclude: {scheme: celli}", "expected scheme among none, les, les-sum, found celli"),
        ("seeds: [0, 1]", "architectures: {name: a, architecture: schnet}", "expected one of mace"),
        ("seeds: [0, 1]", "architectures: {name: mace-a, options: {b: 2}}", "expected options among none, found b"),
        ("seeds: [0, 1]", "architectures: {name: dimenet++, max_ell: 1}", "dimenet++: expected no max_ell"),
        ("seeds: [0, 1]", "architectures: {name: dimenet++, options: {num_spherical: 1}}", "equal to 2, found 1"),
        ("seeds: [0, 1]", "architectures: {name: a, architecture: allegro, channels: 5}", "an even number, found 5"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SPEC
    with pytest.raises(CampaignError, match=r"spec\.yaml:\d+: field ") as caught:
        load_generalization(written(tmp_path, SPEC.replace(old, new)))
    assert words in str(caught.value)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_what_an_architecture_does_not_have_is_not_written_down(architecture: str) -> None:
    """A store keeps its campaigns as JSON, and reads them again."""
    entry = {"name": "a", "architecture": architecture, "options": ARCHITECTURES[architecture].options().model_dump()}
    datasets = {"name": "ionic", "generate": "ionic", "size": 10}
    spec = GeneralizationSpec.model_validate(
        {"campaign": "x", "kind": "generalization", "datasets": datasets, "architectures": entry}
    )
    assert GeneralizationSpec.model_validate_json(spec.model_dump_json()) == spec
    assert not set(spec.architectures[0].model_dump()) & set(ARCHITECTURES[architecture].unused)


def test_files_are_found_beside_the_campaign(tmp_path: Path) -> None:
    text = SPEC.replace("generate: ionic, size: 40", "files: a.xyz")
    with pytest.raises(CampaignError, match=r"field datasets: set ionic: expected files, found no .*a\.xyz"):
        load_generalization(written(tmp_path, text))
    (tmp_path / "a.xyz").write_text("")
    found = load_generalization(written(tmp_path, text))
    assert found.datasets[0].files == (str(tmp_path / "a.xyz"),)


def test_an_architecture_s_name_is_enough(tmp_path: Path) -> None:
    text = SPEC.replace("seeds: [0, 1]", "architectures: [mace, dimenet++, {name: mine, architecture: dimenet++}]")
    found = load_generalization(written(tmp_path, text)).architectures
    assert [(one.name, one.architecture) for one in found] == [
        ("mace", "mace"), ("dimenet++", "dimenet++"), ("mine", "dimenet++")
    ]  # fmt: skip


@pytest.mark.parametrize("architectures", ["mace", "[mace, {name: dimenet++, options: {num_spherical: 3}}]"])
def test_a_spec_survives_its_text(tmp_path: Path, architectures: str) -> None:
    spec = load_generalization(written(tmp_path, f"{SPEC}architectures: {architectures}\n"))
    assert GeneralizationSpec.model_validate_json(spec.model_dump_json()) == spec


def test_what_means_nothing_to_an_architecture_is_not_in_its_definition(tmp_path: Path) -> None:
    text = f"{SPEC}architectures: [mace, dimenet++]\n"
    found = load_generalization(written(tmp_path, text)).definitions()["architecture"]
    assert '"max_ell":2' in found["mace"]
    assert "max_ell" not in found["dimenet++"]
    assert '"channels":16' in found["dimenet++"]


def test_a_network_is_of_the_architecture_that_its_name_begins_with(tmp_path: Path) -> None:
    spec = load_generalization(written(tmp_path, f"{SPEC}architectures: [mace, mace-3, dimenet++-small, allegro]\n"))
    assert [entry.architecture for entry in spec.architectures] == ["mace", "mace", "dimenet++", "allegro"]


@pytest.mark.parametrize("entry", ["dimenet", "{name: schnet, cutoff: 4.0}", "mace3"])
def test_a_name_that_is_no_architecture_s_is_no_mace(tmp_path: Path, entry: str) -> None:
    with pytest.raises(CampaignError, match=r"architectures\[0\].*expected one of mace, .*, or an architecture beside"):
        load_generalization(written(tmp_path, f"{SPEC}architectures: [{entry}]\n"))


@pytest.mark.parametrize("name", ["a/b", "../evil", ".hidden"])
def test_names_that_would_be_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CampaignError, match="name: expected a name without slashes that begins with no dot"):
        load_generalization(written(tmp_path, SPEC.replace("name: ionic", f"name: {name}")))
