"""Cores, CUDA devices and open files that this machine offers."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess


class DeviceError(ValueError):
    """A device that does not exist on this machine, or whose name is malformed."""


def usable_cores() -> int:
    """Return the number of cores that this process may use.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def raise_open_files() -> None:
    """Raise the limit of open files to its maximum, since a driver keeps a few connections to every worker.

    The usual limit of 1,024 is exhausted by four hundred workers.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # some systems report an unlimited maximum and refuse it
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def visible_gpus() -> list[str]:
    """Return the values of CUDA_VISIBLE_DEVICES that select one GPU each.

    Returns
    -------
    list of str
        From CUDA_VISIBLE_DEVICES, else from nvidia-smi, so that the driver needs no torch; empty without GPUs.
    """
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in chosen.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return listing.stdout.split() if listing.returncode == 0 else []


def check_device(device: str) -> None:
    """Check that a device can be used in this process.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        When the name is malformed, or torch does not see the device.
    """
    if device == "cpu":
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"device: expected cpu, cuda or cuda:N, found {device!r}")
    count = 0
    if importlib.util.find_spec("torch") is not None:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= count:
        raise DeviceError(f"device: expected one of the {count} CUDA devices torch sees here, found {device!r}")
