"""Campaigns of any kind are loaded by path, by bundled name, and from the history of a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.complexes.spec import ComplexesSpec
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.kind import (
    CampaignKind,
    find_kind,
    kind_names,
    load_campaign,
    load_from_history,
    specs_in_history,
)
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.core.files import bundled_names


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", bundled_names("campaigns"))
def test_bundled_campaigns_load(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_DATA", str(tmp_path))
    for folder in ("qmof_database", "odac25", "omol25"):
        (tmp_path / folder).mkdir()
    spec = load_campaign(name)
    assert spec.campaign == name
    assert isinstance(spec, GeneralizationSpec if name.startswith("generalization") else HBondSpec)


def test_a_missing_file_is_named_beside_the_bundled_ones() -> None:
    with pytest.raises(CampaignError, match=r"quickstrat: expected a file.*nma, quickstart"):
        load_campaign("quickstrat")


def test_the_kind_decides_the_spec_and_defaults_to_chains(tmp_path: Path) -> None:
    assert isinstance(load_campaign(written(tmp_path, "campaign: x\nmodels: toy\nlengths: 2\n")), HBondSpec)
    text = "campaign: x\nkind: complexes\nmodels: toy\ncomplexes: {file: a.xyz, A: 0, B: 1}\n"
    spec = load_campaign(written(tmp_path, text))
    assert isinstance(spec, ComplexesSpec)
    assert spec.complexes[0].file == str(tmp_path / "a.xyz")


def test_an_unknown_kind_is_named_by_line_with_those_that_exist(tmp_path: Path) -> None:
    path = written(tmp_path, "campaign: x\nkind: hbonds\nmodels: toy\nlengths: 2\n")
    with pytest.raises(CampaignError, match=r"spec\.yaml:2: field kind: .*expected .*hbond.*found hbonds"):
        load_campaign(path)


def test_every_kind_has_the_name_of_its_entry_point_and_a_protocol_version() -> None:
    assert {"hbond", "complexes", "generalization"} <= set(kind_names())
    for name in ("hbond", "complexes", "generalization"):
        kind = find_kind(name)
        assert isinstance(kind, CampaignKind)
        assert kind.name == kind.schema.kind == name
        assert kind.protocol == f"{name}={kind.protocol_version}"


def test_a_history_gives_each_spec_once_and_leaves_out_what_is_none() -> None:
    spec = HBondSpec.model_validate({"campaign": "x", "models": ["toy"], "lengths": [2]})
    texts = [spec.to_json(), "", "no JSON", "[1]", spec.to_json(), json.dumps({"campaign": "y", "kind": "other"})]
    history = json.dumps([{"event": "run", "spec": text} for text in texts] + [{"event": "merge"}])
    specs = specs_in_history(history)
    assert [content["campaign"] for content in specs] == ["x", "y"]
    assert load_from_history(specs[0]) == spec
    with pytest.raises(CampaignError, match=r"kind: expected .*found other"):
        load_from_history(specs[1])


def test_a_model_that_is_no_longer_installed_is_named() -> None:
    content = {"campaign": "x", "kind": "hbond", "models": [{"name": "of a plug-in"}], "lengths": [2]}
    with pytest.raises(CampaignError, match="of a plug-in"):
        load_from_history(content)
