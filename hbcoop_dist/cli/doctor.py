"""Body of `hbcoop doctor`: report installed packages, available models, devices and threads."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from hbcoop_dist.clusters import usable_cores
from hbcoop_dist.models import registry
from hbcoop_dist.models.checkpoints import CHECKPOINTS_VARIABLE, cache_folder

_PACKAGES = (
    "dask",
    "distributed",
    "dask-jobqueue",
    "xarray",
    "zarr",
    "ase",
    "numpy",
    "torch",
    "torchani",
    "mace-torch",
    "orb-models",
    "aimnet",
    "so3krates-torch",
    "openmm",
    "openmmml",
    "tblite",
    "pyscf",
    "pyscf-dispersion",
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def show(console: Console) -> None:
    """Print three tables: machine, packages, models.

    Parameters
    ----------
    console : rich.console.Console
    """
    machine = Table(show_header=False, box=None, title="machine", title_justify="left")
    machine.add_row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    machine.add_row("cores usable", str(usable_cores()))
    machine.add_row("threads", ", ".join(f"{name}={os.environ.get(name, 'not set')}" for name in _THREADS))
    machine.add_row("", "Dask workers get one thread each, whatever is set here")
    machine.add_row("GPUs", _gpus())
    machine.add_row(CHECKPOINTS_VARIABLE, os.environ.get(CHECKPOINTS_VARIABLE, "not set"))
    machine.add_row("checkpoint cache", str(cache_folder()))
    console.print(machine, highlight=False, markup=False)
    packages = Table(show_header=False, box=None, title="packages", title_justify="left")
    for name in _PACKAGES:
        packages.add_row(name, _version(name))
    console.print(packages, highlight=False, markup=False)
    models = Table(show_header=False, box=None, title="models", title_justify="left")
    for name, card in registry.cards().items():
        availability = registry.available(card)
        models.add_row(name, "can run here" if availability else availability.reason)
    for name, reason in registry.broken_families().items():
        models.add_row(name, reason)
    console.print(models, highlight=False, markup=False)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _gpus() -> str:
    if importlib.util.find_spec("torch") is None:
        return "unknown (torch is not installed)"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ", ".join(torch.cuda.get_device_name(i) for i in range(count)) or "none"
