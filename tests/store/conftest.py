"""Small stores and separate processes for the tests of the store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small_store import LABELS

import hbcoop_dist
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA, n_atoms
from hbcoop_dist.cooperativity.equation import FRAGMENTS
from hbcoop_dist.core.results import Record, Value
from hbcoop_dist.store import Layout, prepare_store

PROTOCOL = {"minimize": {"max_force": 1.0e-5, "engine": "own"}, "code": 1}


@pytest.fixture
def protocol() -> dict[str, object]:
    return {**PROTOCOL, "minimize": {**PROTOCOL["minimize"]}}  # type: ignore[dict-item]


@pytest.fixture
def layout() -> Layout:
    return Layout(HBOND_SCHEMA, LABELS)


@pytest.fixture
def store(tmp_path: Path, protocol: dict[str, object]) -> Path:
    path = tmp_path / "quick.zarr"
    prepare_store(path, HBOND_SCHEMA, LABELS, protocol=protocol, spec="campaign: quick")
    return path


@pytest.fixture
def cell() -> Callable[..., Record]:
    """Return a function that makes a record of one cell with an array of every shape, filled with `value`."""

    def make(model: str = "toy", length: int = 3, capping: str = "none", value: float = 1.5, **more: Value) -> Record:
        labels = dict(
            zip(HBOND_SCHEMA.cells.dims, (model, "arc", length, capping, "own", "default", "mirror"), strict=True)
        )
        atoms = n_atoms(length, capping)
        values: dict[str, Value] = {
            "energy": -value,
            "saddle": False,
            "steps": 7,
            "versions": '{"torch": "2.13.0"}',
            "task_key": f"key-{value!r}",
            "cooperative_energy": [value, 2 * value, value],
            "hbond_cooperative_energy": np.full(length - 1, value),
            "fragment_energy": np.full((length - 1, len(FRAGMENTS)), value),
            "atomic_cooperative_energy": np.full((length - 1, atoms), value),
            "positions": np.full((atoms, 3), value),
            **more,
        }
        return Record("cell", labels, "done", "", values)

    return make


@pytest.fixture
def dimer() -> Callable[..., Record]:
    """Return a function that makes a record of one isolated dimer."""

    def make(model: str = "toy", conformer: str = "syn", **values: Value) -> Record:
        labels = {
            "model": model,
            "geometry": "own",
            "rotamer": "default",
            "constraint": "mirror",
            "conformer": conformer,
        }
        return Record(
            "dimer", labels, "done", "", {"dimer_energy": -3.0, "dimer_positions": np.ones((24, 3)), **values}
        )

    return make


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts ``python -c code *args`` in a separate process, which ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        root = str(Path(hbcoop_dist.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, *flags, "-c", code, *map(str, args)],
            env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parent}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
