"""One temporary Slurm cluster for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini_slurm import MiniSlurm, available


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniSlurm]:
    """Two nodes with four fake GPUs each; tests cancel what they leave running."""
    if missing := available():
        pytest.skip(missing)
    # short, since job steps listen on sockets below the folder, whose paths are limited to 107 characters
    with MiniSlurm(tmp_path_factory.mktemp("s"), nodes=2, gpus=4) as cluster:
        yield cluster
