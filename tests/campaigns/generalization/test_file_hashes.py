"""Hashes of the files of a set: equal for copies, different after a change of content."""

from __future__ import annotations

from pathlib import Path

import pytest
from set_files import omol_row, write_database, write_qmof

from hbcoop_dist.learning.datasets import set_files
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.set_files import hash_files


def test_hashes_depend_on_content_and_not_on_names(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = write_database(tmp_path / "one" / "a.db", [omol_row(0)])
    copy = tmp_path / "other" / "b.db"
    copy.parent.mkdir()
    copy.write_bytes(first.read_bytes())
    assert hash_files([first]) == hash_files([copy]) == hash_files([first.parent])
    copy.with_name("c.db").write_bytes(first.read_bytes())
    assert hash_files([copy]) != hash_files([copy.parent])
    assert hash_files([first, copy]) == 2 * hash_files([first])


def test_only_files_of_the_set_are_hashed(tmp_path: Path) -> None:
    qmof = write_qmof(tmp_path / "qmof")
    before = hash_files([qmof])
    (qmof / "README.txt").write_text("not part of the set")
    assert hash_files([qmof]) == before
    table = qmof / "qmof.csv"
    table.write_text(table.read_text().replace("-30.5", "-30.6"))
    assert hash_files([qmof]) != before


def test_large_sets_are_hashed_in_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_database(tmp_path / "a.aselmdb", [omol_row(n) for n in range(40)])
    whole = hash_files([path])
    for name, value in (("WHOLE", 1000), ("_END", 4096), ("_BLOCK", 16)):
        monkeypatch.setattr(set_files, name, value)
    sampled = hash_files([path])
    assert sampled != whole
    assert hash_files([path]) == sampled
    content = bytearray(path.read_bytes())
    for position in (0, len(content) - 1, len(content) // 2):
        changed = content.copy()
        changed[position] ^= 1
        path.write_bytes(changed)
        assert hash_files([path]) != sampled
    path.write_bytes(content)
    write_database(path, [omol_row(40)])
    assert hash_files([path]) != sampled


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="absent"):
        hash_files([tmp_path / "absent.xyz"])
