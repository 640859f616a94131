"""A small MACE, trained here by mace-torch itself on SO3LR's energies and forces of NMA clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from hbcoop_dist.models import load
from hbcoop_dist.structures import Structure, monomer
from hbcoop_dist.structures.monomers import donor_water

SETTINGS = {
    "model": "ScaleShiftMACE",
    "num_channels": 16,
    "max_L": 0,
    "correlation": 2,
    "num_interactions": 2,
    "r_max": 4.5,
    "num_radial_basis": 6,
    "batch_size": 5,
    "valid_batch_size": 10,
    "lr": 0.02,
    "scheduler_patience": 3,
    "lr_factor": 0.5,
    "E0s": "average",
    "energy_key": "label_energy",
    "forces_key": "label_forces",
    "default_dtype": "float64",
    "device": "cpu",
    "valid_fraction": 0.1,
    "error_table": "TotalMAE",
}


def clusters(count: int, seed: int) -> list[Structure]:
    """Monomers, dimers and hydrates, distorted, at distances around those of a hydrogen bond."""
    random = np.random.default_rng(seed)
    nma, water, made = monomer().positions, donor_water(), []
    for place in range(count):
        shift = np.array([0.0, 4.8, 0.0]) + 0.3 * random.standard_normal(3)
        parts = [
            [("nma", nma)],
            [("nma", nma), ("nma", nma + shift)],
            [("nma", nma), ("water", water + [3.6, 3.2, 0.4] + 0.3 * random.standard_normal(3))],
        ][place % 3]
        structure = Structure.from_molecules(parts)
        noise = 0.03 * random.standard_normal(structure.positions.shape)
        made.append(structure.with_positions(structure.positions + noise))
    return made


def train(folder: Path, *, seed: int = 1, epochs: int = 20, count: int = 60) -> Path:
    """The checkpoint that ``mace_run_train`` saves, as the published ones are: a pickled network."""
    from ase.io import write

    labelled = []
    structures = clusters(count, seed=0)
    for structure, found in zip(structures, load("so3lr").evaluate(structures), strict=True):
        atoms = structure.to_ase()
        atoms.info["label_energy"] = found.energy
        atoms.arrays["label_forces"] = found.forces
        labelled.append(atoms)
    write(folder / "labels.xyz", labelled, format="extxyz")
    options = {**SETTINGS, "train_file": "labels.xyz", "name": "small", "seed": seed, "max_num_epochs": epochs}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mace.cli.run_train", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    path = folder / "small.model"
    assert path.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return path
