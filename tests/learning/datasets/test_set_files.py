"""ReadOptions labelled sets: units, parents, molecules and their charges, round trips, and errors that say where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import units
from set_files import labelled

from hbcoop_dist.learning.datasets.connectivity import mapped_molecules, without_atom_maps
from hbcoop_dist.learning.datasets.frames import ReadError, ReadOptions
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet
from hbcoop_dist.learning.datasets.set_files import read_set, write_set

WATER = ("O 0.0 0.0 0.0", "H 0.96 0.0 0.0", "H -0.24 0.93 0.0")
COLUMNS = "species:S:1:pos:R:3"
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def frame(comment: str, rows: tuple[str, ...] = WATER, columns: str = COLUMNS) -> str:
    return f'{len(rows)}\nProperties={columns} {comment} pbc="F F F"\n' + "\n".join(rows) + "\n"


def load(path: Path, *texts: str, **reading: object) -> LabelledSet:
    files = []
    for number, text in enumerate(texts):
        files.append(path / f"part{number}.xyz")
        files[-1].write_text(text)
    facts = {"level_of_theory": "none", "source": "made here", "licence": "none"}
    return read_set("made", files, options=ReadOptions(**reading), **facts)  # type: ignore[arg-type]


def test_units_become_ours(tmp_path: Path) -> None:
    rows = tuple(f"{row} 0.1 0.0 -0.1" for row in WATER)
    text = frame('REF_energy=-2.0 dipole="0.5 0.0 0.0"', rows, f"{COLUMNS}:REF_forces:R:3")
    (one,) = load(tmp_path, text, energy_unit="Hartree", length_unit="Bohr", dipole_unit="Debye")
    assert one.energy == pytest.approx(-2.0 * units.Hartree)
    assert one.positions[1, 0] == pytest.approx(0.96 * units.Bohr)
    assert one.forces is not None
    assert one.forces[0, 0] == pytest.approx(0.1 * units.Hartree / units.Bohr)
    assert one.dipole is not None
    assert one.dipole[0] == pytest.approx(0.5 * units.Debye)


def test_keys_of_ones_own(tmp_path: Path) -> None:
    (one,) = load(tmp_path, frame("e_cc=-3.0 energy=-1.0 group=ice"), keys={"energy": ("e_cc",), "domain": ("group",)})
    assert (one.energy, one.domain) == (-3.0, "ice")


def test_several_files_are_one_set_and_the_file_is_the_domain(tmp_path: Path) -> None:
    found = load(tmp_path, frame("energy=-1.0") * 2, frame("energy=-2.0 config_type=ice"))
    assert [one.domain for one in found] == ["part0", "part0", "ice"]
    assert len({one.parent for one in found}) == 1
    assert (found.level_of_theory, found.source, found.licence) == ("none", "made here", "none")


def test_conformers_share_a_parent_by_smiles_or_by_bonds(tmp_path: Path) -> None:
    mapped = '"[O:1]([H:2])[H:3]"'
    broken = ("O 0.0 0.0 0.0", "H 3.0 0.0 0.0", "H -0.24 0.93 0.0")
    other = ("H 0.0 0.0 0.0", "H 0.74 0.0 0.0")
    text = (
        frame(f"energy=0 smiles={mapped}")
        + frame(f"energy=0 smiles={mapped}", broken)
        + frame("energy=0")
        + frame("energy=0", other)
        + frame('energy=0 parent="my own"')
    )
    found = [one.parent for one in load(tmp_path, text)]
    assert found[0] == found[1] == found[2] == "[O]([H])[H]"
    assert found[3].startswith("H2 ")
    assert found[4] == "my own"


def test_bonds_are_named_alike_in_any_order_of_atoms(tmp_path: Path) -> None:
    found = load(tmp_path, frame("energy=0") + frame("energy=0", WATER[::-1]))
    assert len({one.parent for one in found}) == 1


def test_molecules_of_a_mapped_smiles_have_its_charges(tmp_path: Path) -> None:
    salt = ("Na 0.0 0.0 0.0", "O 3.0 0.0 0.0", "Cl 0.0 5.0 0.0", "H 3.9 0.0 0.0", "H 2.8 0.9 0.0")
    smiles = '"[Na+:1].[Cl-:3].[O:2]([H:4])[H:5]"'
    (one,) = load(tmp_path, frame(f"energy=0 total_charge=0 smiles={smiles}", salt))
    assert one.numbers.tolist() == [11, 17, 8, 1, 1]
    assert one.molecules.tolist() == [0, 1, 2, 2, 2]
    assert one.molecule_charges == (1, -1, 0)


def test_molecules_without_charges_of_their_own_are_one(tmp_path: Path) -> None:
    two = (*WATER, "O 5.0 0.0 0.0", "H 5.96 0.0 0.0", "H 4.76 0.93 0.0")
    (one,) = load(tmp_path, frame("energy=0 total_charge=1", two))
    assert one.molecule_charges == (1,)
    (vouched,) = load(tmp_path, frame("energy=0", two), neutral_molecules=True)
    assert vouched.molecule_charges == (0, 0)
    assert vouched.molecules.tolist() == [0, 0, 0, 1, 1, 1]


def test_smiles_without_maps_and_with() -> None:
    assert without_atom_maps("[H:5][C:4]([Cl:1])[N+:2]") == "[H][C]([Cl])[N+]"
    numbers = np.array([7, 20, 8])
    found = mapped_molecules("[NH3+:1].[Ca+2:2].[OH-:3]", numbers)
    assert found is not None
    assert found[1] == (1, 2, -1)
    assert mapped_molecules("[NH3+:1].[Ca++:2]", numbers) is None
    assert mapped_molecules("[N:1].[C:2].[O:3]", numbers) is None
    assert mapped_molecules("[C@@H:1]", np.array([6])) is not None


def test_round_trip(tmp_path: Path) -> None:
    before = [one if len(one.molecule_charges) > 1 else replace(one, interaction_energy=None) for one in labelled(12)]
    write_set(tmp_path / "set.xyz", before)
    after = read_set("set", [tmp_path / "set.xyz"], level_of_theory="", source="", licence="")
    for one, other in zip(before, after, strict=True):
        for name in (
            "numbers",
            "positions",
            "cell",
            "forces",
            "charges",
            "dipole",
            "molecules",
            "energy",
            "interaction_energy",
        ):
            left, right = getattr(one, name), getattr(other, name)
            assert (left is None) == (right is None), name
            if left is not None:
                np.testing.assert_allclose(right, left, atol=1e-8, err_msg=name)
        for name in ("parent", "domain", "charge", "molecule_charges"):
            assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (frame("energy=0") + frame("dipole=0"), r"part0.xyz, frame 1, energy \(energy, .*expected a number"),
        (frame("energy=nan"), "frame 0, energy .*finite"),
        (frame("energy=abc"), "frame 0, energy .*numbers"),
        (frame('energy=0 dipole="1 2"'), r"frame 0, dipole .*shape \(3,\)"),
        (frame("energy=0 total_charge=0.5"), "frame 0, charge .*whole"),
        (
            frame('energy=0 molecule_charges="1"', tuple(f"{r} 0" for r in WATER), f"{COLUMNS}:molecules:I:1"),
            "sum to 0",
        ),
        (frame("energy=0", tuple(f"{r} 2" for r in WATER), f"{COLUMNS}:molecules:I:1"), "without gaps"),
        (frame("energy=0").replace("F F F", "T T F"), "frame 0, pbc: expected .* found TTF and 0 vectors"),
        ("no number\n", "expected an extended XYZ file"),
    ],
)
def test_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        load(tmp_path, text)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="energy_unit"):
        ReadOptions(energy_unit="Rydberg")
    with pytest.raises(ReadError, match="keys"):
        ReadOptions(keys={"colour": ("red",)})
    with pytest.raises(ReadError, match="at least one file"):
        load(tmp_path)
    with pytest.raises(ReadError, match="no default charge"):
        load(tmp_path, frame("energy=0"), charge=None)
    with pytest.raises(ReadError, match="absent"):
        read_set("x", [tmp_path / "absent.xyz"], level_of_theory="", source="", licence="")


def shared(*names: str) -> LabelledSet:
    files = [DATA / f"spice_{name}.xyz" for name in names]
    if missing := [str(path) for path in files if not path.is_file()]:
        pytest.skip(f"no {', '.join(missing)} beside the checkout")
    return read_set("spice", files, level_of_theory="wB97M-D3(BJ)/def2-TZVPPD", source="SPICE", licence="CC0")


def test_spice_dimers_are_two_molecules_each() -> None:
    found = shared("des370k_dimers")
    assert {len(one.molecule_charges) for one in found} == {2}
    assert {one.domain for one in found} == {"DES370K Dimers"}
    assert all(one.forces is not None and np.isfinite(one.gap) for one in found)


def test_spice_charges_are_those_of_the_dipole() -> None:
    found = shared("dipeptides_polar_val")
    assert len(found) == 55
    for one in found:
        assert one.charges is not None
        assert one.dipole is not None
        assert one.charges.sum() == pytest.approx(0.0, abs=0.01)
        np.testing.assert_allclose(one.charges @ one.positions, one.dipole, atol=0.35)


def test_a_dipeptide_is_itself_with_and_without_smiles() -> None:
    found = shared("dipeptides", "dipeptides_polar_val")
    named = {one.parent for one in found if one.domain == "Dipeptides"}
    assert any(one.parent in named for one in found if one.domain != "Dipeptides")
