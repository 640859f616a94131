"""Small files in the formats that big sets come in, written as their makers write them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import Trajectory
from ase.io.cif import write_cif

from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.datasets.set_files import to_atoms, write_set


def labelled(count: int) -> list[LabelledStructure]:
    """Clusters with all labels, one that repeats, one with nothing but its energy."""
    rng = np.random.default_rng(0)
    made = []
    for one in generate_clusters("ionic", count, seed=0):
        n = len(one)
        made.append(
            LabelledStructure(
                numbers=one.numbers,
                positions=one.positions,
                energy=float(rng.normal()),
                forces=rng.normal(size=(n, 3)),
                parent=one.parent,
                domain=one.domain,
                charge=one.charge,
                charges=rng.normal(size=n),
                dipole=rng.normal(size=3),
                molecules=one.molecules,
                molecule_charges=one.molecule_charges,
                interaction_energy=float(rng.normal()),
            )
        )
    cell = np.array([[30.0, 0.0, 0.0], [5.0, 31.0, 0.0], [0.0, 2.0, 32.0]])
    return [*made, replace(made[0], cell=cell, dipole=None), replace(made[0], forces=None, charges=None, dipole=None)]


def write_database(path: Path, rows: Sequence[tuple[Atoms, dict[str, Any]]]) -> Path:
    """An ASE database of the kind that the suffix says; what each row has beside its atoms is its data."""
    options = {"use_lock_file": False} if path.suffix == ".aselmdb" else {}
    database = connect(path, **options)
    # one transaction: an LMDB that is committed row by row leaves its freed pages in the file
    with database:
        for atoms, data in rows:
            database.write(atoms, data=data)
    return path


def write_as(path: Path, structures: Sequence[LabelledStructure]) -> Path:
    """Labelled structures as a file of the format that the suffix says."""
    if path.suffix == ".xyz":
        write_set(path, structures)
        return path
    rows = []
    for one in structures:
        atoms = to_atoms(one)
        # neither a database nor a trajectory keeps columns that ASE has no name for
        atoms.info["molecules"] = atoms.arrays.pop("molecules")
        rows.append((atoms, dict(atoms.info)))
    if path.suffix != ".traj":
        return write_database(path, rows)
    with Trajectory(path, "w") as trajectory:
        for atoms, _ in rows:
            trajectory.write(atoms)
    return path


def water(energy: float, *, shift: float = 0.0, forces: bool = True, **info: Any) -> tuple[Atoms, dict[str, Any]]:
    """A row: one molecule of water and what is said of it."""
    atoms = Atoms("OHH", [[shift, 0.0, 0.0], [0.96 + shift, 0.0, 0.0], [-0.24 + shift, 0.93, 0.0]])
    results: dict[str, Any] = (
        {"energy": energy, "forces": np.full((3, 3), 0.1 * energy)} if forces else {"energy": energy}
    )
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms, info


def omol_row(number: int, **changes: Any) -> tuple[Atoms, dict[str, Any]]:
    """A row as OMol25 has them."""
    data = {
        "charge": 0,
        "spin": 1,
        "data_id": ("spice", "elytes")[number % 2],
        "source": f"spice/SPICE_{number}/orca.tar.zst",
        "num_atoms": 3,
        "num_electrons": 10,
        "lowdin_charges": np.array([-0.4, 0.2, 0.2]) - 0.01 * number * np.array([2, -1, -1]),
        "mulliken_charges": np.array([-0.6, 0.3, 0.3]),
        **changes,
    }
    return water(-2079.0 - number, shift=0.1 * number, **{key: one for key, one in data.items() if one is not None})


def odac_row(number: int, **changes: Any) -> tuple[Atoms, dict[str, Any]]:
    """A row as ODAC25 has them: a framework, here a cube of magnesium oxide, and one CO2."""
    atoms = Atoms(
        "MgOCOO",
        [[0.0, 0.0, 0.0], [2.1, 0.0, 0.0], [5.0, 5.0, 5.0], [5.0, 5.0, 6.16], [5.0, 5.0, 3.84 - 0.01 * number]],
        cell=[9.0, 9.5, 10.0],
        pbc=True,
    )
    atoms.calc = SinglePointCalculator(atoms, energy=-40.0 - number, forces=np.full((5, 3), 0.01 * number))
    data = {
        "energy": -40.0 - number,
        "energy_old": -39.5 - number,
        "energy_mof": -16.6,
        "energy_ads_corrected": -0.4,
        "mof_name": f"MOF{number // 2}",
        "mof_type": "pristine",
        "name": f"MOF{number // 2}_w_CO2_{number}",
        "fid": number,
        "nads": 1,
        "nco2": 1,
        "nh2o": 0,
        **changes,
    }
    return atoms, {key: one for key, one in data.items() if one is not None}


QMOF_NAMES = {
    "qmof-a": "ABACUF01_FSR",
    "qmof-b": "ABACUF_FSR",
    "qmof-c": "tobacco_sym_8_mc_9",
    "qmof-d": "core_XEHSAP_charged",
}


def framework(number: int) -> Atoms:
    """A small structure that repeats."""
    rng = np.random.default_rng(number)
    atoms = Atoms("ZnOCHCH", cell=[6.0 + number, 7.0, 8.0], pbc=True)
    atoms.set_scaled_positions(0.05 + 0.9 * rng.random((6, 3)))
    return atoms


def write_qmof(folder: Path, *, structures: str = "json", table: str = "csv", without: Sequence[str] = ()) -> Path:
    """A QMOF database: its structures as ``json``, ``cif``, ``zip`` or none; rows named `without` have no charges."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "qmof_id": qmof_id,
            "name": name,
            "info": {"natoms": 6, "source": "CSD" if "FSR" in name else "ToBaCCo", "formula": "ZnO"},
            "outputs": {"pbe": {"energy_total": -30.5 - number, "bandgap": 2.0}, "hse06": {"energy_total": None}},
        }
        for number, (qmof_id, name) in enumerate(QMOF_NAMES.items())
    ]
    if table == "csv":
        pd.json_normalize(rows).to_csv(folder / "qmof.csv", index=False)
    else:
        (folder / "qmof.json").write_text(json.dumps(rows))
    if structures == "json":
        entries = [_pymatgen(qmof_id, number, without) for number, qmof_id in enumerate(QMOF_NAMES)]
        (folder / "qmof_structure_data.json").write_text(json.dumps(entries))
    if structures in ("cif", "zip"):
        (folder / "relaxed_structures").mkdir()
        for number, qmof_id in enumerate(QMOF_NAMES):
            write_cif(folder / "relaxed_structures" / f"{qmof_id}.cif", framework(number))
    if structures == "zip":
        with zipfile.ZipFile(folder / "relaxed_structures.zip", "w") as archive:
            for file in sorted((folder / "relaxed_structures").iterdir()):
                archive.write(file, f"relaxed_structures/{file.name}")
                file.unlink()
        (folder / "relaxed_structures").rmdir()
    return folder


def qmof_charges(number: int) -> np.ndarray:
    return np.round(np.linspace(-0.5, 0.5, 6) + 0.01 * number, 6)


def _pymatgen(qmof_id: str, number: int, without: Sequence[str]) -> dict[str, Any]:
    atoms, charges = framework(number), qmof_charges(number)
    sites = [
        {
            "species": [{"element": symbol, "occu": 1}],
            "abc": scaled.tolist(),
            "xyz": position.tolist(),
            "label": symbol,
            "properties": {} if qmof_id in without else {"pbe_ddec_charge": charge, "pbe_cm5_charge": charge / 2},
        }
        for symbol, scaled, position, charge in zip(
            atoms.symbols, atoms.get_scaled_positions(), atoms.positions, charges.tolist(), strict=True
        )
    ]
    lattice = {"matrix": atoms.cell.tolist()}
    structure = {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": lattice,
        "sites": sites,
    }
    return {"qmof_id": qmof_id, "name": QMOF_NAMES[qmof_id], "structure": structure}
