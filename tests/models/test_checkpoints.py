"""Checkpoints are found in the documented order, and a wrong one is refused by name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hbcoop_dist.models import CheckpointError, available, card, identity
from hbcoop_dist.models.checkpoints import cache_folder, embedded, find, parameter_hash, sha256_of

CARD = card("toy").with_fields(name="stored", file="stored.model", sha256=None)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_weights: None) -> None:
    for name in ("first", "second", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", os.pathsep.join(str(tmp_path / name) for name in ("first", "second")))
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "cache"))


def put(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_order_is_spec_then_variable_then_cache(tmp_path: Path) -> None:
    put(tmp_path / "cache" / "stored.model")
    assert find(CARD).path == tmp_path / "cache" / "stored.model"
    below = put(tmp_path / "second" / "zoo" / "stored.model")
    assert find(CARD).path == below
    first = put(tmp_path / "first" / "stored.model")
    assert find(CARD).path == first
    given = put(tmp_path / "given" / "any-name.model", b"other")
    found = find(CARD, given)
    assert (found.path, found.sha256) == (given, hashlib.sha256(b"other").hexdigest())


def test_a_missing_path_in_the_spec_is_not_replaced_by_another_copy(tmp_path: Path) -> None:
    put(tmp_path / "cache" / "stored.model")
    with pytest.raises(CheckpointError, match=r"nowhere.model"):
        find(CARD, tmp_path / "nowhere.model")


def test_missing_checkpoint_lists_every_place(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        find(CARD)
    for folder in ("first", "second", "cache"):
        assert str(tmp_path / folder) in str(caught.value)
    assert "expected checkpoint stored.model" in str(caught.value)
    assert "stored" in str(caught.value)
    assert "HBCOOP_CHECKPOINTS" in str(caught.value)
    assert not available(CARD)
    assert "found none" in available(CARD).reason


def test_wrong_hash_is_refused_with_both_hashes(tmp_path: Path) -> None:
    put(tmp_path / "first" / "stored.model", b"swapped")
    expected, found = (hashlib.sha256(content).hexdigest() for content in (b"weights", b"swapped"))
    with pytest.raises(CheckpointError, match=rf"stored: .*expected sha256 {expected}, found {found}"):
        find(CARD.with_fields(sha256=expected))
    assert not available(CARD.with_fields(sha256=expected))


def test_folder_hash_sees_names_and_contents_of_the_files_that_matter(tmp_path: Path) -> None:
    folder, patterns = tmp_path / "ensemble", ("*.params", "train?/ANN-*")
    put(folder / "a.params")
    put(folder / "train0" / "ANN-H", b"one")
    before = sha256_of(folder, patterns)
    put(folder / "train0" / "log.txt")
    assert sha256_of(folder, patterns) == before
    (folder / "train0" / "ANN-H").rename(folder / "train0" / "ANN-C")
    renamed = sha256_of(folder, patterns)
    put(folder / "train0" / "ANN-C", b"two")
    assert len({before, renamed, sha256_of(folder, patterns)}) == 3


def test_cache_folder_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HBCOOP_CACHE")
    assert "hbcoop" in str(cache_folder())


def test_embedded_weights_are_verified() -> None:
    so3lr = card("so3lr")
    shipped = embedded(so3lr)
    assert shipped is not None
    assert shipped.sha256 == so3lr.checkpoint.sha256 == identity(so3lr)
    with pytest.raises(CheckpointError, match=r"so3lr: .* is not its checkpoint"):
        identity(so3lr.with_fields(sha256="0" * 64))


def test_identity_without_the_package_is_the_card_s() -> None:
    absent = card("so3lr").with_fields(options={"embedded": "no_such_package_at_all:x.model"})
    assert identity(absent) == absent.checkpoint.sha256


def test_compiled_in_parameters_are_identified_by_method() -> None:
    names = ("gfn2-xtb", "gfn1-xtb", "amber14", "amoeba2018", "toy", "toy-additive")
    assert len({identity(card(name)) for name in names}) == len(names)
    assert identity(card("toy")) == identity(card("toy").with_fields(citation="another"))


def test_parameter_hash_ignores_order_and_sees_values_names_and_types() -> None:
    one, two = np.arange(3.0), np.arange(4.0)
    assert parameter_hash({"a": one, "b": two}) == parameter_hash({"b": two, "a": one})
    variants: list[dict[str, NDArray[np.generic]]] = [
        {"a": one},
        {"b": one},
        {"a": one + 1},
        {"a": one.astype(np.float32)},
        {"a": one.reshape(3, 1)},
    ]
    assert len({parameter_hash(variant) for variant in variants}) == len(variants)


def test_torchani_s_own_resources_count_only_where_it_has_downloaded_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    reason = available(card("ani-1x")).reason
    assert "expected checkpoint ani-1x_8x, found none" in reason, "the empty files of its wheel were taken"
    put(tmp_path / ".local" / "torchani" / "ani-1x_8x.info", b"ani-1x_8x/")
    put(tmp_path / ".local" / "torchani" / "ani-1x_8x" / "sae_linfit.dat", b"H = 1")
    assert f"{tmp_path}/.local/torchani/ani-1x_8x is not its checkpoint" in available(card("ani-1x")).reason
