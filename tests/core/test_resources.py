"""Bundled files by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbcoop_dist.core.files import bundled_folder, bundled_names, find_file


@pytest.mark.parametrize(("folder", "name"), [("campaigns", "quickstart"), ("cluster_profiles", "local")])
def test_a_bundled_file_is_found_by_its_name(folder: str, name: str) -> None:
    assert name in bundled_names(folder)
    assert find_file(name, folder) == bundled_folder(folder) / f"{name}.yaml"


def test_a_file_of_the_user_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("campaign: mine\n")
    assert find_file("quickstart", "campaigns") == Path("quickstart")


@pytest.mark.parametrize("name", ["quickstrat", "quickstart.yaml", "../campaigns/nma.yml"])
def test_an_unknown_name_is_answered_with_the_bundled_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected a file, or the name of a bundled one \(.*nma, quickstart"):
        find_file(name, "campaigns")


def test_templates_are_bundled() -> None:
    assert (bundled_folder("templates") / "model").is_dir()
