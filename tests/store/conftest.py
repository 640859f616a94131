"""Small real stores, and real other processes, for the tests of the store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import hbcoop_dist
from hbcoop_dist.cooperativity.equation import FRAGMENTS
from hbcoop_dist.core.results import Record
from hbcoop_dist.store import Layout, prepare_store
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

PROTOCOL = {"minimize": {"max_force": 1.0e-5, "constraint": "mirror"}, "code": 1}


@pytest.fixture
def protocol() -> dict[str, object]:
    return {**PROTOCOL, "minimize": {**PROTOCOL["minimize"]}}  # type: ignore[dict-item]


@pytest.fixture
def layout() -> Layout:
    return Layout(("so3lr", "toy"), ("arc", "linear"), (2, 3, 4), ("none", "water"))


@pytest.fixture
def store(tmp_path: Path, layout: Layout, protocol: dict[str, object]) -> Path:
    path = tmp_path / "quick.zarr"
    prepare_store(path, layout, protocol=protocol, spec="campaign: quick")
    return path


@pytest.fixture
def cell() -> Callable[..., Record]:
    """A record of one cell with a value of every shape; what it holds follows from `value`."""

    def make(model: str = "toy", length: int = 3, capping: str = "none", value: float = 1.5, **more: object) -> Record:
        labels = dict(zip(CELL_DIMS, (model, "arc", length, capping, "own", "default"), strict=True))
        atoms = 12 * length + (12 if capping == "water" else 0)
        values: dict[str, object] = {
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
        return Record(labels, "done", "", values)

    return make


@pytest.fixture
def dimer() -> Callable[..., Record]:
    """A record of one isolated dimer."""

    def make(model: str = "toy", conformer: str = "syn", **values: object) -> Record:
        labels = dict(zip(DIMER_DIMS, (model, "own", "default", conformer), strict=True))
        return Record(labels, "done", "", {"dimer_energy": -3.0, "dimer_positions": np.ones((24, 3)), **values})

    return make


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``python -c code *args`` in a process of its own that sees this checkout; ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        root = str(Path(hbcoop_dist.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, *flags, "-c", code, *map(str, args)],
            env={**os.environ, "PYTHONPATH": root},
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
