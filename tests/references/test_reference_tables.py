"""References of the user's own: what is right is labelled, what is wrong is named with its row and field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.references import ReferenceTableError, read_references, reference_energies

HEAD = "model,pattern,length,capping,position,cooperative_energy"
GOOD = "mine,arc,4,none,middle,2.8"


def _write(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(("# a comment", head, *rows)) + "\n", encoding="utf-8")
    return path


def test_it_stands_beside_the_bundled_ones_which_stay_as_they_are(tmp_path: Path) -> None:
    found, bundled = read_references(_write(tmp_path, GOOD)), reference_energies()
    place = {"model": "mine", "pattern": "arc", "length": 4, "capping": "none", "geometry": "unnamed"}
    values = found["cooperative_energy"].sel(place).sel(rotamer="cis-N, trans-C")
    assert values["position"].values.tolist() == ["head", "middle", "tail"]
    assert values.sel(position="middle") == 2.8
    assert np.isnan(values.sel(position="head"))
    same = found["cooperative_energy"].sel({dim: bundled[dim] for dim in bundled["cooperative_energy"].dims})
    assert same.equals(bundled["cooperative_energy"])
    assert found["status"].sel(place).sel(rotamer="cis-N, trans-C") == "done"
    assert found["status"].sel(place | {"length": 3}).sel(rotamer="cis-N, trans-C") == "pending"


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["mine,ring,4,none,middle,2.8"], "row 1, pattern: expected one of arc, linear, found ring"),
        ([GOOD, "mine,arc,3,none,waist,2"], "row 2, position: expected one of head, middle, tail, found waist"),
        (["mine,arc,4,none,middle,much"], "row 1, cooperative_energy: expected a number, found much"),
        (["mine,arc,4,none,middle,"], "row 1, cooperative_energy: expected a number, found none"),
        (["mine,arc,1,none,middle,2"], "row 1, length: expected a whole number from 2 on, found 1"),
        (["mine,arc,2.5,none,middle,2"], "row 1, length: expected a whole number from 2 on, found 2.5"),
        ([",arc,4,none,middle,2"], "row 1, model: expected a name, found none"),
        ([",,,,,"], "row 1, pattern: expected one of arc, linear, found none"),
        ([], "expected a row per hydrogen bond, found a heading only"),
        ([GOOD, GOOD], "expected the labels of every row once, found the same in rows 1, 2"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, rows: list[str], complaint: str) -> None:
    with pytest.raises(ReferenceTableError, match=r"mine\.csv") as raised:
        read_references(_write(tmp_path, *rows))
    assert complaint in str(raised.value)


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReferenceTableError, match="expected a CSV file, found none"):
        read_references(tmp_path / "none.csv")
    with pytest.raises(ReferenceTableError, match="expected a CSV file, found a folder"):
        read_references(tmp_path)
    with pytest.raises(
        ReferenceTableError, match="found no position, cooperative_energy among model, pattern, length, cap"
    ):
        read_references(_write(tmp_path, "mine,arc,4,none,2", head="model,pattern,length,cap,capping"))
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    with pytest.raises(ReferenceTableError, match="expected a CSV file with a heading"):
        read_references(tmp_path / "empty.csv")


def test_a_bundled_value_is_not_replaced(tmp_path: Path) -> None:
    level, bundled = "rimp2:cc-pvtz:frozen-core", reference_energies()
    place = {"model": level, "pattern": "arc", "length": 4, "capping": "none", "geometry": "nma-so3lr"}
    place |= {"rotamer": "cis-N, trans-C", "position": "middle"}
    known = float(bundled["cooperative_energy"].sel(place))
    head = f"{HEAD},geometry"
    # what was rounded and typed in again is no other value, and does not become the package's
    found = read_references(_write(tmp_path, f"{level},arc,4,none,middle,{known:.2f},nma-so3lr", head=head))
    assert float(found["cooperative_energy"].sel(place)) == known
    with pytest.raises(ReferenceTableError) as raised:
        read_references(_write(tmp_path, f"{level},arc,4,none,middle,3.9,nma-so3lr", head=head))
    for words in (f"row 1, cooperative_energy: expected {known:.3f}", level, "found 3.9", f"e.g. mine:{level}"):
        assert words in str(raised.value)
    # elsewhere the same level may be told for the first time
    found = read_references(_write(tmp_path, f"{level},arc,4,none,middle,3.9,my-geometries", head=head))
    assert float(found["cooperative_energy"].sel(place | {"geometry": "my-geometries"})) == 3.9
