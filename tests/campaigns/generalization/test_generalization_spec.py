"""Specs of generalization campaigns: their networks, and the mistakes that are refused."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.generalization.spec import (
    DatasetEntry,
    GeneralizationSpec,
    cells_of,
    load_spec,
    requested_by_specs,
)
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.learning.networks.registry import ARCHITECTURES

SPEC = """
campaign: test
kind: generalization
datasets: {name: ionic, generate: ionic, size: 40}
splits: [random, cluster]
schemes: [none, les, {name: les-sum, scheme: les, options: {charge_sum: constrained}}]
seeds: [0, 1]
"""


def write_text(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def test_cells_are_the_product_of_all_axes(tmp_path: Path) -> None:
    spec = load_spec(write_text(tmp_path, SPEC))
    cells = cells_of(spec)
    assert len(set(cells)) == len(cells) == 2 * 3 * 2
    assert cells[0].labels == {
        "dataset": "ionic", "split": "random", "architecture": "mace", "scheme": "none", "seed": 0
    }  # fmt: skip
    assert cells[0].name == "ionic-random-mace-none-0"


def test_excluded_networks_have_a_label_of_every_listed_axis(tmp_path: Path) -> None:
    exclude = "exclude: [{split: cluster, scheme: [les, les-sum]}, {seed: 1, scheme: none}]"
    cells = cells_of(load_spec(write_text(tmp_path, f"{SPEC}{exclude}\n")))
    labels = {(cell.split, cell.scheme, cell.seed) for cell in cells}
    assert labels == {("random", scheme, 0) for scheme in ("none", "les", "les-sum")} | {
        ("random", "les", 1), ("random", "les-sum", 1), ("cluster", "none", 0)
    }  # fmt: skip


def test_a_spec_that_excludes_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="exclude: expected some networks to be left, found none"):
        load_spec(write_text(tmp_path, f"{SPEC}exclude: {{dataset: ionic}}\n"))


def test_labels_without_networks_have_no_definition(tmp_path: Path) -> None:
    spec = load_spec(write_text(tmp_path, f"{SPEC}exclude: {{scheme: les-sum}}\n"))
    assert set(spec.definitions()["scheme"]) == {"none", "les"}


def test_definitions_do_not_depend_on_the_folder_of_files(tmp_path: Path) -> None:
    text = SPEC.replace("generate: ionic, size: 40", "files: [a.xyz, b.xyz]")
    definitions = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        for name in ("a.xyz", "b.xyz"):
            (folder / name).write_text("")
        definitions.append(load_spec(write_text(folder, text)).definitions())
    assert definitions[0] == definitions[1]
    assert json.loads(definitions[0]["dataset"]["ionic"])["files"] == ["a.xyz", "b.xyz"]


def test_networks_of_one_name_are_refused(tmp_path: Path) -> None:
    text = SPEC.replace("[none, les, ", "[none, {name: x-none, scheme: none}, ")
    with pytest.raises(CampaignError, match="found ionic-random-mace-x-none-0, ionic-random-mace-x-none-1, "):
        load_spec(write_text(tmp_path, f"{text}architectures: [mace, mace-x]\n"))


def test_requested_networks_are_found_in_plain_data(tmp_path: Path) -> None:
    spec = load_spec(write_text(tmp_path, f"{SPEC}exclude: [{{split: cluster, scheme: les}}, {{seed: 1}}]\n"))
    data = json.loads(spec.to_json())
    labels = {
        (dataset, split, architecture, scheme, seed)
        for dataset, architecture in (("ionic", "mace"), ("other", "mace"), ("ionic", "mace-3"))
        for split, seed in product(("random", "cluster", "size"), (0, 1, 2))
        for scheme in ("none", "les", "les-sum", "efa")
    }
    requested = requested_by_specs([data])
    assert {place for place in labels if requested(place)} == {tuple(cell.labels.values()) for cell in cells_of(spec)}
    for unreadable in ({}, data | {"datasets": [1]}, data | {"exclude": [5]}, data | {"seeds": None}):
        assert not any(map(requested_by_specs([unreadable]), labels))


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
        (
            "seeds: [0, 1]",
            "architectures: {name: dimenet++, options: {num_spherical: 1}}",
            "expected greater than or equal to 2",
        ),
        ("seeds: [0, 1]", "architectures: {name: a, architecture: allegro, channels: 5}", "an even number, found 5"),
        ("size: 40", "size: 40, labels: {energy: e}", "expected labels beside files only"),
        ("size: 40", "size: 40, skip_incomplete: true", "expected skip_incomplete beside files only"),
        ("generate: ionic, size: 40", "files: absent", "expected files, found no"),
        ("generate: ionic, size: 40", "files: a.db, labels: {colour: red}", "expected labels among energy"),
        ("generate: ionic, size: 40", "files: a.db, require: smiles", "expected labels among energy"),
        ("generate: ionic, size: 40", "files: a.db, labels: {energy: []}", "labels.energy"),
        ("generate: ionic, size: 40", "files: a.db, largest_train: 0", "greater than or equal to 1"),
        ("generate: ionic, size: 40", "files: a.db, teacher: so3lr", "expected no teacher beside files"),
    ],
)
def test_mistakes_are_refused_by_line_and_field(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SPEC
    (tmp_path / "a.db").write_bytes(b"")
    with pytest.raises(CampaignError, match=r"spec\.yaml:\d+: field ") as caught:
        load_spec(write_text(tmp_path, SPEC.replace(old, new)))
    assert words in str(caught.value)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_specs_with_every_architecture_survive_json(architecture: str) -> None:
    entry = {"name": "a", "architecture": architecture, "options": ARCHITECTURES[architecture].options().model_dump()}
    datasets = {"name": "ionic", "generate": "ionic", "size": 10}
    spec = GeneralizationSpec.model_validate(
        {"campaign": "x", "kind": "generalization", "datasets": datasets, "architectures": entry}
    )
    assert GeneralizationSpec.model_validate_json(spec.to_json()) == spec
    assert not set(spec.architectures[0].model_dump()) & set(ARCHITECTURES[architecture].unused)


def test_specs_with_files_survive_json(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("")
    text = SPEC.replace("generate: ionic, size: 40", "files: a.xyz, labels: {energy: e}, largest_train: 9")
    spec = load_spec(write_text(tmp_path, text))
    assert GeneralizationSpec.model_validate_json(spec.to_json()) == spec


def test_empty_fields_are_not_in_definitions() -> None:
    entry = DatasetEntry(name="a", generate="nma", size=30, molecules=(2, 3))
    assert not {"labels", "require", "skip_incomplete", "neutral_molecules"} & set(entry.model_dump())


def test_files_are_found_beside_the_campaign(tmp_path: Path) -> None:
    text = SPEC.replace("generate: ionic, size: 40", "files: a.xyz")
    with pytest.raises(CampaignError, match=r"field datasets: set ionic: expected files, found no .*a\.xyz"):
        load_spec(write_text(tmp_path, text))
    (tmp_path / "a.xyz").write_text("")
    spec = load_spec(write_text(tmp_path, text))
    assert spec.datasets[0].files == (str(tmp_path / "a.xyz"),)


def test_architectures_follow_from_names(tmp_path: Path) -> None:
    names = "[mace, mace-3, dimenet++-small, allegro, {name: mine, architecture: dimenet++}]"
    spec = load_spec(write_text(tmp_path, f"{SPEC}architectures: {names}\n"))
    architectures = [entry.architecture for entry in spec.architectures]
    assert architectures == ["mace", "mace", "dimenet++", "allegro", "dimenet++"]


@pytest.mark.parametrize("entry", ["dimenet", "{name: schnet, cutoff: 4.0}", "mace3"])
def test_names_without_an_architecture_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(CampaignError, match=r"architectures\[0\].*expected one of mace, .*, or an architecture beside"):
        load_spec(write_text(tmp_path, f"{SPEC}architectures: [{entry}]\n"))


def test_fields_that_an_architecture_lacks_are_not_in_its_definition(tmp_path: Path) -> None:
    text = f"{SPEC}architectures: [mace, dimenet++]\n"
    definitions = load_spec(write_text(tmp_path, text)).definitions()["architecture"]
    assert '"max_ell":2' in definitions["mace"]
    assert "max_ell" not in definitions["dimenet++"]
    assert '"channels":16' in definitions["dimenet++"]


@pytest.mark.parametrize("name", ["a/b", "../evil", ".hidden"])
def test_names_that_would_be_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CampaignError, match="name: expected a name without slashes that begins with no dot"):
        load_spec(write_text(tmp_path, SPEC.replace("name: ionic", f"name: {name}")))
