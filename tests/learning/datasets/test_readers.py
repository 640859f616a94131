"""Readers of big sets: every format says the same, labels are where their makers put them, damage is named."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from dataclasses import fields
from pathlib import Path

import lmdb
import numpy as np
import pytest
from set_files import (
    QMOF_NAMES,
    framework,
    labelled,
    odac_row,
    omol_row,
    qmof_charges,
    water,
    write_as,
    write_database,
    write_qmof,
)

from hbcoop_dist.learning.datasets import ase_files
from hbcoop_dist.learning.datasets.file_rows import Shards
from hbcoop_dist.learning.datasets.frames import ReadError, ReadOptions
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure
from hbcoop_dist.learning.datasets.set_files import draw_rows, read_set

pytest.importorskip("ase_db_backends", reason="LMDBs need ase-db-backends")

FORMS = (".xyz", ".db", ".aselmdb", ".traj")


def load(*files: Path, size: int | None = None, seed: int = 0, **reading: object) -> LabelledSet:
    facts = {"level_of_theory": "none", "source": "made here", "licence": "none"}
    return read_set("made", files, options=ReadOptions(**reading), size=size, seed=seed, **facts)  # type: ignore[arg-type]


def assert_same(one: LabelledStructure, other: LabelledStructure) -> None:
    for field in fields(LabelledStructure):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray | float):
            np.testing.assert_allclose(right, left, atol=2e-8, err_msg=field.name)
        else:
            assert left == right, field.name


@pytest.mark.parametrize("suffix", FORMS)
def test_every_format_says_the_same(tmp_path: Path, suffix: str) -> None:
    before = labelled(10)
    after = load(write_as(tmp_path / f"set{suffix}", before))
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("suffix", FORMS)
def test_content_tells_the_format_and_not_the_name(tmp_path: Path, suffix: str) -> None:
    made = write_as(tmp_path / f"set{suffix}", labelled(3))
    renamed = made.rename(tmp_path / "set.dat")
    assert len(load(renamed)) == 5


@pytest.mark.parametrize("suffix", FORMS)
def test_a_draw_reads_what_is_drawn_and_is_that_of_the_whole(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_as(tmp_path / f"set{suffix}", labelled(20))
    whole = load(made)
    expected = sorted(np.random.default_rng(7).choice(22, 5, replace=False).tolist())
    looked_at = []
    plain = Shards.rows

    def watched(shards: Shards, places: object = None) -> object:
        for rows, number in plain(shards, places):  # type: ignore[arg-type]
            looked_at.append(number)
            yield rows, number

    monkeypatch.setattr(Shards, "rows", watched)
    some = load(made, size=5, seed=7)
    assert looked_at == expected == draw_rows(22, 5, 7).tolist()
    for one, place in zip(some, expected, strict=True):
        assert_same(whole.structures[place], one)


def test_a_folder_of_shards_is_one_set_in_the_order_of_names(tmp_path: Path) -> None:
    for part in (1, 0, 2):
        (tmp_path / f"val/part{part % 2}").mkdir(parents=True, exist_ok=True)
        rows = [omol_row(10 * part + number) for number in range(3)]
        write_database(tmp_path / f"val/part{part % 2}/data{part}.aselmdb", rows)
    (tmp_path / "val/metadata.npz").write_bytes(b"not looked at")
    found = load(tmp_path / "val")
    assert [round(-2079 - one.energy) for one in found] == [0, 1, 2, 20, 21, 22, 10, 11, 12]
    assert [one.energy for one in load(tmp_path / "val", size=4)] == [
        found.structures[place].energy for place in draw_rows(9, 4, 0)
    ]


def test_a_folder_of_several_formats_is_refused(tmp_path: Path) -> None:
    write_as(tmp_path / "a.xyz", labelled(1))
    write_as(tmp_path / "b.db", labelled(1))
    with pytest.raises(ReadError, match=r"files of one format .* found ASE databases, extended XYZ"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="found none"):
        load(tmp_path / "empty")


def test_rows_that_were_deleted_are_not_there(tmp_path: Path) -> None:
    from ase.db import connect

    made = write_database(tmp_path / "a.aselmdb", [omol_row(number) for number in range(5)])
    database = connect(made, use_lock_file=False)
    database.delete([2, 4])
    database.close()
    found = load(made)
    assert [round(-2079 - one.energy) for one in found] == [0, 2, 4]
    assert len(Shards([made])) == 3


def test_omol(tmp_path: Path) -> None:
    rows = [omol_row(0), omol_row(1, charge=-1, spin=2), omol_row(2, source=None)]
    found = load(write_database(tmp_path / "data0000.aselmdb", rows)).structures
    assert [one.domain for one in found] == ["spice", "elytes", "spice"]
    assert [one.charge for one in found] == [0, -1, 0]
    assert len({one.parent for one in found}) == 1
    assert found[0].parent.startswith("H2O ")
    np.testing.assert_allclose(found[1].charges, [-0.42, 0.21, 0.21])  # type: ignore[arg-type]
    np.testing.assert_allclose(found[1].forces, np.full((3, 3), -208.0))  # type: ignore[arg-type]
    assert all(one.cell is None for one in found)
    (mulliken, *_) = load(tmp_path, keys={"charges": ("mulliken_charges",)})
    np.testing.assert_allclose(mulliken.charges, [-0.6, 0.3, 0.3])  # type: ignore[arg-type]


def test_charges_of_two_kinds_are_not_mixed(tmp_path: Path) -> None:
    rows = [omol_row(0), omol_row(1, lowdin_charges=None)]
    made = write_database(tmp_path / "a.aselmdb", rows)
    with pytest.raises(ReadError, match=r"row 2, charges: .*lowdin_charges, as in .*row 1, found mulliken_charges"):
        load(made)
    names = ("lowdin_charges", "mulliken_charges")
    assert all(one.charges is not None for one in load(made, keys={"charges": names}))


def test_odac(tmp_path: Path) -> None:
    found = load(write_database(tmp_path / "part_00000.aselmdb", [odac_row(n) for n in range(4)])).structures
    assert [one.parent for one in found] == ["MOF0", "MOF0", "MOF1", "MOF1"]
    assert {one.domain for one in found} == {"pristine"}
    np.testing.assert_allclose(found[0].cell, np.diag([9.0, 9.5, 10.0]))  # type: ignore[arg-type]
    assert [one.energy for one in found] == [-40.0, -41.0, -42.0, -43.0]
    old = load(tmp_path, keys={"energy": ("energy_ads_corrected",)})
    assert {one.energy for one in old} == {-0.4}


@pytest.mark.parametrize("table", ["csv", "json"])
@pytest.mark.parametrize("structures", ["json", "cif", "zip"])
def test_qmof(tmp_path: Path, structures: str, table: str) -> None:
    made = write_qmof(tmp_path / "qmof_database", structures=structures, table=table)
    for path in (made, tmp_path):
        found = load(path).structures
        assert [one.parent for one in found] == ["ABACUF", "ABACUF", "tobacco_sym_8_mc_9", "XEHSAP"]
        assert [one.domain for one in found] == ["CSD", "CSD", "ToBaCCo", "ToBaCCo"]
        assert [one.energy for one in found] == [-30.5, -31.5, -32.5, -33.5]
        for number, one in enumerate(found):
            expected = framework(number)
            assert one.forces is None
            assert one.numbers.tolist() == expected.numbers.tolist()
            np.testing.assert_allclose(one.cell, expected.cell, atol=1e-6)  # type: ignore[arg-type]
            np.testing.assert_allclose(one.positions, expected.positions, atol=1e-6)
            if structures == "json":
                np.testing.assert_allclose(one.charges, qmof_charges(number))  # type: ignore[arg-type]
            else:
                assert one.charges is None


def test_qmof_as_the_zip_file_it_comes_in(tmp_path: Path) -> None:
    made = write_qmof(tmp_path / "qmof_database", structures="zip")
    archive = Path(shutil.make_archive(str(tmp_path / "13147324"), "zip", tmp_path, "qmof_database"))
    assert [one.energy for one in load(archive)] == [one.energy for one in load(made)]


def test_charges_in_cifs_of_qmofs_own_script(tmp_path: Path) -> None:
    made = write_qmof(tmp_path / "qmof", structures="cif")
    for number, qmof_id in enumerate(QMOF_NAMES):
        cif, charges = made / "relaxed_structures" / f"{qmof_id}.cif", iter(qmof_charges(number))
        lines = []
        for line in cif.read_text().splitlines():
            if line.strip() == "_atom_site_occupancy":
                lines += [line, "  _atom_site_pbe_ddec_charge"]
            else:
                lines.append(f"{line} {next(charges)}" if line.split() and line.split()[-1] == "1.0000" else line)
        cif.write_text("\n".join(lines) + "\n")
    for number, one in enumerate(load(made)):
        np.testing.assert_allclose(one.charges, qmof_charges(number))  # type: ignore[arg-type]


def test_what_cannot_be_used_is_an_error_or_is_counted(tmp_path: Path) -> None:
    made = write_qmof(tmp_path / "qmof", without=["qmof-b"])
    assert [one.charges is None for one in load(made)] == [False, True, False, False]
    with pytest.raises(ReadError, match=r"qmof-b, charges \(.*\): expected numbers, found no such key"):
        load(made, require=("charges",))
    found = load(made, require=("charges",), skip_incomplete=True)
    assert len(found) == 3
    (line,) = found.left_out
    assert line.startswith("1 left out, charges (")
    assert "qmof-b" in line
    with pytest.raises(ReadError, match="expected structures that can be used, found none: 4 left out, energy"):
        load(made, keys={"energy": ("outputs.hse06.energy_total",)}, skip_incomplete=True)


def test_a_draw_is_not_filled_up(tmp_path: Path) -> None:
    rows = [omol_row(n, charge=0.5 if n % 3 == 0 else 0) for n in range(12)]
    made = write_database(tmp_path / "a.aselmdb", rows)
    taken = draw_rows(12, 6, 0)
    found = load(made, size=6, skip_incomplete=True)
    assert [round(-2079 - one.energy) for one in found] == [n for n in taken.tolist() if n % 3]


def test_units_and_kinds_of_rows(tmp_path: Path) -> None:
    atoms, _ = water(-1.0)
    made = write_database(tmp_path / "a.db", [(atoms, {}), water(-1.0, forces=False)])
    whole = load(made, energy_unit="Hartree")
    assert whole.structures[0].energy == pytest.approx(-27.211386)
    assert whole.structures[1].forces is None


def cut(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    made = write_as(tmp_path / "a.db", labelled(30))
    with sqlite3.connect(made) as raw:
        raw.execute("UPDATE systems SET positions = X'00' WHERE id = 4")
    with pytest.raises(ReadError, match=r"a\.db, row 4: expected a row of an ASE database"):
        load(made)
    (line,) = load(made, skip_incomplete=True).left_out
    assert line.startswith("1 left out, expected a row of an ASE database")
    cut(made, 0.4)
    with pytest.raises(ReadError, match=r"a\.db"):
        load(made)


def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as raw:
        raw.execute("CREATE TABLE birds (name TEXT)")
    before = other.read_bytes()
    with pytest.raises(ReadError, match="expected an ASE database with a table of systems"):
        load(other)
    assert other.read_bytes() == before


def test_a_damaged_lmdb_is_named_and_kills_nobody(tmp_path: Path) -> None:
    many = [omol_row(number, padding=np.random.default_rng(number).random(4000)) for number in range(80)]
    made = write_database(tmp_path / "a.aselmdb", many)
    with lmdb.open(str(made), subdir=False) as env, env.begin(write=True) as transaction:
        transaction.put(b"3", b"no deflated json")
    with pytest.raises(ReadError, match=r"a\.aselmdb, row 3: expected a row of an ASE LMDB"):
        load(made)
    assert len(load(made, skip_incomplete=True)) == 79
    assert made.stat().st_size > 2**21
    cut(made, 0.3)
    with pytest.raises(ReadError, match=r"a\.aselmdb: expected an LMDB of .* bytes, .* it was cut off"):
        load(made)


def test_an_lmdb_of_pickles_is_no_set(tmp_path: Path) -> None:
    made = tmp_path / "data.lmdb"
    with lmdb.open(str(made), subdir=False, map_size=2**20) as env, env.begin(write=True) as transaction:
        transaction.put(b"length", b"\x80\x04K\x01.")
        transaction.put(b"nextid", b"\x80\x04K\x01.")
    with pytest.raises(ReadError, match="LMDBs of pickled graphs"):
        load(made)


def test_a_cut_off_trajectory_is_named(tmp_path: Path) -> None:
    made = write_as(tmp_path / "a.traj", labelled(10))
    cut(made, 0.5)
    with pytest.raises(ReadError, match=r"a\.traj"):
        load(made)


def test_the_last_frame_of_a_file_that_is_still_written(tmp_path: Path) -> None:
    made = write_as(tmp_path / "a.xyz", labelled(4))
    made.write_text(made.read_text()[:-200])
    with pytest.raises(ReadError, match=r"a\.xyz, frame 5: expected a frame of extended XYZ"):
        load(made)
    assert len(load(made, skip_incomplete=True)) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\x89HDF\r\n", r"found a file that begins with b'\\x89HDF"),
        (b"PK\x03\x04", "expected a QMOF database in this zip file"),
        (b"SQLite format 3\0", "expected an ASE database"),
        (b"- of UlmASE-Trajectory", "expected an ASE trajectory"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ReadError, match=message):
        load(tmp_path / "a")


def test_damaged_qmof_databases_are_named(tmp_path: Path) -> None:
    bare = write_qmof(tmp_path / "bare", structures="none")
    with pytest.raises(ReadError, match=r"expected relaxed structures in qmof_structure_data\.json"):
        load(bare)
    made = write_qmof(tmp_path / "json")
    data = made / "qmof_structure_data.json"
    whole = data.read_text()
    data.write_text(whole[:-300])
    with pytest.raises(ReadError, match=r"qmof_structure_data\.json, byte .*: expected a list of structures"):
        load(made)
    data.write_text('{"a": 1}')
    with pytest.raises(ReadError, match=r"found '\{\"a\": 1\}'"):
        load(made)
    data.write_text(whole.replace('"element": "Zn"', '"element": "Qq"', 1))
    with pytest.raises(ReadError, match="qmof-a: expected a relaxed structure, found: KeyError"):
        load(made)
    data.write_text(whole.replace("qmof-b", "qmof-x"))
    with pytest.raises(ReadError, match="qmof-x: expected a row in the table"):
        load(made)
    table = made / "qmof.csv"
    table.write_text(table.read_text().replace("qmof-c,tobacco_sym_8_mc_9,6,", "qmof-c,tobacco_sym_8_mc_9,7,"))
    data.write_text(whole)
    with pytest.raises(ReadError, match=r"qmof-c, info\.natoms: expected 7 atoms, found 6"):
        load(made)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ReadError, match="expected a table of frameworks by qmof_id"):
        load(made)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "nothing")
    with pytest.raises(ReadError, match="expected a QMOF database in this zip file"):
        load(other)


def test_structures_in_json_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hbcoop_dist.learning.datasets import qmof as qmof_structures

    made = write_qmof(tmp_path / "qmof")
    whole = [one.energy for one in load(made)]
    monkeypatch.setattr(qmof_structures, "_BLOCK", 37)
    assert [one.energy for one in load(made)] == whole


def test_where_frames_begin_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ase_files, "LEAST_BYTES", 0)
    made = write_as(tmp_path / "a.xyz", labelled(4))
    first = load(made)
    (kept,) = (tmp_path / "cache" / "indices").glob("*.npz")
    written = kept.stat().st_mtime_ns
    assert len(load(made)) == len(first)
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(b"damaged")
    assert len(load(made)) == len(first)
    write_as(made, labelled(6))
    assert len(load(made)) == 8


def test_a_framework_has_bonds_through_its_sides(tmp_path: Path) -> None:
    from ase import Atoms

    from hbcoop_dist.structures.geometry import bond_graph

    split_water = Atoms("OHH", [[0.1, 0, 0], [9.1, 0, 0], [-0.1, 0.93, 0]], cell=[10, 10, 10], pbc=True)
    graph = bond_graph(split_water.numbers, split_water.positions, np.asarray(split_water.cell))
    assert set(map(frozenset, graph.edges)) == {frozenset((0, 1)), frozenset((0, 2))}
    assert bond_graph(split_water.numbers, split_water.positions).number_of_edges() == 1
